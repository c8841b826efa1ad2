// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/key_derivation.h"

#include <nettle/hkdf.h>
#include <nettle/hmac.h>

#include <array>

#include "common/octets.h"

namespace lunar {
Secret derive_key(const Secret& key, std::string_view info) {
  const auto update = reinterpret_cast<nettle_hash_update_func*>(hmac_sha256_update);
  const auto digest = reinterpret_cast<nettle_hash_digest_func*>(hmac_sha256_digest);
  const std::array<std::byte, SHA256_DIGEST_SIZE> no_salt{};  // RFC 5869 2.2
  hmac_sha256_ctx context;
  hmac_sha256_set_key(&context, no_salt.size(), octets(ConstBytes(no_salt)));
  Secret extracted(SHA256_DIGEST_SIZE);
  hkdf_extract(&context, update, digest, SHA256_DIGEST_SIZE, key.size(), octets(key.bytes()),
               octets(extracted.bytes()));
  hmac_sha256_set_key(&context, extracted.size(), octets(ConstBytes(extracted.bytes())));
  Secret derived(Keyring::kKeyBytes);
  hkdf_expand(&context, update, digest, SHA256_DIGEST_SIZE, info.size(),
              octets(as_const_bytes(info)), derived.size(), octets(derived.bytes()));
  wipe_memory(&context, sizeof context);
  return derived;
}

}  // namespace lunar
