// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/auth.h"

#include <nettle/hkdf.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>

#include "common/random.h"

namespace lunar::msgr {
namespace {

static_assert(std::tuple_size_v<Proof> == SHA256_DIGEST_SIZE);

const uint8_t* raw(ConstBytes bytes) noexcept {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}
uint8_t* raw(Bytes bytes) noexcept { return reinterpret_cast<uint8_t*>(bytes.data()); }

Proof hmac(ConstBytes key, std::string_view label, ConstBytes message) noexcept {
  hmac_sha256_ctx context;
  hmac_sha256_set_key(&context, key.size(), raw(key));
  hmac_sha256_update(&context, label.size(), raw(as_const_bytes(label)));
  hmac_sha256_update(&context, message.size(), raw(message));
  Proof proof;
  hmac_sha256_digest(&context, proof.size(), raw(Bytes(proof)));
  wipe_memory(&context, sizeof context);
  return proof;
}

Secret expand(const hmac_sha256_ctx& pseudo_random_key, std::string_view label) {
  Secret key(Keyring::kKeyBytes);
  hmac_sha256_ctx context = pseudo_random_key;
  hkdf_expand(&context, reinterpret_cast<nettle_hash_update_func*>(hmac_sha256_update),
              reinterpret_cast<nettle_hash_digest_func*>(hmac_sha256_digest), SHA256_DIGEST_SIZE,
              label.size(), raw(as_const_bytes(label)), key.size(), raw(key.bytes()));
  wipe_memory(&context, sizeof context);
  return key;
}

}  // namespace

Transcript::Transcript() noexcept { sha256_init(&hash_); }

void Transcript::add(FrameTag tag, ConstBytes front) noexcept {
  const auto wire_tag = static_cast<uint8_t>(tag);
  const le32 length(static_cast<uint32_t>(front.size()));
  sha256_update(&hash_, 1, &wire_tag);
  sha256_update(&hash_, sizeof length, length.data());
  sha256_update(&hash_, front.size(), raw(front));
}

Transcript::Digest Transcript::digest() const noexcept {
  sha256_ctx copy = hash_;
  Digest digest;
  sha256_digest(&copy, digest.size(), raw(Bytes(digest)));
  return digest;
}

Proof make_client_proof(const Secret& key, const Transcript& until_challenge,
                        const Challenge& own_challenge) noexcept {
  std::array<std::byte, SHA256_DIGEST_SIZE + std::tuple_size_v<Challenge>> message;
  const Transcript::Digest digest = until_challenge.digest();
  std::copy(digest.begin(), digest.end(), message.begin());
  std::copy(own_challenge.begin(), own_challenge.end(), message.begin() + SHA256_DIGEST_SIZE);
  return hmac(key.bytes(), "lunar msgr 1 client proof", message);
}

Proof make_server_proof(const Secret& key, const Transcript& until_client_proof) noexcept {
  return hmac(key.bytes(), "lunar msgr 1 server proof", until_client_proof.digest());
}

SessionKeys derive_session_keys(const Secret& key, const Transcript& whole) {
  const Transcript::Digest salt = whole.digest();
  hmac_sha256_ctx context;
  hmac_sha256_set_key(&context, salt.size(), raw(ConstBytes(salt)));
  Secret pseudo_random_key(SHA256_DIGEST_SIZE);
  hkdf_extract(&context, reinterpret_cast<nettle_hash_update_func*>(hmac_sha256_update),
               reinterpret_cast<nettle_hash_digest_func*>(hmac_sha256_digest), SHA256_DIGEST_SIZE,
               key.size(), raw(key.bytes()), raw(pseudo_random_key.bytes()));
  hmac_sha256_set_key(&context, pseudo_random_key.size(),
                      raw(ConstBytes(pseudo_random_key.bytes())));
  SessionKeys keys;
  keys.to_acceptor = expand(context, "lunar msgr 1 to acceptor");
  keys.to_connector = expand(context, "lunar msgr 1 to connector");
  wipe_memory(&context, sizeof context);
  return keys;
}

bool is_same_proof(const Proof& a, const Proof& b) noexcept {
  return memeql_sec(a.data(), b.data(), a.size()) != 0;
}

Secret key_or_decoy(const Keyring* keyring, const std::string& entity) {
  // Never destroyed: tgtd exits while sessions live.
  static const auto& seed = *new std::array<std::byte, 32>([] {
    std::array<std::byte, 32> bytes;
    random_bytes(bytes);
    return bytes;
  }());
  const Secret* known = nullptr;
  const auto name = EntityName::parse(entity);
  if (keyring != nullptr && name) known = keyring->find(*name);
  const Proof decoy = hmac(seed, "decoy", as_const_bytes(entity));
  return known != nullptr ? known->clone() : Secret::copy_of(decoy);
}

}  // namespace lunar::msgr
