// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/pickle.h"

#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "quiver/base/error.h"
#include "quiver/tensor_io/pickle_calls.h"
#include "quiver/tensor_io/plain_name.h"
#include "quiver/tensor_io/strict_json.h"

namespace quiver::tensor_io {
namespace {

using Kind = PickleValue::Kind;
using Items = std::vector<const PickleValue*>;
constexpr std::size_t kMaxPickle_bytes = std::size_t{64} << 20;
constexpr std::size_t kMaxValues = 1'000'000;
constexpr std::size_t kMaxLevels = 100;
constexpr std::uint64_t kMaxUnfolded_bytes = std::uint64_t{256} << 20;
constexpr std::uint64_t kMaxCopied_bytes = std::uint64_t{64} << 20;  ///< by opcodes that repeat what stands elsewhere
constexpr std::uint64_t kMaxSharing = 64;  ///< bytes of all tensors per byte of the storages they view
constexpr std::size_t kMaxModule_bytes = 500;

/// The stack machine. Every read is checked against the end of the bytes, every pop against the mark below.
class Machine {
 public:
  Machine(std::span<const std::byte> bytes, const StorageLookup& storages, const std::string& where, Pickle& out)
      : bytes_(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
        storages_(storages),
        where_(where),
        out_(out) {}

  const PickleValue* run() {
    while (!done_) step();
    const auto* result = pop();
    QUIVER_CHECK(stack_.empty() && marks_.empty(), format, here(), "the pickle ends with values to spare");
    return result;
  }
  std::size_t taken() const { return at_; }

 private:
  std::string here() const { return fmt::format("{}, byte {} of the pickle", where_, at_); }

  // Bytes.
  std::string_view take(std::uint64_t count) {
    QUIVER_CHECK(count <= bytes_.size() - at_, format, here(), "{} bytes expected, {} are left", count,
                 bytes_.size() - at_);
    const auto out = bytes_.substr(at_, count);
    at_ += count;
    return out;
  }
  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  template <typename Length>
  std::string_view counted() {
    return take(number<Length>());
  }
  std::string_view line() {
    const auto end = bytes_.find('\n', at_);
    QUIVER_CHECK(end != std::string_view::npos && end - at_ <= kMaxModule_bytes, format, here(),
                 "a name is not ended within {} bytes", kMaxModule_bytes);
    const auto out = take(end - at_);
    ++at_;
    return out;
  }

  // Values.
  PickleValue& make(Kind kind) {
    QUIVER_CHECK(out_.values.size() < kMaxValues, unsupported, here(), "the pickle has more than {} values",
                 kMaxValues);
    auto& value = out_.values.emplace_back();
    value.kind = kind;
    return value;
  }
  PickleValue& push(Kind kind) {
    auto& value = make(kind);
    stack_.push_back(&value);
    return value;
  }
  PickleValue* pop() {
    QUIVER_CHECK(stack_.size() > (marks_.empty() ? 0 : marks_.back()), format, here(),
                 "an opcode needs more values than the stack has");
    auto* value = stack_.back();
    stack_.pop_back();
    return value;
  }
  PickleValue& top() {
    auto* value = pop();
    stack_.push_back(value);
    return *value;
  }
  Items pop_last(std::size_t count) {
    Items items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }
  void mark() {
    marks_.push_back(stack_.size());
    QUIVER_CHECK(marks_.size() <= kMaxValues, unsupported, here(), "more than {} marks", kMaxValues);
  }
  Items pop_to_mark() {
    QUIVER_CHECK(!marks_.empty(), format, here(), "an opcode needs a mark, and there is none");
    Items out(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return out;
  }

  void push_integer(std::int64_t value) { push(Kind::integer).integer = value; }
  void push_text(std::string_view text) {
    QUIVER_CHECK(is_utf8(text), format, here(), "a text is not UTF-8");
    push(Kind::text).text = text;
  }
  void push_long(std::string_view digits) {
    QUIVER_CHECK(digits.size() <= sizeof(std::int64_t), unsupported, here(),
                 "an integer has {} bytes, at most 8 are read", digits.size());
    const bool negative = !digits.empty() && (digits.back() & 0x80) != 0;
    std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
    std::memcpy(&value, digits.data(), digits.size());
    push_integer(static_cast<std::int64_t>(value));
  }
  void push_real(std::uint64_t big_endian) {
    push(Kind::real).real = std::bit_cast<double>(__builtin_bswap64(big_endian));
  }
  void push_items(Kind kind, Items items) { push(kind).items = std::move(items); }

  // Containers.
  void append(const Items& items, Kind kind) {
    auto& target = top();
    QUIVER_CHECK(target.kind == kind, format, here(), "entries are added to {}, expected {}", kind_name(target.kind),
                 kind_name(kind));
    QUIVER_CHECK(kind != Kind::dictionary || items.size() % 2 == 0, format, here(), "a key has no value");
    target.items.insert(target.items.end(), items.begin(), items.end());
  }

  // The memo.
  void memoise(std::uint64_t slot) {
    memo_[slot] = &top();
    QUIVER_CHECK(memo_.size() <= kMaxValues, unsupported, here(), "the memo has more than {} entries", kMaxValues);
  }
  void recall(std::uint64_t slot) {
    const auto found = memo_.find(slot);
    QUIVER_CHECK(found != memo_.end(), format, here(), "memo entry {} is not there", slot);
    stack_.push_back(found->second);
    QUIVER_CHECK(stack_.size() <= kMaxValues, unsupported, here(), "the stack has more than {} values", kMaxValues);
  }

  // Names, calls, objects.
  void charge(const PickleValue& value) {
    copied_bytes_ += value.text.size() + value.items.size() * sizeof(const void*);
    QUIVER_CHECK(copied_bytes_ <= kMaxCopied_bytes, unsupported, here(), "the pickle repeats more than {} bytes",
                 kMaxCopied_bytes);
  }
  void push_name(std::string_view module, std::string_view attribute) {
    const auto name = std::string(module) + "." + std::string(attribute);
    QUIVER_CHECK(is_plain_name(name), format, here(), "{} cannot be a name", excerpt(name));
    check_pickle_name(name, here());
    auto& value = push(Kind::name);
    value.text = name;
    charge(value);
  }
  void push_written_name() {
    const auto module = line();
    push_name(module, line());
  }
  void push_stack_name() {
    const auto *attribute = pop(), *module = pop();
    QUIVER_CHECK(attribute->kind == Kind::text && module->kind == Kind::text, format, here(), "a name is not text");
    push_name(module->text, attribute->text);
  }
  enum class Callee { any, plain_class };
  void call(Callee allowed) {
    const auto *arguments = pop(), *callee = pop();
    QUIVER_CHECK(callee->kind == Kind::name, format, here(), "{} is called", kind_name(callee->kind));
    QUIVER_CHECK(allowed == Callee::any || is_plain_class(callee->text), unsupported, here(),
                 "an object of class {} is made", excerpt(callee->text));
    auto& result = push(Kind::none);
    call_by_name(callee->text, *arguments, result, here());
    charge(result);
    if (result.kind != Kind::tensor) return;
    tensor_bytes_ += static_cast<std::uint64_t>(result.tensor.numel()) * result.tensor.element_size();
    QUIVER_CHECK(tensor_bytes_ <= kMaxSharing * storage_bytes_, unsupported, here(),
                 "the tensors share their {} bytes more than {} times", storage_bytes_, kMaxSharing);
  }
  void build() {
    const auto* state = pop();
    auto& target = top();
    if (target.kind == Kind::dictionary)
      return;  // attributes of an OrderedDict, such as a state dictionary's _metadata
    QUIVER_CHECK(target.kind == Kind::object, format, here(), "a state is given to {}", kind_name(target.kind));
    QUIVER_CHECK(state->kind == Kind::dictionary, unsupported, here(), "the state of a {} is {}, expected a dictionary",
                 excerpt(target.text), kind_name(state->kind));
    target.items = {state};
  }

  // ('storage', torch.XStorage, key, device, elements), and in files of PyTorch before 1.6 the place of a view, None.
  void push_storage() {
    const auto* id = pop();
    const auto& i = id->items;
    const bool sound = id->kind == Kind::tuple && (i.size() == 5 || (i.size() == 6 && i[5]->is_none())) &&
                       i[0]->kind == Kind::text && i[0]->text == "storage" && i[1]->kind == Kind::name &&
                       i[2]->kind == Kind::text && i[3]->kind == Kind::text && i[4]->kind == Kind::integer &&
                       i[4]->integer >= 0;
    const auto dtype = sound ? storage_dtype(i[1]->text) : std::nullopt;
    QUIVER_CHECK(dtype, format, here(), "a persistent id is not a storage of torch.save");
    QUIVER_CHECK(is_plain_name(i[2]->text), format, here(), "{} cannot be a storage", excerpt(i[2]->text));
    auto& known = storage_values_[i[2]->text];
    if (!known) {
      known = &make(Kind::storage);
      known->tensor = storages_(i[2]->text, *dtype, i[4]->integer);
      storage_bytes_ += static_cast<std::uint64_t>(i[4]->integer) * c10::elementSize(*dtype);
    }
    QUIVER_CHECK(known->tensor.scalar_type() == *dtype && known->tensor.numel() == i[4]->integer, unsupported, here(),
                 "storage '{}' is used with two types or sizes", i[2]->text);
    stack_.push_back(known);
  }

  void check_protocol() {
    const auto protocol = number<std::uint8_t>();
    QUIVER_CHECK(protocol >= 2 && protocol <= 5, unsupported, here(), "pickle protocol {}, expected 2 to 5", protocol);
  }

  using Run = void (*)(Machine&);
  struct Opcode {
    char code;
    Run run;
  };
  /// By the letters that Python's pickle module gives them.
  static std::array<Run, 256> opcode_table() {
    using M = Machine;
    using std::uint16_t, std::uint32_t, std::uint64_t, std::uint8_t;
    constexpr Opcode kOpcodes[] = {
        {'\x80', [](M& m) { m.check_protocol(); }},
        {'\x95', [](M& m) { m.number<uint64_t>(); }},  // a frame: a hint for reading ahead
        {'.', [](M& m) { m.done_ = true; }},
        {'(', [](M& m) { m.mark(); }},
        {'0', [](M& m) { m.pop(); }},
        {'N', [](M& m) { m.push(Kind::none); }},
        {'\x88', [](M& m) { m.push(Kind::boolean).integer = 1; }},
        {'\x89', [](M& m) { m.push(Kind::boolean); }},
        {'J', [](M& m) { m.push_integer(m.number<std::int32_t>()); }},
        {'K', [](M& m) { m.push_integer(m.number<uint8_t>()); }},
        {'M', [](M& m) { m.push_integer(m.number<uint16_t>()); }},
        {'\x8a', [](M& m) { m.push_long(m.counted<uint8_t>()); }},
        {'G', [](M& m) { m.push_real(m.number<uint64_t>()); }},
        {'X', [](M& m) { m.push_text(m.counted<uint32_t>()); }},
        {'\x8c', [](M& m) { m.push_text(m.counted<uint8_t>()); }},
        {'\x8d', [](M& m) { m.push_text(m.counted<uint64_t>()); }},
        {'B', [](M& m) { m.push(Kind::bytes).text = m.counted<uint32_t>(); }},
        {'C', [](M& m) { m.push(Kind::bytes).text = m.counted<uint8_t>(); }},
        {'\x8e', [](M& m) { m.push(Kind::bytes).text = m.counted<uint64_t>(); }},
        {')', [](M& m) { m.push(Kind::tuple); }},
        {'\x85', [](M& m) { m.push_items(Kind::tuple, m.pop_last(1)); }},
        {'\x86', [](M& m) { m.push_items(Kind::tuple, m.pop_last(2)); }},
        {'\x87', [](M& m) { m.push_items(Kind::tuple, m.pop_last(3)); }},
        {'t', [](M& m) { m.push_items(Kind::tuple, m.pop_to_mark()); }},
        {']', [](M& m) { m.push(Kind::list); }},
        {'a', [](M& m) { m.append(m.pop_last(1), Kind::list); }},
        {'e', [](M& m) { m.append(m.pop_to_mark(), Kind::list); }},
        {'\x8f', [](M& m) { m.push(Kind::set); }},
        {'\x90', [](M& m) { m.append(m.pop_to_mark(), Kind::set); }},
        {'\x91', [](M& m) { m.push_items(Kind::set, m.pop_to_mark()); }},
        {'}', [](M& m) { m.push(Kind::dictionary); }},
        {'s', [](M& m) { m.append(m.pop_last(2), Kind::dictionary); }},
        {'u', [](M& m) { m.append(m.pop_to_mark(), Kind::dictionary); }},
        {'q', [](M& m) { m.memoise(m.number<uint8_t>()); }},
        {'r', [](M& m) { m.memoise(m.number<uint32_t>()); }},
        {'\x94', [](M& m) { m.memoise(m.memo_.size()); }},
        {'h', [](M& m) { m.recall(m.number<uint8_t>()); }},
        {'j', [](M& m) { m.recall(m.number<uint32_t>()); }},
        {'c', [](M& m) { m.push_written_name(); }},
        {'\x93', [](M& m) { m.push_stack_name(); }},
        {'R', [](M& m) { m.call(Callee::any); }},
        {'\x81', [](M& m) { m.call(Callee::plain_class); }},
        {'b', [](M& m) { m.build(); }},
        {'Q', [](M& m) { m.push_storage(); }},
    };
    std::array<Run, 256> table{};
    for (const auto& opcode : kOpcodes) table[static_cast<unsigned char>(opcode.code)] = opcode.run;
    return table;
  }

  void step() {
    static const auto kTable = opcode_table();
    const auto code = number<std::uint8_t>();
    QUIVER_CHECK(kTable[code], unsupported, here(), "opcode 0x{:02x}, which torch.save does not write", code);
    kTable[code](*this);
  }

  std::string_view bytes_;
  std::size_t at_ = 0;
  const StorageLookup& storages_;
  const std::string& where_;
  Pickle& out_;
  std::vector<PickleValue*> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, PickleValue*> memo_;
  std::map<std::string, PickleValue*> storage_values_;
  std::uint64_t storage_bytes_ = 0, tensor_bytes_ = 0, copied_bytes_ = 0;
  bool done_ = false;
};

/// Depth and size of the tree with every shared value written out, each value looked at once.
class Measure {
 public:
  explicit Measure(const std::string& where) : where_(where) {}

  struct Extent {
    std::size_t levels = 0;
    std::uint64_t bytes = 0;
    bool open = true;  ///< being measured: meeting it again is a cycle
  };

  Extent of(const PickleValue& value, std::size_t level) {
    const auto [found, is_new] = known_.try_emplace(&value);
    if (is_new) {
      check_levels(level + 1);
      const auto extent = measured(value, level);
      return known_[&value] = extent;
    }
    QUIVER_CHECK(!found->second.open, unsupported, where_, "{} holds itself", kind_name(value.kind));
    check_levels(level + found->second.levels);
    return found->second;
  }

 private:
  Extent measured(const PickleValue& value, std::size_t level) {
    Extent out{1, sizeof value + value.text.size(), false};
    for (const auto* item : value.items) {
      const auto inner = of(*item, level + 1);
      out.levels = std::max(out.levels, inner.levels + 1);
      out.bytes += inner.bytes;
      QUIVER_CHECK(out.bytes <= kMaxUnfolded_bytes, unsupported, where_,
                   "unfolded, the pickle takes more than {} bytes", kMaxUnfolded_bytes);
    }
    return out;
  }
  void check_levels(std::size_t levels) const {
    QUIVER_CHECK(levels <= kMaxLevels, unsupported, where_, "the pickle is nested deeper than {} levels", kMaxLevels);
  }

  const std::string& where_;
  std::unordered_map<const PickleValue*, Extent> known_;
};

}  // namespace

const PickleValue* PickleValue::find(std::string_view key) const {
  if (kind == Kind::object) {
    return items.size() == 1 && items[0]->kind == Kind::dictionary ? items[0]->find(key) : nullptr;
  }
  if (kind != Kind::dictionary) return nullptr;
  for (std::size_t i = items.size(); i >= 2; i -= 2) {
    if (items[i - 2]->kind == Kind::text && items[i - 2]->text == key) return items[i - 1];
  }
  return nullptr;
}

const char* kind_name(Kind kind) {
  constexpr const char* kNames[] = {"None",      "a boolean", "an integer", "a number", "text",
                                    "bytes",     "a list",    "a tuple",    "a set",    "a dictionary",
                                    "an object", "a tensor",  "a storage",  "a name"};
  return kNames[static_cast<std::size_t>(kind)];
}

Pickle parse_first_pickle(std::span<const std::byte> bytes, const StorageLookup& storages, const std::string& where,
                          std::size_t& taken) {
  Pickle out;
  Machine machine(bytes.first(std::min(bytes.size(), kMaxPickle_bytes)), storages, where, out);
  out.root = machine.run();
  taken = machine.taken();
  Measure(where).of(*out.root, 0);
  return out;
}

Pickle parse_pickle(std::span<const std::byte> bytes, const StorageLookup& storages, const std::string& where) {
  QUIVER_CHECK(bytes.size() <= kMaxPickle_bytes, unsupported, where, "a pickle of {} bytes, at most {} are read",
               bytes.size(), kMaxPickle_bytes);
  std::size_t taken = 0;
  auto out = parse_first_pickle(bytes, storages, where, taken);
  QUIVER_CHECK(taken == bytes.size(), format, where, "{} bytes follow the end of the pickle", bytes.size() - taken);
  return out;
}

}  // namespace quiver::tensor_io
