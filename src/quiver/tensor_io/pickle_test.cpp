// SPDX-License-Identifier: Apache-2.0
// Pickles written out opcode by opcode: what is read, and that everything else is refused by its name.
#include "quiver/tensor_io/pickle.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>

#include <nlohmann/json.hpp>

#include "quiver/tensor_io/pickle_writer.h"
#include "quiver/tensor_io/test_files.h"

namespace quiver::tensor_io {
namespace {

using nlohmann::json;
using Kind = PickleValue::Kind;
using namespace std::string_literals;  // bytes of value 0 do not end an ""s
constexpr auto kFormat = ErrorCode::format;
constexpr auto kUnsupported = ErrorCode::unsupported;

/// One storage, "0", of the numbers 0 to 11.
at::Tensor storage(const std::string& key, at::ScalarType dtype, std::int64_t elements) {
  QUIVER_CHECK(key == "0" && dtype == at::kFloat && elements == 12, format, "test", "storage '{}' is not there", key);
  return at::arange(12, at::kFloat);
}

Pickle parse(const std::string& opcodes) {
  const auto bytes = "\x80\x02" + opcodes + ".";
  return parse_pickle(std::as_bytes(std::span(bytes)), storage, "test");
}

json json_of(const std::string& opcodes) { return pickle_to_json(*parse(opcodes).root); }

std::string text(const std::string& value) { return "X" + bytes_of(static_cast<std::uint32_t>(value.size())) + value; }
std::string integer(int value) { return "J" + bytes_of(value); }
std::string global(const std::string& module, const std::string& name) { return "c" + module + "\n" + name + "\n"; }
std::string repeat(const std::string& part, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += part;
  return out;
}

const std::string kStorage =
    "(" + text("storage") + global("torch", "FloatStorage") + text("0") + text("cpu") + integer(12) + "tQ";

/// A call of _rebuild_tensor_v2 on that storage.
std::string tensor(int offset, const std::string& sizes, const std::string& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") + "(" + kStorage + integer(offset) + "(" + sizes + "t(" +
         strides + "t\x89" + global("collections", "OrderedDict") + ")RtR";
}

TEST(Pickle, PlainValuesAreReadInEveryProtocol) {
  EXPECT_EQ(json_of("N"), json());
  EXPECT_EQ(json_of("(\x88\x89t"), json::parse("[true, false]"));
  EXPECT_EQ(json_of("K\xff"), 255);
  EXPECT_EQ(json_of("M\x01\x02"), 513);
  EXPECT_EQ(json_of("J\xff\xff\xff\xff"), -1);
  EXPECT_EQ(json_of("\x8a\x00"s), 0);
  EXPECT_EQ(json_of("\x8a\x01\x80"s), -128);
  EXPECT_EQ(json_of("\x8a\x06\x00\x00\x00\x00\x00\x01"s), std::int64_t{1} << 40);
  EXPECT_EQ(json_of("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80"s), INT64_MIN);
  EXPECT_EQ(json_of("G\x40\x09\x21\xfb\x54\x44\x2d\x18"), 3.141592653589793);
  EXPECT_EQ(json_of(text("größer")), "größer");
  EXPECT_EQ(json_of("\x8c\x02hi"), "hi");
  EXPECT_EQ(json_of("(" + text("a") + "K\x01" + text("b") + "]t"), json::parse(R"(["a", 1, "b", []])"));
  EXPECT_EQ(json_of("}(" + text("a") + "K\x01" + text("b") + "Nu"), json::parse(R"({"a": 1, "b": null})"));
  EXPECT_EQ(json_of("}K\x07" + text("seven") + "s"), json::parse(R"({"7": "seven"})"));
  EXPECT_EQ(json_of("](K\x01K\x02" + std::string("eK\x03") + "a"), json::parse("[1, 2, 3]"));
  EXPECT_EQ(json_of("\x8f(K\x01\x90"), json::parse("[1]"));
  EXPECT_EQ(json_of("\x95\x00\x00\x00\x00\x00\x00\x00\x00K\x05\x85\x94"s), json::parse("[5]"));
}

TEST(Pickle, TheMemoSharesValues) {
  EXPECT_EQ(json_of("]q\x07h\x07\x86"), json::parse("[[], []]"));
  EXPECT_EQ(json_of("]r\x07\x01\x01\x01j\x07\x01\x01\x01N"
                    "a\x86"),
            json::parse("[[null], [null]]"))
      << "one list";
  EXPECT_EQ(json_of(text("x") + "\x94" + "h\x00\x86"s), json::parse(R"(["x", "x"])"));
  expect_error(kFormat, "memo entry 7 is not there", [] { parse("h\x07"); });
}

TEST(Pickle, CallsThatMeanDataAreRead) {
  EXPECT_EQ(json_of(global("__builtin__", "set") + "](K\x01K\x02"
                                                   "e\x85R"),
            json::parse("[1, 2]"));
  EXPECT_EQ(json_of(global("collections", "OrderedDict") + ")R" + text("k") + "K\x01s"), json::parse(R"({"k": 1})"));
  EXPECT_EQ(json_of(global("torch", "Size") + "K\x02K\x03\x86\x85R"), json::parse("[2, 3]"));
  EXPECT_EQ(json_of(global("torch", "float32")), "torch.float32");
  const auto bytes = parse(global("_codecs", "encode") +
                           text("\xc3\xbf"
                                "A\xc2\x80") +
                           text("latin1") + "\x86R");
  EXPECT_EQ(bytes.root->kind, Kind::bytes);
  EXPECT_EQ(bytes.root->text,
            "\xff"
            "A\x80");
  expect_error(kFormat, "other arguments",
               [] { parse(global("_codecs", "encode") + text("€") + text("latin1") + "\x86R"); });
  expect_error(kFormat, "other arguments",
               [] { parse(global("_codecs", "encode") + text("a") + text("rot13") + "\x86R"); });
}

TEST(Pickle, ObjectsOfMttlAreTheirAttributes) {
  const auto state = "}(" + text("rank") + "K\x04u";
  const auto object = global("mttl.models.library.expert", "ExpertInfo") + ")\x81" + state + "b";
  EXPECT_EQ(json_of(object), (json{{"rank", 4}, {"class", "mttl.models.library.expert.ExpertInfo"}}));
  const auto pickle = parse(object);
  ASSERT_NE(pickle.root->find("rank"), nullptr);
  EXPECT_EQ(pickle.root->find("rank")->integer, 4);
  EXPECT_EQ(pickle.root->find("alpha"), nullptr);
  const auto member = global("mttl.x", "Kind") + text("a") + "\x85R";
  EXPECT_EQ(json_of(member), (json{{"arguments", {"a"}}, {"class", "mttl.x.Kind"}}));
}

TEST(Pickle, TensorsAreViewsOfTheirStorage) {
  const auto whole = parse(tensor(0, integer(3) + integer(4), integer(4) + integer(1)));
  EXPECT_TRUE(whole.root->tensor.equal(at::arange(12, at::kFloat).reshape({3, 4})));
  const auto turned = parse(tensor(1, integer(2) + integer(3), integer(1) + integer(4)));
  EXPECT_TRUE(turned.root->tensor.equal(at::arange(12, at::kFloat).reshape({3, 4}).t().slice(0, 1, 3)));
  EXPECT_EQ(parse(tensor(11, "", "")).root->tensor.item<float>(), 11);
  EXPECT_EQ(parse(tensor(0, integer(0) + integer(5), integer(5) + integer(1))).root->tensor.numel(), 0);
}

TEST(Pickle, TensorsBeyondTheirStorageAreRefused) {
  const auto refused = [](const std::string& part, const std::string& opcodes) {
    expect_error(kFormat, part, [&] { parse(opcodes); });
  };
  refused("reaches beyond", tensor(1, integer(3) + integer(4), integer(4) + integer(1)));
  refused("reaches beyond", tensor(12, "", ""));
  refused("reaches beyond", tensor(0, integer(2), integer(12)));
  refused("reaches beyond", tensor(0, integer(1000), integer(0)));  // more elements than the storage has
  const auto huge = "\x8a\x08" + bytes_of(INT64_MAX);
  refused("reaches beyond", tensor(0, huge, integer(1)));
  refused("reaches beyond", tensor(0, integer(3), huge));
  refused("reaches beyond", tensor(0, huge + huge, huge + huge));
  refused("larger than any memory", tensor(0, integer(0) + huge + huge, integer(1) + integer(1) + integer(1)));
  refused("other arguments", tensor(-1, integer(1), integer(1)));
  refused("other arguments", tensor(0, integer(-1), integer(1)));
  refused("other arguments", tensor(0, integer(1), integer(-1)));
  refused("other arguments", tensor(0, integer(1) + integer(1), integer(1)));
  refused("other arguments", tensor(0, repeat(integer(1), 65), repeat(integer(1), 65)));
  refused("other arguments", tensor(0, text("3"), integer(1)));
}

TEST(Pickle, StoragesThatAreNotOfTorchSaveAreRefused) {
  const auto id = [](const std::string& kind, const std::string& type, const std::string& key,
                     const std::string& size) { return "(" + kind + type + key + text("cpu") + size + "tQ"; };
  const auto type = global("torch", "FloatStorage");
  expect_error(kFormat, "persistent id", [&] { parse(id(text("module"), type, text("0"), integer(12))); });
  expect_error(kFormat, "persistent id", [&] { parse(id(text("storage"), text("f"), text("0"), integer(12))); });
  expect_error(kFormat, "persistent id",
               [&] { parse(id(text("storage"), global("torch", "float32"), text("0"), integer(12))); });
  expect_error(kFormat, "persistent id", [&] { parse(id(text("storage"), type, integer(0), integer(12))); });
  expect_error(kFormat, "persistent id", [&] { parse(id(text("storage"), type, text("0"), integer(-12))); });
  expect_error(kFormat, "persistent id", [&] { parse("NQ"); });
  expect_error(kFormat, "storage '1' is not there", [&] { parse(id(text("storage"), type, text("1"), integer(12))); });
  expect_error(kUnsupported, "two types or sizes",
               [&] { parse(kStorage + id(text("storage"), type, text("0"), integer(6)) + "\x86"); });
}

TEST(Pickle, NamesThatCouldRunCodeAreRefusedByName) {
  const std::pair<const char*, const char*> kNames[] = {{"os", "system"},
                                                        {"posix", "system"},
                                                        {"subprocess", "Popen"},
                                                        {"builtins", "eval"},
                                                        {"__builtin__", "exec"},
                                                        {"builtins", "getattr"},
                                                        {"torch", "load"},
                                                        {"torch.hub", "load"},
                                                        {"numpy.core.multiarray", "_reconstruct"},
                                                        {"torch._utils", "_rebuild_tensor"},
                                                        {"mttlx.models", "A"},
                                                        {"torch", "UntypedStorage"},
                                                        {"copyreg", "_reconstructor"}};
  for (const auto& [module, name] : kNames) {
    const auto full = std::string(module) + "." + name;
    expect_error(kUnsupported, full, [&] { parse(global(module, name) + text("echo owned") + "\x85R"); });
    expect_error(kUnsupported, full, [&] { parse(text(module) + text(name) + "\x93"); });
  }
  expect_error(kUnsupported, "an object of class \"torch.Size\"", [] { parse(global("torch", "Size") + ")\x81"); });
  expect_error(kUnsupported, "no function that is read", [] { parse(global("torch", "float32") + ")R"); });
  expect_error(kUnsupported, "no function that is read",
               [] { parse(global("torch", "FloatStorage") + integer(1 << 30) + "\x85R"); });
  expect_error(kFormat, "text is called", [] { parse(text("os.system") + ")R"); });
}

TEST(Pickle, OpcodesThatTorchSaveDoesNotWriteAreRefused) {
  for (const std::string opcode : {"iposix\nsystem\n",
                                   "o",
                                   "\x82\x01",
                                   "\x83\x01\x01",
                                   "\x84\x01\x01\x01\x01",
                                   "P1\n",
                                   "I1\n",
                                   "F1\n",
                                   "S'a'\n",
                                   "U\x01"
                                   "a",
                                   "T\x01",
                                   "d",
                                   "l",
                                   "g0\n",
                                   "p0\n",
                                   "2",
                                   "1",
                                   "\x92",
                                   "\x96",
                                   "\x97",
                                   "\x98",
                                   "\xff"}) {
    expect_error(kUnsupported, "which torch.save does not write", [&] { parse("(" + opcode); });
  }
}

TEST(Pickle, UnsoundProgramsAreRefused) {
  const auto refused = [](const std::string& opcodes) {
    EXPECT_EQ(error_of([&] { parse(opcodes); }).code(), kFormat) << opcodes;
  };
  for (const std::string opcodes : {"",         "0",
                                    "t",        "u",
                                    "R",        "b",
                                    "Q",        "s",
                                    "a",        "NN",
                                    "N(",       "(N0",
                                    "Na",       "N(Ne",
                                    "}(Nu",     "](NNu",
                                    "N}b",      "(\x85t",
                                    "N(\x85t",  "h",
                                    "K",        "X\xff\xff\xff\xff",
                                    "X\x02",    "\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
                                    "cposix",   "cposix\nsystem",
                                    "\x8a\x05", "NN\x93",
                                    "N)R",      "\x85",
                                    "N.N"}) {
    refused(opcodes);
  }
  refused(text("\xff"));
  refused("c" + std::string(600, 'a') + "\nb\n");
  refused(global("a\x01", "b"));
  expect_error(kUnsupported, "protocol 1", [] {
    const std::string bytes = "\x80\x01N.";
    parse_pickle(std::as_bytes(std::span(bytes)), storage, "test");
  });
  expect_error(kUnsupported, "an integer has 9 bytes", [] { parse("\x8a\x09" + std::string(9, '\1')); });
}

TEST(Pickle, BombsAreRefused) {
  expect_error(kUnsupported, "deeper than 100 levels", [] { parse(repeat("]", 200) + repeat("a", 199)); });
  expect_error(kUnsupported, "deeper than 100 levels", [] { parse("]" + repeat("\x85", 100'000)); });
  EXPECT_NO_THROW(parse(repeat("]", 100) + repeat("a", 99)));
  // Each level holds the one below twice: 2^40 entries, unfolded.
  expect_error(kUnsupported, "unfolded", [] { parse("]" + repeat("q\x01h\x01\x86", 40)); });
  expect_error(kUnsupported, "holds itself", [] {
    parse(
        "]q\x01h\x01"
        "a");
  });
  expect_error(kUnsupported, "holds itself", [] { parse("}q\x01K\x01(h\x01ts"); });
  expect_error(kUnsupported, "more than 1000000 values", [] { parse(repeat("N0", 1'000'001)); });
  expect_error(kUnsupported, "more than 1000000 marks", [] { parse(repeat("(", 1'000'001)); });
  expect_error(kUnsupported, "the stack has more", [] { parse("Nq\x01" + repeat("h\x01", 1'000'001)); });
  // A long list or text copied by a call again and again.
  const auto set = "](" + "Nq\x05"s + repeat("h\x05", 100'000) +
                   "e\x85q\x01"
                   "0";
  expect_error(kUnsupported, "repeats more than", [&] {
    parse(set + global("__builtin__", "set") +
          "q\x02"
          "0" +
          repeat("h\x02h\x01R0", 200));
  });
  // Views that together are far larger than their storage.
  const auto view = tensor(0, integer(12), integer(1));
  expect_error(kUnsupported, "share their 48 bytes", [&] { parse(repeat(view + "0", 65)); });
}

TEST(Pickle, WhatIsWrittenIsReadBack) {
  const auto value = json::parse(
      R"({"name": "größer", "n": null, "yes": true, "list": [1, -70000, 5000000000, 2.5, []], "inner": {"a": {}}})");
  const auto bytes = pickle_of(value);
  const auto pickle = parse_pickle(std::as_bytes(std::span(bytes)), storage, "test");
  EXPECT_EQ(pickle_to_json(*pickle.root), value);
  const auto tensors = pickle_of({{"t", at::arange(12, at::kFloat).reshape({3, 4})}}, "test");
  const auto read = parse_pickle(std::as_bytes(std::span(tensors)), storage, "test");
  EXPECT_TRUE(read.root->find("t")->tensor.equal(at::arange(12, at::kFloat).reshape({3, 4})));
  expect_error(kUnsupported, "tensor 'c'", [] { pickle_of({{"c", at::zeros({2}, at::kComplexFloat)}}, "test"); });
}

}  // namespace
}  // namespace quiver::tensor_io
