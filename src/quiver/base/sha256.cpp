// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/sha256.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include "quiver/base/error.h"

namespace quiver {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  bool spent = false;
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  QUIVER_CHECK(EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1, unsupported, "sha256",
               "OpenSSL's libcrypto does not provide it");
}
Sha256::~Sha256() = default;

void Sha256::add(const void* bytes, std::size_t count) {
  QUIVER_CHECK(!state_->spent, usage, "sha256", "expected a hash that is still open");
  EVP_DigestUpdate(state_->context, bytes, count);
}

std::string Sha256::hex() {
  QUIVER_CHECK(!state_->spent, usage, "sha256", "expected a hash that is still open");
  state_->spent = true;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_DigestFinal_ex(state_->context, digest, &length);
  std::string out;
  for (unsigned i = 0; i < length; ++i) out += fmt::format("{:02x}", digest[i]);
  return out;
}

std::string sha256_hex(std::string_view text) {
  Sha256 hash;
  hash.add(text);
  return hash.hex();
}

}  // namespace quiver
