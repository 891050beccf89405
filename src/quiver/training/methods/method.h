// SPDX-License-Identifier: Apache-2.0
// A method of `quiver train`: what it makes of tasks, which options it reads, and how it is applied.
//
// A method is a file that ends in a function of methods/table.h, and a line in table.cpp. What it does not read is
// refused by name where it was given (workspace/train.h), so an entry's `reads` must be complete.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "quiver/base/files.h"
#include "quiver/base/options.h"
#include "quiver/base/progress.h"
#include "quiver/library/library.h"
#include "quiver/model/model.h"
#include "quiver/text/tokenizer.h"
#include "quiver/training/figures.h"
#include "quiver/training/methods/method_options.h"

namespace quiver::training {

struct TaskRows {
  std::string name;
  std::vector<data::TokenRow> train, validation;
};

/// A result to be, and what it learns from.
struct Assignment {
  std::string name;
  std::vector<TaskRows> tasks;
};

/// A result that is kept.
struct Learned {
  std::string what;  ///< expert, router or output
  std::string name;  ///< of the expert or router, or the output's folder
  Figures figures;
  bool already_there = false;                      ///< made before, with the same options from the same rows
  fs::path path;                                   ///< its folder
  std::string route;                               ///< with which it is applied; empty: none
  nlohmann::json more = nlohmann::json::object();  ///< figures of the method's own
};
nlohmann::json to_json(const Learned& learned);

struct MethodInputs {
  model::Model model;
  const text::Tokenizer& tokenizer;
  fs::path model_path;                              ///< where the model was read from
  std::shared_ptr<const library::Library> library;  ///< null for a method that makes a model
  const MethodOptions& options;
  const OptionSet& given;  ///< the description of `options`
  Progress& progress;
  std::function<void(const Learned&)> learned;  ///< called with each result when it is kept
};

class Method {
 public:
  virtual ~Method() = default;
  /// What --set may say.
  virtual void describe(OptionSet& settings) { static_cast<void>(settings); }
  /// Experts of the library that it goes on from, by name.
  virtual std::vector<std::string> sources() const { return {}; }
  /// The most vectors that stand before a prompt in training and take places in the model's context. of_sources: those
  /// of what it goes on from, the sources or --init-from.
  virtual std::int64_t vectors_before(const MethodOptions& options, const text::Tokenizer& tokenizer,
                                      std::int64_t of_sources) const;
  /// Throws Error{usage} where a result may not go where it should, before anything is trained.
  virtual void check(const MethodInputs& inputs, const std::vector<Assignment>& assignments) = 0;
  /// Trains the assignments, of which there are several only with options.together.
  virtual void train(const MethodInputs& inputs, std::vector<Assignment> assignments) = 0;
};

struct MethodEntry {
  std::string name, summary;
  /// All options that the method reads, as MethodOptions describes them, where the others are as in `options`.
  std::vector<std::string> (*reads)(const MethodOptions& options);
  /// Sets what the method decides by itself, and defaults that follow from others. Called before any work.
  void (*settle)(MethodOptions& options, const OptionSet& given) = [](MethodOptions&, const OptionSet&) {};
  bool joint = false;        ///< one result from all tasks, named after the method where it has no name
  bool makes_model = false;  ///< into options.output, not into a library
  std::unique_ptr<Method> (*make)();
};

/// Options that all methods read; of the results' place those of a library.
std::vector<std::string> common_options();
std::vector<std::string> library_options();

/// Options that say where results go and which rows are read, or change only time and memory: they decide no result of
/// given rows.
const std::vector<std::string>& options_of_the_run();

/// {option: value} of what decides the result, of the options in `reads`: for keys of runs and for records.
nlohmann::json deciding_options(const MethodOptions& options, const std::vector<std::string>& reads);

}  // namespace quiver::training
