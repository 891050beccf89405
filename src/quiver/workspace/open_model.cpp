// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/open_model.h"

#include <ATen/Parallel.h>

#include "quiver/base/error.h"
#include "quiver/model/load.h"

namespace quiver::workspace {

void set_threads(int threads) {
  QUIVER_CHECK(threads >= 0 && threads <= 1024, usage, "--threads", "{}, expected 0 (all cores) to 1024", threads);
  if (threads > 0) at::set_num_threads(threads);
}

namespace {

void set_up(const ModelOptions& o) {
  QUIVER_CHECK(o.device == "cpu", unsupported, "--device", "'{}', this build computes on the cpu", o.device);
  set_threads(o.threads);
}

}  // namespace

LoadedModel load(const ModelOptions& o) {
  set_up(o);
  const auto path = model::resolve_model(o.model);
  return {model::load_model(path, model::dtype_of_name(o.dtype)), text::load_tokenizer(path)};
}

model::Model load_model_only(const ModelOptions& o) {
  set_up(o);
  return model::load_model(model::resolve_model(o.model), model::dtype_of_name(o.dtype));
}

}  // namespace quiver::workspace
