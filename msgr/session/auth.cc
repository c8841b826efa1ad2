// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/auth.h"

#include <nettle/hmac.h>
#include <nettle/memops.h>

#include <algorithm>
#include <utility>

#include "common/key_derivation.h"
#include "common/octets.h"
#include "common/random.h"

namespace lunar::msgr {
namespace {

static_assert(std::tuple_size_v<Proof> == SHA256_DIGEST_SIZE);

Proof hmac(ConstBytes key, std::string_view label, ConstBytes message) noexcept {
  hmac_sha256_ctx context;
  hmac_sha256_set_key(&context, key.size(), octets(key));
  hmac_sha256_update(&context, label.size(), octets(as_const_bytes(label)));
  hmac_sha256_update(&context, message.size(), octets(message));
  Proof proof;
  hmac_sha256_digest(&context, proof.size(), octets(Bytes(proof)));
  wipe_memory(&context, sizeof context);
  return proof;
}

constexpr std::string_view kChannelLabel = "lunar msgr 1 tls-exporter";

std::string to_hex(ConstBytes bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

}  // namespace

Transcript::Transcript() noexcept { sha256_init(&hash_); }

void Transcript::add(FrameTag tag, ConstBytes front) noexcept {
  const auto wire_tag = static_cast<uint8_t>(tag);
  const le32 length(static_cast<uint32_t>(front.size()));
  sha256_update(&hash_, 1, &wire_tag);
  sha256_update(&hash_, sizeof length, length.data());
  sha256_update(&hash_, front.size(), octets(front));
}

Transcript::Digest Transcript::digest() const noexcept {
  sha256_ctx copy = hash_;
  Digest digest;
  sha256_digest(&copy, digest.size(), octets(Bytes(digest)));
  return digest;
}

void Transcript::bind_channel(ConstBytes binding) noexcept {
  sha256_update(&hash_, kChannelLabel.size(), octets(as_const_bytes(kChannelLabel)));
  sha256_update(&hash_, binding.size(), octets(binding));
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

Secret derive_tls_psk(const Secret& key) { return derive_key(key, "lunar msgr 1 tls psk"); }

std::string tls_identity(const std::string& entity, const Secret& key) {
  constexpr std::size_t kMarkBytes = 8;
  const Secret mark = derive_key(key, "lunar msgr 1 key mark");
  return entity + "#" + to_hex(ConstBytes(mark.bytes()).first(kMarkBytes));
}

bool is_same_proof(const Proof& a, const Proof& b) noexcept {
  return memeql_sec(a.data(), b.data(), a.size()) != 0;
}

std::vector<Secret> proof_keys(const Keyring* keyring, ProofKey kind, const std::string& connector,
                               const std::string& acceptor) {
  const auto name = EntityName::parse(connector);
  const auto other = EntityName::parse(acceptor);
  if (keyring == nullptr || !name || !other) return {};
  return kind == ProofKey::kPair ? keyring->pair_keys(*name, *other) : keyring->own_keys(*name);
}

std::vector<Secret> keys_or_decoy(const Keyring* keyring, ProofKey kind,
                                  const std::string& connector, const std::string& acceptor) {
  // Never destroyed: tgtd exits while sessions live.
  static const auto& seed = *new std::array<std::byte, 32>([] {
    std::array<std::byte, 32> bytes;
    random_bytes(bytes);
    return bytes;
  }());
  Secret decoy = derive_key(Secret::copy_of(seed), connector);
  std::vector<Secret> keys = proof_keys(keyring, kind, connector, acceptor);
  if (keys.empty()) keys.push_back(std::move(decoy));
  return keys;
}

bool KeyMark::counts(const Keyring& keyring, const std::string& connector,
                     const std::string& acceptor) const {
  const std::vector<Secret> keys = proof_keys(&keyring, kind, connector, acceptor);
  return std::any_of(keys.begin(), keys.end(),
                     [&](const Secret& key) { return tls_identity(connector, key) == text; });
}

}  // namespace lunar::msgr
