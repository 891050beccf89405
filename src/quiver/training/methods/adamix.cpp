// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/adamix.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/stack.h>
#include <c10/core/GradMode.h>

#include "quiver/adapter/bank.h"
#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/training/flat.h"
#include "quiver/training/row_loss.h"
#include "quiver/training/training_source.h"

namespace quiver::training {
namespace {

enum class Half { first, second, neither };

/// A tensor of the adapter in its flat form. Those of one draw come from the same copy.
struct Part {
  std::int64_t begin = 0, count = 0;
  std::vector<std::int64_t> shape;
  std::size_t draw = 0;
  Half half = Half::neither;
};

std::vector<Part> parts_of(const adapter::Adapter& adapter) {
  std::map<const c10::TensorImpl*, std::pair<std::size_t, Half>> known;
  std::size_t draws = 0;
  const auto together = [&](Half half, std::initializer_list<at::Tensor> tensors) {
    for (const auto& t : tensors) {
      if (t.defined()) known[t.unsafeGetTensorImpl()] = {draws, half};
    }
    ++draws;
  };
  for (const auto& [site, f] : adapter.sites) {
    together(Half::first, {f.a});
    together(Half::second, {f.b});
  }
  for (const auto& [site, e] : adapter.extras) {
    if (!e.bottleneck) continue;
    together(Half::first, {e.bottleneck->down, e.bottleneck->down_bias});
    together(Half::second, {e.bottleneck->up, e.bottleneck->up_bias});
  }
  std::vector<Part> out;
  std::int64_t begin = 0;
  adapter::for_each_tensor(adapter, [&](const at::Tensor& t) {
    const auto found = known.find(t.unsafeGetTensorImpl());
    const auto [draw, half] = found == known.end() ? std::pair{draws++, Half::neither} : found->second;
    out.push_back({begin, t.numel(), t.sizes().vec(), draw, half});
    begin += t.numel();
  });
  return out;
}

/// The copies as one matrix, and the adapters that they make.
class Copies {
 public:
  Copies(const AdaMixOptions& options, const std::function<adapter::Adapter(std::int64_t)>& start)
      : share_(options.share), shape_(start(0)), parts_(parts_of(shape_)) {
    std::vector<at::Tensor> rows;
    for (std::int64_t i = 0; i < options.copies; ++i) rows.push_back(flattened(start(i)));
    values_ = at::stack(rows, 0).set_requires_grad(true);
    decays_ = flat_decays(shape_).expand({options.copies, -1});
  }

  const at::Tensor& values() const { return values_; }
  /// Where weight decay applies, of the shape of the values.
  const at::Tensor& decays() const { return decays_; }

  adapter::Adapter drawn(Random& random) const {
    std::vector<std::int64_t> copies(parts_.size());
    for (auto& copy : copies)
      copy = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(values_.size(0))));
    return made([&](const Part& part) {
      return values_[shared(part) ? 0 : copies[part.draw]].narrow(0, part.begin, part.count);
    });
  }
  adapter::Adapter mean() const {
    return made([&](const Part& part) {
      const auto all = values_.narrow(1, part.begin, part.count);
      return shared(part) ? all[0] : all.mean(0);
    });
  }

 private:
  bool shared(const Part& part) const {
    return (share_ == AdaMixOptions::Share::first && part.half == Half::first) ||
           (share_ == AdaMixOptions::Share::second && part.half == Half::second);
  }
  template <typename Values>
  adapter::Adapter made(Values values) const {
    auto out = shape_;
    std::size_t next = 0;
    adapter::for_each_tensor(out, [&](at::Tensor& t) {
      const auto& part = parts_[next++];
      t = values(part).view(part.shape);
    });
    return out;
  }

  AdaMixOptions::Share share_;
  adapter::Adapter shape_;
  std::vector<Part> parts_;
  at::Tensor values_, decays_;  ///< [copies, P]
};

/// The rows, all under one adapter; `pass` tells the dropout of two passes over the same rows apart.
model::BindExperts bound(const RoutedTraining& t, const adapter::Adapter& adapter, const std::vector<WeightedRow>& rows,
                         std::uint64_t pass) {
  auto bank = std::make_shared<adapter::Bank>(t.model);
  bank->add(t.title, adapter);
  std::vector<TrainingRow> own;
  for (const auto& row : rows) own.push_back({0, derive_seed(row.seed, pass)});
  const bool training = c10::GradMode::is_enabled();
  return bind_training_rows(std::move(bank), std::move(own), training ? t.options.lora.dropout : 0.0);
}

}  // namespace

at::Tensor symmetric_divergence(const at::Tensor& a, const at::Tensor& b) {
  const auto log_p = a.log_softmax(1), log_q = b.log_softmax(1);
  return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1).mean() * 0.5;
}

adapter::Adapter train_adamix(const RoutedTraining& t, const AdaMixOptions& options,
                              const std::function<adapter::Adapter(std::int64_t copy)>& start,
                              const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation,
                              Figures& figures) {
  QUIVER_CHECK(options.copies >= 1 && options.consistency >= 0, usage, "adamix",
               "{} copies and a consistency of {}, expected at least 1 and 0", options.copies, options.consistency);
  const Copies copies(options, start);
  std::vector<ParameterGroup> groups{{"copies", copies.values(), t.options.learning_rate}};
  groups[0].decays = copies.decays();
  const auto seed = derive_seed(t.options.seed, 800000);
  Random random(seed);            // of the step at hand
  std::vector<WeightedRow> rows;  // of the pass at hand
  model::AnswerPass other;        // lives until its backward pass is over, before the next one begins
  RoutedMethod method;
  method.begin = [&](std::int64_t step) { random = Random(derive_seed(seed, static_cast<std::uint64_t>(step))); };
  method.bind = [&](const std::vector<WeightedRow>& portion) {
    rows = portion;
    return bound(t, c10::GradMode::is_enabled() ? copies.drawn(random) : copies.mean(), rows, 0);
  };
  const auto consistency = [&](const at::Tensor& hidden) {
    const auto again = bound(t, copies.drawn(random), rows, 1);
    const auto kept = t.options.recompute ? model::Activations::recompute : model::Activations::keep;
    other = model::answer_pass(t.model, answer_rows(rows), again, kept);
    const auto logits = [&](const at::Tensor& states) { return at::linear(states, t.model.head()).to(at::kFloat); };
    return symmetric_divergence(logits(hidden), logits(other.hidden)) * options.consistency;
  };
  if (options.consistency > 0) method.extra_loss = consistency;
  figures = train_routed(t, groups, train, validation, method);
  auto out = copies.mean();
  adapter::for_each_tensor(out, [](at::Tensor& tensor) { tensor = tensor.detach().clone(); });
  return out;
}

}  // namespace quiver::training
