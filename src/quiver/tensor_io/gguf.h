// SPDX-License-Identifier: Apache-2.0
// GGUF, versions 2 and 3, little-endian: the model files of llama.cpp.
//
//   "GGUF" | u32 version | u64 tensors | u64 entries
//   entries: text key | u32 type | value            (text: u64 length, bytes; list: u32 type, u64 count, values)
//   tensors: text name | u32 dimensions | u64 extents, fastest first | u32 type | u64 offset into the data
//   padding to general.alignment (32 where absent) | data
//
// A model split by llama.cpp is opened by its first part, NAME-00001-of-0000N.gguf, which holds the metadata; the
// others lie beside it, and their tensors are those of the whole.
//
// Every count, length and offset is checked against the file before memory is set aside for it; tensors begin at
// multiples of the alignment and do not overlap. Names are kept as stored (`blk.0.attn_q.weight`).
#pragma once

#include <optional>
#include <variant>

#include "quiver/tensor_io/gguf_types.h"
#include "quiver/tensor_io/mapped_file.h"
#include "quiver/tensor_io/tensor_source.h"

namespace quiver::tensor_io {

/// Whole numbers of any width are int64 (an unsigned one beyond it is refused), reals double. Lists of true and false
/// are lists of 1 and 0.
using GgufValue = std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>, std::vector<double>,
                               std::vector<std::string>>;

/// True for a file that opens with GGUF's magic number.
bool is_gguf(const fs::path& path);

/// Which part of a split model a file is by its name, NAME-00001-of-00003.gguf.
struct GgufPart {
  std::int64_t number = 0;  ///< from 0
  std::int64_t count = 0;
  std::string stem;  ///< NAME
};
std::optional<GgufPart> gguf_part_of_name(const fs::path& path);

class GgufFile : public TensorSource {
 public:
  /// Throws Error{not_found|io|format|unsupported}.
  static std::shared_ptr<GgufFile> open(const fs::path& path);

  const std::map<std::string, GgufValue>& metadata() const { return metadata_; }
  /// Values by key; Error{format} naming the key where it is missing (not for find_*) or of another type. Whole numbers
  /// count as numbers.
  const std::string& text(const std::string& key) const;
  std::int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;
  std::optional<std::string> find_text(const std::string& key) const;
  std::optional<std::int64_t> find_integer(const std::string& key) const;
  std::optional<double> find_number(const std::string& key) const;

  /// Shapes are in the order of torch: a linear weight is [out, in].
  const std::map<std::string, TensorInfo>& tensors() const override { return infos_; }
  /// F32, F16 and BF16 are views into the file where aligned; quantised types are expanded by at::parallel_for.
  at::Tensor load(const std::string& name) const override;
  const void* stored_bytes(const std::string& name) const override;

 private:
  struct Entry {
    const GgufTypeInfo* type = nullptr;
    std::uint64_t begin = 0;  ///< in the file
    std::shared_ptr<const MappedFile> file;
  };
  GgufFile() = default;
  static std::shared_ptr<GgufFile> open_part(const fs::path& path);
  void join_parts(const fs::path& path);
  const Entry& entry(const std::string& name) const;
  const GgufValue& value(const std::string& key) const;
  friend class GgufParser;

  std::string where_;
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, GgufValue> metadata_;
  std::map<std::string, TensorInfo> infos_;
  std::map<std::string, Entry> entries_;
};

}  // namespace quiver::tensor_io
