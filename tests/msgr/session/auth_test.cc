// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/auth.h"

#include <gtest/gtest.h>

namespace lunar::msgr {
namespace {

Secret key_of(std::byte fill) {
  std::array<std::byte, Keyring::kKeyBytes> bytes;
  bytes.fill(fill);
  return Secret::copy_of(bytes);
}

Transcript said(std::string_view words) {
  Transcript transcript;
  transcript.add(FrameTag::kHello, as_const_bytes(words));
  return transcript;
}

constexpr Challenge kChallenge{std::byte{1}};

TEST(AuthTest, TheSameKeyAndWordsGiveTheSameProof) {
  EXPECT_TRUE(is_same_proof(make_client_proof(key_of(std::byte{1}), said("a"), kChallenge),
                            make_client_proof(key_of(std::byte{1}), said("a"), kChallenge)));
}

TEST(AuthTest, AProofDependsOnKeyWordsAndChallenge) {
  const Proof proof = make_client_proof(key_of(std::byte{1}), said("a"), kChallenge);
  EXPECT_FALSE(
      is_same_proof(proof, make_client_proof(key_of(std::byte{2}), said("a"), kChallenge)));
  EXPECT_FALSE(
      is_same_proof(proof, make_client_proof(key_of(std::byte{1}), said("b"), kChallenge)));
  EXPECT_FALSE(
      is_same_proof(proof, make_client_proof(key_of(std::byte{1}), said("a"), Challenge{})));
}

TEST(AuthTest, AClientsProofIsNoServersProof) {
  const Secret key = key_of(std::byte{1});
  EXPECT_FALSE(is_same_proof(make_client_proof(key, said("a"), kChallenge),
                             make_server_proof(key, said("a"))));
}

TEST(AuthTest, ATranscriptKnowsWhereOneFrameEndsAndTheNextBegins) {
  Transcript one;
  one.add(FrameTag::kHello, as_const_bytes("ab"));
  one.add(FrameTag::kHello, as_const_bytes("c"));
  Transcript other;
  other.add(FrameTag::kHello, as_const_bytes("a"));
  other.add(FrameTag::kHello, as_const_bytes("bc"));
  EXPECT_NE(one.digest(), other.digest());
  Transcript tagged;
  tagged.add(FrameTag::kAuthDone, as_const_bytes("ab"));
  EXPECT_NE(tagged.digest(), said("ab").digest());
}

TEST(AuthTest, ADigestDoesNotEndTheTranscript) {
  Transcript transcript = said("a");
  const auto first = transcript.digest();
  EXPECT_EQ(first, transcript.digest());
  transcript.add(FrameTag::kAuthDone, {});
  EXPECT_NE(first, transcript.digest());
}

// Computed with Python's hashlib and hmac: test vectors for a second implementation.
// docs/protocol.md §4.
TEST(AuthTest, ProofsAreWhatTheProtocolSays) {
  const Secret key = key_of(std::byte{0x0b});
  Transcript transcript;
  transcript.add(FrameTag::kHello, as_const_bytes("client hello"));
  transcript.add(FrameTag::kHello, as_const_bytes("server hello"));
  const auto hex = [](ConstBytes bytes) {
    std::string text;
    for (std::byte byte : bytes) {
      text += "0123456789abcdef"[static_cast<int>(byte) >> 4];
      text += "0123456789abcdef"[static_cast<int>(byte) & 15];
    }
    return text;
  };
  Challenge challenge;
  challenge.fill(std::byte{0x22});
  EXPECT_EQ(hex(make_client_proof(key, transcript, challenge)),
            "24a92d63b049c0cf54d551f4a20f916cc6e07c56ca54887c37779c7edd6b07ca");
  EXPECT_EQ(hex(make_server_proof(key, transcript)),
            "69c5b907f20a6441d8fc23bc28d932c12d7d314f54feb45a10629d86cc8fc35b");
  const Secret psk = derive_tls_psk(key);
  EXPECT_EQ(hex(psk.bytes()), "f56dd296d69874c03d79fa7a92e69516d533417191d199bc56a496b72b977ff0");
  EXPECT_EQ(tls_identity("client.admin", key), "client.admin#82406b08813301f4");
  transcript.bind_channel(challenge);
  EXPECT_EQ(hex(make_client_proof(key, transcript, challenge)),
            "3119b2b81945eebcf671bbe109fb314e8573eb5b3550e151b0972fa425338f84");
}

TEST(AuthTest, AnUnknownEntityHasAKeyThatNobodyHas) {
  Keyring keyring;
  keyring.generate({"client", "admin"});
  const auto key = [](const Keyring* keys, const char* connector) {
    std::vector<Secret> found = keys_or_decoy(keys, ProofKey::kPair, connector, "osd.0");
    EXPECT_EQ(found.size(), 1u);
    return std::move(found[0]);
  };
  const Secret known = key(&keyring, "client.admin");
  const std::vector<Secret> pair = keyring.pair_keys({"client", "admin"}, {"osd", "0"});
  EXPECT_TRUE(known.equals(pair[0].bytes()));
  const Secret stranger = key(&keyring, "client.stranger");
  EXPECT_EQ(stranger.size(), known.size());
  const Secret again = key(nullptr, "client.stranger");
  const Secret other = key(nullptr, "client.other");
  EXPECT_TRUE(stranger.equals(again.bytes()));
  EXPECT_FALSE(stranger.equals(other.bytes()));
}

}  // namespace
}  // namespace lunar::msgr
