// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/torch_archive_zip.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/tensor_io/plain_name.h"
#include "quiver/tensor_io/strict_json.h"

namespace quiver::tensor_io {
namespace {

using Bytes = std::span<const std::byte>;
constexpr std::uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50, kEndRecord = 0x06054b50;
constexpr std::size_t kLocalHeader_bytes = 30, kCentralHeader_bytes = 46, kEndRecord_bytes = 22;
constexpr std::uint32_t kSaturated32 = 0xFFFFFFFF;  // "see the Zip64 record"
constexpr std::uint16_t kSaturated16 = 0xFFFF;
constexpr std::uint64_t kAlignment_bytes = 64;

template <typename T>
T field(Bytes bytes, std::uint64_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::string text_at(Bytes bytes, std::uint64_t at, std::size_t size) {
  return std::string(reinterpret_cast<const char*>(bytes.data()) + at, size);
}

struct Directory {
  std::uint64_t begin, end;
  std::size_t entries;
};

/// The end record is searched for from the end, since a comment may follow it.
Directory find_directory(Bytes file, const std::string& where) {
  constexpr std::size_t kMaxComment_bytes = 65535;
  QUIVER_CHECK(file.size() >= kEndRecord_bytes, format, where, "{} bytes, too short for an archive of torch.save",
               file.size());
  const auto last = file.size() - kEndRecord_bytes;
  for (std::size_t comment = 0; comment <= std::min(last, kMaxComment_bytes); ++comment) {
    const auto at = last - comment;
    if (field<std::uint32_t>(file, at) != kEndRecord || field<std::uint16_t>(file, at + 20) != comment) continue;
    const auto count = field<std::uint16_t>(file, at + 10);
    const auto size = field<std::uint32_t>(file, at + 12), begin = field<std::uint32_t>(file, at + 16);
    QUIVER_CHECK(count != kSaturated16 && size != kSaturated32 && begin != kSaturated32, unsupported, where,
                 "an archive above 4 GiB or of more than 65,534 entries");
    QUIVER_CHECK(field<std::uint32_t>(file, at + 4) == 0 && field<std::uint16_t>(file, at + 8) == count, unsupported,
                 where, "an archive in several parts");
    QUIVER_CHECK(std::uint64_t{begin} + size <= at, format, where,
                 "the directory spans [{}, +{}), its end record begins at {}", begin, size, at);
    return {begin, std::uint64_t{begin} + size, count};
  }
  fail(ErrorCode::format, where,
       "not an archive of torch.save: no zip end record; incomplete downloads look like this");
}

struct Entry {
  std::string name;
  ZipEntry place;
  std::uint64_t header_begin;
};

/// The bytes' begin, by the local header, which has its own lengths.
void find_bytes(Bytes file, Entry& entry, std::uint64_t limit, const std::string& where) {
  const auto at = entry.header_begin;
  QUIVER_CHECK(at <= limit && limit - at >= kLocalHeader_bytes && field<std::uint32_t>(file, at) == kLocalHeader,
               format, where, "entry {}: no local header at byte {}", excerpt(entry.name), at);
  const std::uint64_t name = field<std::uint16_t>(file, at + 26), extra = field<std::uint16_t>(file, at + 28);
  entry.place.begin = at + kLocalHeader_bytes + name + extra;
  QUIVER_CHECK(entry.place.begin <= limit && entry.place.size_bytes <= limit - entry.place.begin, format, where,
               "entry {} spans [{}, +{}), the entries end at {}", excerpt(entry.name), entry.place.begin,
               entry.place.size_bytes, limit);
  QUIVER_CHECK(text_at(file, at + kLocalHeader_bytes, name) == entry.name, format, where,
               "entry {} has another name in its local header", excerpt(entry.name));
}

/// The entry whose directory record begins at `at`, which is moved behind it.
Entry read_entry(Bytes file, std::uint64_t& at, const Directory& directory, const std::string& where) {
  QUIVER_CHECK(directory.end - at >= kCentralHeader_bytes && field<std::uint32_t>(file, at) == kCentralHeader, format,
               where, "no directory record at byte {}", at);
  const std::uint64_t name = field<std::uint16_t>(file, at + 28), extra = field<std::uint16_t>(file, at + 30),
                      comment = field<std::uint16_t>(file, at + 32);
  const auto size = kCentralHeader_bytes + name + extra + comment;
  QUIVER_CHECK(size <= directory.end - at, format, where, "the directory record at byte {} is cut", at);
  Entry entry{text_at(file, at + kCentralHeader_bytes, name), {}, field<std::uint32_t>(file, at + 42)};
  QUIVER_CHECK(is_plain_name(entry.name), format, where, "{} cannot name an entry", excerpt(entry.name));
  QUIVER_CHECK((field<std::uint16_t>(file, at + 8) & 1) == 0, unsupported, where, "entry {} is encrypted",
               excerpt(entry.name));
  const auto stored = field<std::uint32_t>(file, at + 20), plain = field<std::uint32_t>(file, at + 24);
  QUIVER_CHECK(field<std::uint16_t>(file, at + 10) == 0 && stored == plain, unsupported, where,
               "entry {} is compressed, which torch.save never does", excerpt(entry.name));
  QUIVER_CHECK(plain != kSaturated32 && entry.header_begin != kSaturated32, unsupported, where,
               "entry {} lies beyond 4 GiB", excerpt(entry.name));
  entry.place.size_bytes = plain;
  entry.place.checksum = field<std::uint32_t>(file, at + 16);
  find_bytes(file, entry, directory.begin, where);
  at += size;
  return entry;
}

void check_apart(std::vector<Entry>& entries, const std::string& where) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.header_begin < b.header_begin; });
  for (std::size_t i = 1; i < entries.size(); ++i) {
    const auto& place = entries[i - 1].place;
    QUIVER_CHECK(place.begin + place.size_bytes <= entries[i].header_begin, format, where, "entries {} and {} overlap",
                 excerpt(entries[i - 1].name), excerpt(entries[i].name));
  }
}

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// Version to extract, flags (names are UTF-8), method, time, date: alike in both headers.
void put_common(std::string& out, std::uint32_t checksum, std::uint32_t size, std::size_t name) {
  put<std::uint16_t>(out, 0);
  put<std::uint16_t>(out, 0x0800);
  put<std::uint16_t>(out, 0);
  put<std::uint32_t>(out, 0x00210000);  // 1 January 1980, the first day that zip knows
  put(out, checksum);
  put(out, size);
  put(out, size);
  put(out, static_cast<std::uint16_t>(name));
}

}  // namespace

