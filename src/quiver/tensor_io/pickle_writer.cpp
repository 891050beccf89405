// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/pickle_writer.h"

#include <bit>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/tensor_io/pickle_calls.h"

namespace quiver::tensor_io {
namespace {

using nlohmann::json;

/// Opcodes by their letters in Python's pickle module. No memo: nothing is shared.
class Writer {
 public:
  Writer() { out_ = "\x80\x02"; }
  std::string finish() { return std::move(out_ += '.'); }

  void opcode(char code) { out_ += code; }
  template <typename T>
  void number(T value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void text(const std::string& text) {
    opcode('X');
    number(static_cast<std::uint32_t>(text.size()));
    out_ += text;
  }
  void integer(std::int64_t value) {
    if (value == static_cast<std::int32_t>(value)) {
      opcode('J');
      return number(static_cast<std::int32_t>(value));
    }
    out_ += "\x8a\x08";
    number(value);
  }
  void real(double value) {
    opcode('G');
    number(__builtin_bswap64(std::bit_cast<std::uint64_t>(value)));
  }
  void name(const char* module, const std::string& attribute) { out_ += fmt::format("c{}\n{}\n", module, attribute); }
  void integers(at::IntArrayRef values) {
    opcode('(');
    for (const auto value : values) integer(value);
    opcode('t');
  }

 private:
  std::string out_;
};

void write(Writer& out, const json& value);

void write_dictionary(Writer& out, const json& value) {
  out.opcode('}');
  out.opcode('(');
  for (const auto& [key, entry] : value.items()) {
    out.text(key);
    write(out, entry);
  }
  out.opcode('u');
}

void write_list(Writer& out, const json& value) {
  out.opcode(']');
  out.opcode('(');
  for (const auto& entry : value) write(out, entry);
  out.opcode('e');
}

void write(Writer& out, const json& value) {
  if (value.is_object()) return write_dictionary(out, value);
  if (value.is_array()) return write_list(out, value);
  if (value.is_string()) return out.text(value.get<std::string>());
  if (value.is_boolean()) return out.opcode(value.get<bool>() ? '\x88' : '\x89');
  if (value.is_number_float()) return out.real(value.get<double>());
  if (value.is_number()) return out.integer(value.get<std::int64_t>());
  out.opcode('N');
}

/// `FloatStorage`, ...
std::string storage_class(const std::string& tensor, at::ScalarType dtype, const std::string& where) {
  const auto name = std::string(c10::toString(dtype)) + "Storage";
  QUIVER_CHECK(storage_dtype("torch." + name) == dtype, unsupported, where, "tensor '{}' has type {}", tensor,
               c10::toString(dtype));
  return name;
}

void write_tensor(Writer& out, const at::Tensor& tensor, const std::string& storage, std::size_t key) {
  out.name("torch._utils", "_rebuild_tensor_v2");
  out.opcode('(');
  out.opcode('(');
  out.text("storage");
  out.name("torch", storage);
  out.text(std::to_string(key));
  out.text("cpu");
  out.integer(tensor.numel());
  out.opcode('t');
  out.opcode('Q');
  out.integer(0);
  out.integers(tensor.sizes());
  out.integers(tensor.strides());
  out.opcode('\x89');  // no gradient
  out.name("collections", "OrderedDict");
  out.opcode(')');
  out.opcode('R');
  out.opcode('t');
  out.opcode('R');
}

}  // namespace

std::string pickle_of(const json& value) {
  Writer out;
  write(out, value);
  return out.finish();
}

std::string pickle_of(const std::vector<std::pair<std::string, at::Tensor>>& tensors, const std::string& where) {
  Writer out;
  out.opcode('}');
  out.opcode('(');
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, tensor] = tensors[i];
    out.text(name);
    write_tensor(out, tensor, storage_class(name, tensor.scalar_type(), where), i);
  }
  out.opcode('u');
  return out.finish();
}

}  // namespace quiver::tensor_io
