// SPDX-License-Identifier: Apache-2.0
// The examples that NIST publishes for SHA-256 (FIPS 180), and the digest of the empty text.
#include "quiver/base/sha256.h"

#include <gtest/gtest.h>

#include "quiver/base/error.h"

namespace quiver {
namespace {

TEST(Sha256, PublishedExamples) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256, AMillionLettersPieceByPiece) {
  Sha256 hash;
  const std::string piece(997, 'a');
  std::size_t left = 1'000'000;
  for (; left > piece.size(); left -= piece.size()) hash.add(piece);
  hash.add(piece.data(), left);
  hash.add("");
  EXPECT_EQ(hash.hex(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, ASpentHashIsRefused) {
  Sha256 hash;
  hash.add("abc");
  hash.hex();
  EXPECT_THROW(hash.hex(), Error);
  EXPECT_THROW(hash.add("d"), Error);
}

}  // namespace
}  // namespace quiver
