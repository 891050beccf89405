// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/trainable_model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros_like.h>

#include "quiver/base/error.h"
#include "quiver/base/files.h"
#include "quiver/model/families/table.h"
#include "quiver/model/load.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::model {
namespace {

/// Tensors that are in memory already.
class InMemory : public tensor_io::TensorSource {
 public:
  explicit InMemory(const std::map<std::string, at::Tensor>& tensors) : tensors_(tensors) {
    for (const auto& [name, t] : tensors)
      infos_[name] = {t.sizes().vec(), "F32", static_cast<std::uint64_t>(t.numel()) * sizeof(float)};
  }
  const std::map<std::string, tensor_io::TensorInfo>& tensors() const override { return infos_; }
  at::Tensor load(const std::string& name) const override { return tensors_.at(name); }
  const void* stored_bytes(const std::string& name) const override { return tensors_.at(name).const_data_ptr(); }

 private:
  const std::map<std::string, at::Tensor>& tensors_;
  std::map<std::string, tensor_io::TensorInfo> infos_;
};

}  // namespace

TrainableModel::TrainableModel(nlohmann::json config, const std::map<std::string, at::Tensor>& start)
    : config_(std::move(config)) {
  std::vector<at::Tensor> flat;
  for (const auto& [name, t] : start) flat.push_back(t.to(at::kFloat).reshape({-1}));
  parameters = at::cat(flat, 0);
  gradient = at::zeros_like(parameters);
  std::int64_t begin = 0;
  for (const auto& [name, t] : start) {
    auto view = parameters.narrow(0, begin, t.numel()).view(t.sizes()).set_requires_grad(true);
    view.mutable_grad() = gradient.narrow(0, begin, t.numel()).view(t.sizes());
    weights_.emplace(name, std::move(view));
    begin += t.numel();
  }
}

TrainableModel TrainableModel::open(const fs::path& folder) {
  auto opened = open_model_folder(folder);
  WeightReader reader(opened.weights, at::kFloat);
  family_of(opened.config, opened.where).load(opened.config, reader, opened.where);
  std::map<std::string, at::Tensor> start;
  for (const auto& name : reader.taken()) start[name] = opened.weights->load(name);
  return {std::move(opened.config), start};
}

TrainableModel TrainableModel::create(nlohmann::json config, std::uint64_t seed) {
  const auto& family = family_of(config, "config");
  QUIVER_CHECK(family.random_weights, unsupported, "pretrain", "architecture '{}', expected T5ForConditionalGeneration",
               family.architectures.front());
  const auto start = family.random_weights(config, seed);
  return {std::move(config), start};
}

Model TrainableModel::model() const {
  WeightReader reader(std::make_shared<InMemory>(weights_), at::kFloat);
  reader.skip_fingerprint();
  constexpr const char* kWhere = "model under training";
  return family_of(config_, kWhere).load(config_, reader, kWhere);
}

void TrainableModel::save(const fs::path& folder) const {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, view] : weights_) tensors[name] = view.detach();
  tensor_io::write_safetensors(folder / "model.safetensors", tensors, {{"format", "pt"}});
  write_file_atomically(folder / "config.json", config_.dump(2) + "\n");
}

}  // namespace quiver::model