std::uint32_t crc32(Bytes bytes) {
  static const auto kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      table[i] = i;
      for (int bit = 0; bit < 8; ++bit) table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xEDB88320u : 0u);
    }
    return table;
  }();
  std::uint32_t out = ~0u;
  for (const auto byte : bytes) out = out >> 8 ^ kTable[(out ^ static_cast<std::uint32_t>(byte)) & 0xFF];
  return ~out;
}

std::map<std::string, ZipEntry> parse_stored_zip(Bytes file, const std::string& where) {
  const auto directory = find_directory(file, where);
  std::vector<Entry> entries;
  auto at = directory.begin;
  for (std::size_t i = 0; i < directory.entries; ++i) entries.push_back(read_entry(file, at, directory, where));
  QUIVER_CHECK(at == directory.end, format, where, "the directory has more than its {} entries", directory.entries);
  check_apart(entries, where);
  std::map<std::string, ZipEntry> out;
  for (const auto& entry : entries) {
    QUIVER_CHECK(out.emplace(entry.name, entry.place).second, format, where, "entry {} stands twice",
                 excerpt(entry.name));
    QUIVER_CHECK(crc32(file.subspan(entry.place.begin, entry.place.size_bytes)) == entry.place.checksum, format, where,
                 "entry {} is damaged: its checksum is another", excerpt(entry.name));
  }
  return out;
}

StoredZipWriter::StoredZipWriter(const fs::path& file) : where_(file.string()), stream_(file, std::ios::binary) {}

void StoredZipWriter::write(std::string_view bytes) {
  stream_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  at_ += bytes.size();
}

void StoredZipWriter::add(const std::string& name, Bytes bytes) {
  const auto unpadded = at_ + kLocalHeader_bytes + name.size() + 4;  // 4: the header of the extra field that pads
  const auto padding = (kAlignment_bytes - unpadded % kAlignment_bytes) % kAlignment_bytes;
  QUIVER_CHECK(unpadded + padding + bytes.size() < kSaturated32 && entries_ + 1 < kSaturated16, unsupported, where_,
               "more than an archive of 4 GiB and 65,534 entries can hold");
  const auto checksum = crc32(bytes);
  const auto size = static_cast<std::uint32_t>(bytes.size());
  std::string local;
  put(local, kLocalHeader);
  put_common(local, checksum, size, name.size());
  put(local, static_cast<std::uint16_t>(4 + padding));
  local += name + "FB";  // the extra field that torch.save pads with
  put(local, static_cast<std::uint16_t>(padding));
  local.append(padding, 'Z');
  put(directory_, kCentralHeader);
  put<std::uint16_t>(directory_, 0);
  put_common(directory_, checksum, size, name.size());
  directory_.append(12, '\0');  // no extra field, no comment, first part, no attributes
  put(directory_, static_cast<std::uint32_t>(at_));
  directory_ += name;
  ++entries_;
  write(local);
  write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

void StoredZipWriter::finish() {
  std::string end;
  put(end, kEndRecord);
  put<std::uint32_t>(end, 0);
  put(end, static_cast<std::uint16_t>(entries_));
  put(end, static_cast<std::uint16_t>(entries_));
  put(end, static_cast<std::uint32_t>(directory_.size()));
  put(end, static_cast<std::uint32_t>(at_));
  put<std::uint16_t>(end, 0);
  write(directory_);
  write(end);
  stream_.close();
  QUIVER_CHECK(stream_.good(), io, where_, "cannot write: {}", std::strerror(errno));
}

}  // namespace quiver::tensor_io
