// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/handshake.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/log.h"
#include "common/random.h"

namespace lunar::msgr {
namespace {

constexpr std::string_view kAServer = "osd.0";  // whom a connector finds, whichever it is

tl::unexpected<HandshakeFailure> give_up(HandshakeFailure failure) {
  return tl::unexpected<HandshakeFailure>(std::move(failure));
}

tl::unexpected<HandshakeFailure> auth_failure(std::string sentence) {
  return give_up(
      HandshakeFailure(make_error_code(MsgrErrc::kAuthFailed), std::move(sentence), true));
}

// Decodes a frame's front and, if that worked, adds it to the transcript.
template <typename T>
tl::expected<T, HandshakeFailure> read(Result<ReceivedFrame> received, FrameTag tag,
                                       Transcript& transcript, std::string_view what) {
  auto frame = expect_frame(std::move(received), tag);
  if (!frame) return give_up(std::move(frame.error()));
  Result<T> message = T::decode(frame->front);
  if (!message) return give_up(protocol_failure(message.error(), what));
  transcript.add(tag, frame->front);
  return std::move(*message);
}

void say(FrameChannel& channel, Transcript& transcript, FrameTag tag,
         std::vector<std::byte> front) {
  transcript.add(tag, front);
  channel.send(tag, std::move(front));
}

tl::unexpected<HandshakeFailure> mismatch(std::string sentence) {
  return give_up(
      HandshakeFailure(make_error_code(MsgrErrc::kFeatureMismatch), std::move(sentence), true));
}

// The link has ended, so that nobody can be told. `refused` is what a wrong key means.
tl::unexpected<HandshakeFailure> insecure(std::error_code why, std::string refused) {
  std::string sentence = why == MsgrErrc::kAuthFailed ? std::move(refused) : why.message();
  return give_up(HandshakeFailure(why, std::move(sentence), false));
}

Challenge random_challenge() {
  Challenge challenge;
  random_bytes(challenge);
  return challenge;
}

// The same words for an unknown entity and for a wrong key.
std::string refusal(const std::string& entity) {
  return fmt::format("authentication of {} failed: compare its key in the keyrings of both hosts",
                     entity);
}

std::string refusal_by(const Hello& peer, const Hello& own) {
  return fmt::format(
      "{} and {} have different keys of {}, or the server does not know it: compare its key in the "
      "keyrings of both hosts",
      own.entity, peer.entity, own.entity);
}

// Anybody who is asked on the way could be that server.
std::string explain_unproven(const Hello& peer, const Address& address) {
  return fmt::format(
      "{} at {} asks for no proof and none is required of it, which is allowed on loopback "
      "addresses "
      "only: set auth_client_required = psk, or give the server's loopback address",
      peer.entity, address.to_string());
}

// A side that takes secure links only, and one that offers none.
std::optional<std::string> find_mismatch_of_modes(const Hello& strict, const Hello& other) {
  if ((strict.features_required & ~other.features_supported & kFeatureSecure) == 0) {
    return std::nullopt;
  }
  const auto strict_option = WireModesByPeer::option(strict.entity, other.entity);
  const auto other_option = WireModesByPeer::option(other.entity, strict.entity);
  return fmt::format(
      "{0} takes only secure links ({1} = secure) and {2} offers none: give {2} a keyring and add "
      "secure to its {3}, or add crc to {1} of {0}; if {2} has both already, somebody on the "
      "network "
      "changes the hellos",
      strict.entity, strict_option, other.entity, other_option);
}

// Whether our end can be what our options ask for: none, or the sentence why not.
std::optional<std::string> find_own_lack(const Hello& ours) {
  if ((ours.features_required & ~ours.features_supported & kFeatureSecure) == 0) {
    return std::nullopt;
  }
  return fmt::format(
      "{} takes only secure links, and this one cannot be secure: that needs a keyring, and a "
      "policy of GnuTLS that permits TLS 1.3 with a PSK; or add crc to the modes",
      ours.entity);
}

bool can_secure(const FrameChannel& channel, const HandshakeParty& party) {
  return channel.link().capabilities().can_wrap && party.keyring != nullptr &&
         party.keyring->size() > 0 && tls::is_available();
}

tls::TlsParty make_tls_party(bool is_connector, const std::string& entity,
                             const std::vector<Secret>& keys) {
  tls::TlsParty party;
  party.is_connector = is_connector;
  for (const Secret& key : keys) {
    party.keys.push_back({tls_identity(entity, key), derive_tls_psk(key)});
  }
  return party;
}

// A side that has derived keys, and one that does not know of such.
std::optional<std::string> find_mismatch_of_keys(const Hello& strict, const Hello& other) {
  if ((strict.features_required & ~other.features_supported & kFeaturePairKeys) == 0) {
    return std::nullopt;
  }
  return fmt::format(
      "{} holds no keys of others but those that are derived for it, and this version of {} knows "
      "of no such: upgrade {}, or give {} the keys themselves; if its version does know, somebody "
      "between them changes their hellos",
      strict.entity, other.entity, other.entity, strict.entity);
}

}  // namespace

void say_modes(Hello& hello, const WireModesByPeer& modes, std::string_view peer, bool can_secure) {
  const WireModes& taken = modes.of(hello.entity, peer);
  if (taken.takes_secure && can_secure) hello.features_supported |= kFeatureSecure;
  if (taken.wants_secure && can_secure) hello.features_supported |= kFeaturePrefersSecure;
  if (!taken.takes_crc) hello.features_required |= kFeatureSecure;
}

bool is_agreed_secure(const Hello& connector, const Hello& acceptor) noexcept {
  const uint64_t both = connector.features_supported & acceptor.features_supported;
  const uint64_t required = connector.features_required | acceptor.features_required;
  const bool is_wanted = (required & kFeatureSecure) != 0 ||
                         (connector.features_supported & kFeaturePrefersSecure) != 0;
  return (both & kFeatureSecure) != 0 && is_wanted;
}

ProofKey agreed_proof_key(const Hello& ours, const Hello& theirs) noexcept {
  const uint64_t both = ours.features_supported & theirs.features_supported;
  return (both & kFeaturePairKeys) != 0 ? ProofKey::kPair : ProofKey::kOwn;
}

std::optional<std::string> find_mismatch(const Hello& ours, const Hello& theirs) {
  if (std::min(ours.version, theirs.version) <
      std::max(ours.oldest_version, theirs.oldest_version)) {
    return fmt::format("protocol versions {} to {} of {} and {} to {} of {} have none in common",
                       ours.oldest_version, ours.version, ours.entity, theirs.oldest_version,
                       theirs.version, theirs.entity);
  }
  if (auto modes = find_mismatch_of_modes(ours, theirs)) return modes;
  if (auto modes = find_mismatch_of_modes(theirs, ours)) return modes;
  if (auto keys = find_mismatch_of_keys(ours, theirs)) return keys;
  if (auto keys = find_mismatch_of_keys(theirs, ours)) return keys;
  if (const uint64_t lacking = theirs.features_required & ~ours.features_supported; lacking != 0) {
    return fmt::format("{} requires features {:#x} that {} does not have", theirs.entity, lacking,
                       ours.entity);
  }
  if (const uint64_t lacking = ours.features_required & ~theirs.features_supported; lacking != 0) {
    return fmt::format("{} requires features {:#x} that {} does not have", ours.entity, lacking,
                       theirs.entity);
  }
  return std::nullopt;
}

HandshakeFailure protocol_failure(std::error_code code, std::string_view what) {
  return HandshakeFailure(code, fmt::format("{}: {}", what, code.message()), true);
}

HandshakeFailure explain_unexpected(const ReceivedFrame& frame) {
  if (frame.header.tag == static_cast<uint8_t>(FrameTag::kHandshakeError)) {
    const Result<HandshakeError> error = HandshakeError::decode(frame.front);
    if (error) {
      return HandshakeFailure(make_error_code(to_errc(error->fault)),
                              fmt::format("the peer says: {}", error->sentence), false);
    }
  }
  return HandshakeFailure(make_error_code(MsgrErrc::kBadTag),
                          fmt::format("frame {} does not belong here", frame.header.tag), true);
}

tl::expected<ReceivedFrame, HandshakeFailure> expect_frame(Result<ReceivedFrame> frame,
                                                           FrameTag tag) {
  if (!frame) return give_up(HandshakeFailure(frame.error(), frame.error().message(), false));
  if (frame->header.tag != static_cast<uint8_t>(tag)) return give_up(explain_unexpected(*frame));
  return std::move(*frame);
}

Task<GreetResult> greet_as_connector(FrameChannel& channel, HandshakeParty party) {
  Transcript transcript;
  say_modes(party.hello, party.modes, kAServer, can_secure(channel, party));
  if (auto lack = find_own_lack(party.hello)) co_return mismatch(std::move(*lack));
  say(channel, transcript, FrameTag::kHello, party.hello.encode());

  Result<ReceivedFrame> received = co_await channel.receive();
  auto peer = read<Hello>(std::move(received), FrameTag::kHello, transcript, "hello");
  if (!peer) co_return give_up(std::move(peer.error()));
  if (auto why = find_mismatch(party.hello, *peer)) co_return mismatch(std::move(*why));
  Greeted greeted;
  greeted.peer = std::move(*peer);
  greeted.is_secure = is_agreed_secure(party.hello, greeted.peer);
  if (!greeted.is_secure && !party.hello.auth_required && !greeted.peer.auth_required) {
    const Address address = channel.link().peer_address();
    if (!address.is_loopback()) co_return auth_failure(explain_unproven(greeted.peer, address));
    co_return std::move(greeted);
  }

  std::vector<Secret> keys = proof_keys(party.keyring, agreed_proof_key(party.hello, greeted.peer),
                                        party.hello.entity, greeted.peer.entity);
  if (keys.size() > 1) keys.resize(1);  // whoever has two is to use the newer one
  if (keys.empty()) {
    co_return auth_failure(
        fmt::format("{} has no key of its own in its keyring", party.hello.entity));
  }
  if (greeted.is_secure) {
    channel.secure(make_tls_party(true, party.hello.entity, keys));
    Result<tls::ChannelBinding> binding = co_await channel.secured();
    if (!binding) co_return insecure(binding.error(), refusal_by(greeted.peer, party.hello));
    transcript.bind_channel(*binding);
  }
  Result<ReceivedFrame> challenged = co_await channel.receive();
  auto challenge = read<AuthChallenge>(std::move(challenged), FrameTag::kAuthChallenge, transcript,
                                       "authentication challenge");
  if (!challenge) co_return give_up(std::move(challenge.error()));

  AuthProof own;
  own.challenge = random_challenge();
  own.proof = make_client_proof(keys[0], transcript, own.challenge);
  say(channel, transcript, FrameTag::kAuthProof, own.encode());
  const Proof expected = make_server_proof(keys[0], transcript);

  Result<ReceivedFrame> answered = co_await channel.receive();
  auto done =
      read<AuthDone>(std::move(answered), FrameTag::kAuthDone, transcript, "the server's proof");
  if (!done) co_return give_up(std::move(done.error()));
  if (!is_same_proof(done->proof, expected)) {
    co_return auth_failure(fmt::format("{} did not prove that it has the key of {}",
                                       greeted.peer.entity, party.hello.entity));
  }
  greeted.is_authenticated = true;
  co_return std::move(greeted);
}

Task<GreetResult> greet_as_acceptor(FrameChannel& channel, HandshakeParty party) {
  Transcript transcript;
  Result<ReceivedFrame> received = co_await channel.receive();
  auto peer = read<Hello>(std::move(received), FrameTag::kHello, transcript, "hello");
  if (!peer) co_return give_up(std::move(peer.error()));
  say_modes(party.hello, party.modes, peer->entity, can_secure(channel, party));
  if (party.keyring != nullptr && party.keyring->has_derived()) {
    party.hello.features_required |=
        kFeaturePairKeys;  // of all alike, so that nobody learns whom we know
  }
  if (auto lack = find_own_lack(party.hello)) co_return mismatch(std::move(*lack));
  if (auto why = find_mismatch(party.hello, *peer)) co_return mismatch(std::move(*why));
  say(channel, transcript, FrameTag::kHello, party.hello.encode());
  Greeted greeted;
  greeted.peer = std::move(*peer);
  greeted.is_secure = is_agreed_secure(greeted.peer, party.hello);
  if (!greeted.is_secure && !party.hello.auth_required && !greeted.peer.auth_required) {
    co_return std::move(greeted);
  }
  const ProofKey kind = agreed_proof_key(party.hello, greeted.peer);
  const std::vector<Secret> keys =
      keys_or_decoy(party.keyring, kind, greeted.peer.entity, party.hello.entity);
  if (greeted.is_secure) {
    channel.secure(make_tls_party(false, greeted.peer.entity, keys));
    Result<tls::ChannelBinding> binding = co_await channel.secured();
    if (!binding) co_return insecure(binding.error(), refusal(greeted.peer.entity));
    transcript.bind_channel(*binding);
  }

  AuthChallenge challenge;
  challenge.challenge = random_challenge();
  say(channel, transcript, FrameTag::kAuthChallenge, challenge.encode());
  const Transcript until_challenge = transcript;

  Result<ReceivedFrame> answered = co_await channel.receive();
  auto proof =
      read<AuthProof>(std::move(answered), FrameTag::kAuthProof, transcript, "the client's proof");
  if (!proof) co_return give_up(std::move(proof.error()));
  const Secret* proven = nullptr;
  for (const Secret& key : keys) {
    const Proof expected = make_client_proof(key, until_challenge, proof->challenge);
    if (is_same_proof(proof->proof, expected)) proven = &key;
  }
  if (proven == nullptr) co_return auth_failure(refusal(greeted.peer.entity));
  greeted.key = {kind, tls_identity(greeted.peer.entity, *proven)};
  // The keyring may have changed since the keys were taken from it.
  if (!greeted.key.counts(*party.keyring, greeted.peer.entity, party.hello.entity)) {
    co_return auth_failure(refusal(greeted.peer.entity));
  }
  AuthDone done;
  done.proof = make_server_proof(*proven, transcript);
  say(channel, transcript, FrameTag::kAuthDone, done.encode());
  greeted.is_authenticated = true;
  co_return std::move(greeted);
}

}  // namespace lunar::msgr
