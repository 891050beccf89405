// SPDX-License-Identifier: Apache-2.0
// Pre-training a small encoder-decoder from plain text by span corruption (T5, arXiv 1910.10683).
#pragma once

#include <string>
#include <vector>

#include "quiver/base/options.h"
#include "quiver/base/progress.h"
#include "quiver/data/span_corruption.h"
#include "quiver/training/figures.h"
#include "quiver/training/train_options.h"

namespace quiver::training {

struct PretrainOptions {
  std::string shape;               ///< a config.json of T5's kind
  std::string tokenizer;           ///< a folder with the tokenizer
  std::string output;              ///< a folder for the model; a run that was interrupted goes on there
  std::vector<std::string> texts;  ///< files of plain text, paragraphs parted by blank lines
  std::int64_t source_tokens = 128, limit_bytes = 0, validation_rows = 64;
  data::SpanCorruption spans;
  bool plain_steps = false;  ///< AdamW's own steps, not in proportion to each tensor's root mean square
  bool replace = false;
  TrainOptions train;  ///< max_steps is the number of steps
  PretrainOptions();
};

/// All but shape, tokenizer, output and texts.
void describe(PretrainOptions& options, OptionSet& set);

struct Pretrained {
  Figures figures;
  std::int64_t parameters = 0;
  std::int64_t text_tokens = 0;
  bool already_there = false;
};

Pretrained pretrain(const PretrainOptions& options, Progress& progress);

}  // namespace quiver::training
