// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/tensor_io/pickle_writer.h"
#include "quiver/tensor_io/torch_archive.h"
#include "quiver/tensor_io/torch_archive_zip.h"

namespace quiver::tensor_io {
namespace {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

void write(const fs::path& file, const std::string& pickle, const NamedTensors& tensors) {
  write_file_atomically(file, [&](const fs::path& temporary) {
    StoredZipWriter zip(temporary);
    zip.add("archive/data.pkl", pickle);
    zip.add("archive/byteorder", "little");
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const auto& tensor = tensors[i].second;
      zip.add(fmt::format("archive/data/{}", i),
              {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()});
    }
    zip.add("archive/version", "3\n");
    zip.finish();
  });
}

}  // namespace

void write_torch_archive(const fs::path& file, const NamedTensors& tensors) {
  NamedTensors plain;
  for (const auto& [name, tensor] : tensors) {
    QUIVER_CHECK(tensor.defined() && tensor.layout() == at::kStrided, unsupported, file.string(),
                 "tensor '{}' is undefined or sparse, expected a dense one", name);
    plain.emplace_back(name, tensor.detach().cpu().resolve_conj().resolve_neg().contiguous());
  }
  write(file, pickle_of(plain, file.string()), plain);
}

void write_torch_archive(const fs::path& file, const nlohmann::json& value) { write(file, pickle_of(value), {}); }

}  // namespace quiver::tensor_io
