// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <nettle/sha2.h>

#include <array>
#include <string>
#include <vector>

#include "common/bytes.h"
#include "common/keyring.h"
#include "msgr/session/handshake_messages.h"
#include "msgr/wire/frame.h"

namespace lunar::msgr {

// Everything both sides have said, hashed (SHA-256) in the order it was said: what proofs are made
// over, so that no word of the handshake can be changed on the way. Copyable; not thread-safe.
class Transcript {
 public:
  using Digest = std::array<std::byte, SHA256_DIGEST_SIZE>;
  Transcript() noexcept;
  void add(FrameTag tag, ConstBytes front) noexcept;
  // The TLS connection over which the rest is said: added after what was said before it.
  void bind_channel(ConstBytes binding) noexcept;
  Digest digest() const noexcept;  // of what was added so far; more may follow

 private:
  sha256_ctx hash_;
};

// HMAC-SHA256 with the key of the connecting entity, docs/protocol.md §4. The two labels make that
// neither proof can be passed off as the other.
Proof make_client_proof(const Secret& key, const Transcript& until_challenge,
                        const Challenge& own_challenge) noexcept;
Proof make_server_proof(const Secret& key, const Transcript& until_client_proof) noexcept;
// The key of TLS, by HKDF of the connecting entity's, so that no two things are ever made with the
// same bytes, docs/protocol.md §4.2; and the name that TLS knows it by, the entity and a mark of
// the key.
Secret derive_tls_psk(const Secret& key);
std::string tls_identity(const std::string& entity, const Secret& key);

// Takes the same time wherever the first difference is.
bool is_same_proof(const Proof& a, const Proof& b) noexcept;

// What both sides make their proofs with: the connector's own key or, if both know of them, the one
// of this pair.
enum class ProofKey : uint8_t { kOwn, kPair };

// The keys by which `connector` may prove itself to `acceptor`, the newest first; none if the
// keyring, which may be null, has none for these two.
std::vector<Secret> proof_keys(const Keyring* keyring, ProofKey kind, const std::string& connector,
                               const std::string& acceptor);
// To check a connector with: at least one. For an entity without one it is a key that nobody has,
// the same for each call with that name in this process, so that nobody can tell an unknown name
// from a wrong key by what comes back.
std::vector<Secret> keys_or_decoy(const Keyring* keyring, ProofKey kind,
                                  const std::string& connector, const std::string& acceptor);
// Names a key of a connector that has proven itself, and says nothing of it. Whether the keyring
// still has that key for these two is what counts() says.
struct KeyMark {
  ProofKey kind = ProofKey::kOwn;
  std::string text;  // its tls_identity(); empty: nobody has proven anything
  bool counts(const Keyring& keyring, const std::string& connector,
              const std::string& acceptor) const;
};

}  // namespace lunar::msgr
