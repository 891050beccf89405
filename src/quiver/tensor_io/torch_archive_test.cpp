// SPDX-License-Identifier: Apache-2.0
// Archives of torch.save: those of Quiver's own writer, whole and damaged. Those of torch itself are read in
// library/mttl_library_test.cpp.
#include "quiver/tensor_io/torch_archive.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>

#include <nlohmann/json.hpp>

#include "quiver/tensor_io/mapped_file.h"
#include "quiver/tensor_io/test_files.h"
#include "quiver/tensor_io/torch_archive_zip.h"

namespace quiver::tensor_io {
namespace {

using nlohmann::json;
constexpr auto kFormat = ErrorCode::format;
constexpr auto kUnsupported = ErrorCode::unsupported;

/// The archive's bytes with `change` applied to the first place where `part` stands.
std::string changed(std::string bytes, const std::string& part, std::size_t offset, const std::string& change) {
  const auto at = bytes.find(part);
  EXPECT_NE(at, std::string::npos);
  return bytes.replace(at + offset, change.size(), change);
}

/// A small sound file: two tensors of different types, one turned.
std::string sound(const TestFolder& folder) {
  write_torch_archive(folder / "sound",
                      {{"b", at::arange(6, at::kFloat).reshape({2, 3}).t()}, {"a", at::ones({2}, at::kHalf)}});
  return read_file(folder / "sound");
}

TEST(TorchArchive, TensorsAreReadBackInTheirOrder) {
  const TestFolder folder;
  sound(folder);
  const auto pickle = read_torch_archive(folder / "sound");
  ASSERT_EQ(pickle.root->items.size(), 4u);
  EXPECT_EQ(pickle.root->items[0]->text, "b");
  const auto file = open_torch_tensors(folder / "sound");
  EXPECT_TRUE(file->load("b").equal(at::arange(6, at::kFloat).reshape({2, 3}).t()));
  EXPECT_TRUE(file->load("a").equal(at::ones({2}, at::kHalf)));
  EXPECT_EQ(file->tensors().at("a").stored_dtype, "F16");
  EXPECT_EQ(file->tensors().at("b").bytes, 24u);
  EXPECT_EQ(*static_cast<const float*>(file->stored_bytes("b")), 0.0f);
  expect_error(ErrorCode::not_found, "no tensor 'c'", [&] { file->load("c"); });
}

TEST(TorchArchive, PlainValuesAreReadBack) {
  const TestFolder folder;
  const json value{{"name", "x"}, {"list", {1, 2.5, nullptr}}};
  write_torch_archive(folder / "meta", value);
  EXPECT_EQ(pickle_to_json(*read_torch_archive(folder / "meta").root), value);
  expect_error(kUnsupported, "'list' is a list", [&] { open_torch_tensors(folder / "meta"); });
  expect_error(kFormat, "holds a list", [&] {
    write_torch_archive(folder / "list", json::array());
    open_torch_tensors(folder / "list");
  });
}

TEST(TorchArchive, BytesOfStoragesLieAtMultiplesOf64) {
  const TestFolder folder;
  sound(folder);
  const auto file = MappedFile::open(folder / "sound");
  for (const auto& [name, entry] : parse_stored_zip(file->bytes(), "test")) EXPECT_EQ(entry.begin % 64, 0u) << name;
}

TEST(TorchArchive, TheChecksumIsThatOfZip) {
  EXPECT_EQ(crc32(std::as_bytes(std::span(std::string_view("123456789")))), 0xCBF43926u);  // the check value of CRC-32
}

TEST(TorchArchive, OtherFilesAreRefused) {
  const TestFolder folder;
  expect_error(kFormat, "too short", [&] { read_torch_archive(folder.file("a", "")); });
  expect_error(kFormat, "no zip end record",
               [&] { read_torch_archive(folder.file("a", "\x80\x02\x8a\nl\xfc" + std::string(99, 'x'))); });
  expect_error(ErrorCode::not_found, "no such file", [&] { read_torch_archive(folder / "none"); });
  const auto zip_of = [&](const std::vector<std::pair<std::string, std::string>>& entries) {
    StoredZipWriter zip(folder / "zip");
    for (const auto& [name, bytes] : entries) zip.add(name, bytes);
    zip.finish();
    return folder / "zip";
  };
  const std::string none = "\x80\x02N.";
  EXPECT_TRUE(read_torch_archive(zip_of({{"x/data.pkl", none}})).root->is_none());
  expect_error(kFormat, "no entry NAME/data.pkl", [&] { read_torch_archive(zip_of({})); });
  expect_error(kFormat, "no entry NAME/data.pkl", [&] { read_torch_archive(zip_of({{"data.pkl", none}})); });
  expect_error(kFormat, "no entry NAME/data.pkl", [&] { read_torch_archive(zip_of({{"x/y/data.pkl", none}})); });
  expect_error(kFormat, "two entries", [&] {
    read_torch_archive(zip_of({{"x/data.pkl", none}, {"y/data.pkl", none}}));
  });
  expect_error(kFormat, "stands twice", [&] {
    read_torch_archive(zip_of({{"x/data.pkl", none}, {"x/data.pkl", none}}));
  });
  expect_error(kFormat, "cannot name an entry", [&] { read_torch_archive(zip_of({{"x/\ndata.pkl", none}})); });
  expect_error(kUnsupported, "byte order \"big\"", [&] {
    read_torch_archive(zip_of({{"x/data.pkl", none}, {"x/byteorder", "big"}}));
  });
  expect_error(kUnsupported, "os.system", [&] {
    read_torch_archive(zip_of({{"x/data.pkl",
                                "\x80\x02"
                                "cos\nsystem\n."}}));
  });
}

/// The checksum of the pickle, where it stands in both headers, made to fit a pickle that was changed.
std::string with_checksum(const std::string& original, std::string damaged) {
  const auto bytes = [](const std::string& text) { return std::as_bytes(std::span(std::string_view(text))); };
  const auto pickle = parse_stored_zip(bytes(original), "test").at("archive/data.pkl");
  const auto sum = crc32(bytes(damaged).subspan(pickle.begin, pickle.size_bytes));
  for (std::size_t at = 0; (at = damaged.find(bytes_of(pickle.checksum), at)) != std::string::npos; at += 4) {
    damaged.replace(at, 4, bytes_of(sum));
  }
  return damaged;
}

TEST(TorchArchive, StoragesOfAnotherSizeOrNameAreRefused) {
  const TestFolder folder;
  const auto bytes = sound(folder);
  const auto id = "X" + bytes_of(1) + "0X" + bytes_of(3) + "cpuJ" + bytes_of(6);  // key, device, elements
  const auto refused = [&](const std::string& part, std::size_t offset, const std::string& change) {
    const auto path = folder.file("a", with_checksum(bytes, changed(bytes, id, offset, change)));
    expect_error(kFormat, part, [&] { read_torch_archive(path); });
  };
  for (const int claim : {0, 5, 7, INT32_MAX}) refused("storage '0' has 24 bytes", id.size() - 4, bytes_of(claim));
  refused("persistent id", id.size() - 4, bytes_of(-1));
  refused("storage '2' is not in the archive", 5, "2");
  expect_error(kFormat, "is damaged", [&] { read_torch_archive(folder.file("a", changed(bytes, id, 5, "1"))); });
}

TEST(TorchArchive, DamagedDirectoriesAreRefused) {
  const TestFolder folder;
  const auto bytes = sound(folder);
  const std::string record = "PK\x01\x02", end = "PK\x05\x06", local = "PK\x03\x04";
  const auto refused = [&](ErrorCode code, const std::string& part, const std::string& damaged) {
    expect_error(code, part, [&] { read_torch_archive(folder.file("a", damaged)); });
  };
  refused(kUnsupported, "is encrypted", changed(bytes, record, 8, "\x01"));
  refused(kUnsupported, "is compressed", changed(bytes, record, 10, "\x08"));
  refused(kUnsupported, "is compressed", changed(bytes, record, 20, bytes_of(1)));
  refused(kUnsupported, "beyond 4 GiB", changed(bytes, record, 42, bytes_of(-1)));
  refused(kUnsupported, "above 4 GiB", changed(bytes, end, 16, bytes_of(-1)));
  refused(kUnsupported, "several parts", changed(bytes, end, 4, bytes_of(1)));
  refused(kFormat, "its end record begins", changed(bytes, end, 12, bytes_of(1 << 30)));
  refused(kFormat, "no directory record", changed(bytes, end, 8, bytes_of(0x00090009)));
  refused(kFormat, "no local header", changed(bytes, record, 42, bytes_of(5)));
  refused(kFormat, "no local header", changed(bytes, record, 42, bytes_of(1 << 30)));
  refused(kFormat, "is cut", changed(bytes, record, 32, bytes_of(std::uint16_t{60000})));
  refused(kFormat, "another name", changed(bytes, local, 30, "x"));
  refused(kFormat, "the entries end at", changed(bytes, record, 20, bytes_of(1 << 30) + bytes_of(1 << 30)));
  refused(kFormat, "the entries end at", changed(bytes, local, 28, bytes_of(std::uint16_t{65535})));
}

TEST(TorchArchive, TruncationsAreRefused) {
  const TestFolder folder;
  const auto bytes = sound(folder);
  for (std::size_t length = 0; length < bytes.size(); length += length + 60 < bytes.size() ? 7 : 1) {
    const auto path = folder.file("a", bytes.substr(0, length));
    EXPECT_EQ(error_of([&] { read_torch_archive(path); }).code(), kFormat) << length;
  }
}

/// Every entry has its checksum, so a flipped bit is found unless it lies in what means nothing: dates and padding.
TEST(TorchArchive, FlippedBitsAreRefusedOrHarmless) {
  const TestFolder folder;
  const auto bytes = sound(folder);
  int refused = 0;
  for (std::size_t bit = 0; bit < bytes.size() * 8; bit += 25) {
    auto damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    const auto path = folder.file("a", damaged);
    try {
      const auto file = open_torch_tensors(path);
      EXPECT_TRUE(file->load("b").equal(at::arange(6, at::kFloat).reshape({2, 3}).t())) << bit;
      EXPECT_TRUE(file->load("a").equal(at::ones({2}, at::kHalf))) << bit;
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 200);
}

}  // namespace
}  // namespace quiver::tensor_io
