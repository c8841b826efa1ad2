// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/handshake_messages.h"

#include <algorithm>

#include "common/random.h"
#include "msgr/address_codec.h"

namespace lunar::msgr {
namespace {

// Opens every hello, whatever the version.
constexpr std::string_view kBanner = "LUNARMSG";

enum HelloFlag : uint8_t { kHelloAuthRequired = 1 };
enum SessionFlag : uint8_t { kSessionLossy = 1, kSessionPeerToPeer = 2 };

void put_cookie(ByteWriter& out, const Cookie& cookie) {
  out.put(cookie.high);
  out.put(cookie.low);
}
Cookie get_cookie(ByteReader& in) {
  Cookie cookie;
  cookie.high = in.get<uint64_t>();
  cookie.low = in.get<uint64_t>();
  return cookie;
}

template <std::size_t kSize>
void get_array(ByteReader& in, std::array<std::byte, kSize>& into) {
  const ConstBytes bytes = in.get_bytes(kSize);
  if (bytes.size() == kSize) std::copy(bytes.begin(), bytes.end(), into.begin());
}

bool is_graphic(char c) noexcept { return c > ' ' && c < 0x7f; }

// A name that may go into a log line as it is.
std::string get_name(ByteReader& in, std::size_t limit) {
  std::string name = in.get_string(limit);
  if (!std::all_of(name.begin(), name.end(), is_graphic)) in.mark_bad();
  return name;
}

template <typename T>
Result<T> checked(const ByteReader& in, T value) {
  if (!in.is_finished()) return failure(MsgrErrc::kBadFrame);
  return value;
}

}  // namespace

Cookie Cookie::random() noexcept {
  Cookie cookie;
  while (cookie.is_zero()) random_bytes(std::as_writable_bytes(std::span(&cookie, 1)));
  return cookie;
}

std::vector<std::byte> Hello::encode() const {
  std::vector<std::byte> front;
  ByteWriter out(front);
  out.put_bytes(as_const_bytes(kBanner));
  out.put(version);
  out.put(oldest_version);
  out.put(features_supported);
  out.put(features_required);
  out.put(static_cast<uint8_t>(auth_required ? kHelloAuthRequired : 0));
  out.put_string(entity);
  out.put_string(instance);
  out.put(nonce);
  put_address(out, listening);
  return front;
}

Result<Hello> Hello::decode(ConstBytes front) {
  ByteReader in(front);
  if (as_text(in.get_bytes(kBanner.size())) != kBanner) return failure(MsgrErrc::kBadBanner);
  Hello hello;
  hello.version = in.get<uint16_t>();
  hello.oldest_version = in.get<uint16_t>();
  hello.features_supported = in.get<uint64_t>();
  hello.features_required = in.get<uint64_t>();
  const auto flags = in.get<uint8_t>();
  hello.auth_required = (flags & kHelloAuthRequired) != 0;
  hello.entity = get_name(in, kMaxEntityBytes);
  hello.instance = get_name(in, kMaxInstanceBytes);
  hello.nonce = in.get<uint64_t>();
  hello.listening = get_address(in, /*may_be_unset=*/true);
  // A later version may say more in flags and after the end; that it is later, and what it
  // requires, has to be readable for ever.
  const bool is_later = hello.version > kProtocolVersion;
  if (!in.ok() || hello.oldest_version > hello.version || hello.entity.empty() ||
      (!is_later && (in.remaining() != 0 || (flags & ~kHelloAuthRequired) != 0))) {
    return failure(MsgrErrc::kBadFrame);
  }
  return hello;
}

std::vector<std::byte> AuthChallenge::encode() const {
  std::vector<std::byte> front;
  ByteWriter out(front);
  out.put(kHmacSha256);
  out.put_bytes(challenge);
  return front;
}
Result<AuthChallenge> AuthChallenge::decode(ConstBytes front) {
  ByteReader in(front);
  if (in.get<uint8_t>() != kHmacSha256) in.mark_bad();
  AuthChallenge message;
  get_array(in, message.challenge);
  return checked(in, message);
}

std::vector<std::byte> AuthProof::encode() const {
  std::vector<std::byte> front;
  ByteWriter out(front);
  out.put_bytes(challenge);
  out.put_bytes(proof);
  return front;
}
Result<AuthProof> AuthProof::decode(ConstBytes front) {
  ByteReader in(front);
  AuthProof message;
  get_array(in, message.challenge);
  get_array(in, message.proof);
  return checked(in, message);
}

std::vector<std::byte> AuthDone::encode() const { return {proof.begin(), proof.end()}; }
Result<AuthDone> AuthDone::decode(ConstBytes front) {
  ByteReader in(front);
  AuthDone message;
  get_array(in, message.proof);
  return checked(in, message);
}

std::vector<std::byte> SessionRequest::encode() const {
  std::vector<std::byte> front;
  ByteWriter out(front);
  put_cookie(out, cookie);
  put_cookie(out, peer_cookie);
  out.put(generation);
  out.put(in_seq);
  out.put(
      static_cast<uint8_t>((lossy ? kSessionLossy : 0) | (peer_to_peer ? kSessionPeerToPeer : 0)));
  return front;
}
Result<SessionRequest> SessionRequest::decode(bool is_reconnect, ConstBytes front) {
  ByteReader in(front);
  SessionRequest request;
  request.cookie = get_cookie(in);
  request.peer_cookie = get_cookie(in);
  request.generation = in.get<uint64_t>();
  request.in_seq = in.get<uint64_t>();
  const auto flags = in.get<uint8_t>();
  request.lossy = (flags & kSessionLossy) != 0;
  request.peer_to_peer = (flags & kSessionPeerToPeer) != 0;
  if ((flags & ~(kSessionLossy | kSessionPeerToPeer)) != 0 || request.cookie.is_zero() ||
      request.generation > kMaxGeneration || request.is_new() == is_reconnect ||
      (request.is_new() && request.in_seq != 0) ||
      (request.lossy && (request.peer_to_peer || is_reconnect))) {
    in.mark_bad();
  }
  return checked(in, request);
}

std::vector<std::byte> SessionReady::encode() const {
  std::vector<std::byte> front;
  ByteWriter out(front);
  put_cookie(out, cookie);
  out.put(generation);
  out.put(in_seq);
  out.put(static_cast<uint8_t>(lossy ? kSessionLossy : 0));
  return front;
}
Result<SessionReady> SessionReady::decode(ConstBytes front) {
  ByteReader in(front);
  SessionReady ready;
  ready.cookie = get_cookie(in);
  ready.generation = in.get<uint64_t>();
  ready.in_seq = in.get<uint64_t>();
  const auto flags = in.get<uint8_t>();
  ready.lossy = (flags & kSessionLossy) != 0;
  if ((flags & ~kSessionLossy) != 0 || ready.cookie.is_zero() || ready.generation == 0 ||
      ready.generation > kMaxGeneration) {
    in.mark_bad();
  }
  return checked(in, ready);
}

std::vector<std::byte> SessionRetry::encode() const {
  std::vector<std::byte> front;
  ByteWriter out(front);
  out.put(reason);
  out.put(generation);
  return front;
}
Result<SessionRetry> SessionRetry::decode(ConstBytes front) {
  ByteReader in(front);
  SessionRetry retry;
  retry.reason = in.get<RetryReason>();
  retry.generation = in.get<uint64_t>();
  if (retry.generation > kMaxGeneration) in.mark_bad();
  if (retry.reason != RetryReason::kStaleGeneration && retry.reason != RetryReason::kLostRace) {
    in.mark_bad();
  }
  return checked(in, retry);
}

std::vector<std::byte> HandshakeError::encode() const {
  std::vector<std::byte> front;
  ByteWriter out(front);
  out.put(fault);
  out.put_string(std::string_view(sentence).substr(0, kMaxSentenceBytes));
  return front;
}
Result<HandshakeError> HandshakeError::decode(ConstBytes front) {
  ByteReader in(front);
  HandshakeError error;
  error.fault = in.get<HandshakeFault>();
  error.sentence = in.get_string(kMaxSentenceBytes);
  for (char& c : error.sentence) {
    if (c != ' ' && !is_graphic(c)) c = '?';
  }
  return checked(in, error);
}

std::vector<std::byte> Keepalive::encode() const {
  std::vector<std::byte> front;
  ByteWriter out(front);
  out.put(sent);
  return front;
}
Result<Keepalive> Keepalive::decode(ConstBytes front) {
  ByteReader in(front);
  Keepalive message;
  message.sent = in.get<uint64_t>();
  return checked(in, message);
}

std::vector<std::byte> KeepaliveAck::encode() const {
  std::vector<std::byte> front;
  ByteWriter out(front);
  out.put(sent);
  out.put(received);
  out.put(answered);
  return front;
}
Result<KeepaliveAck> KeepaliveAck::decode(ConstBytes front) {
  ByteReader in(front);
  KeepaliveAck message;
  message.sent = in.get<uint64_t>();
  message.received = in.get<uint64_t>();
  message.answered = in.get<uint64_t>();
  return checked(in, message);
}

MsgrErrc to_errc(HandshakeFault fault) noexcept {
  switch (fault) {
    case HandshakeFault::kFeatureMismatch:
      return MsgrErrc::kFeatureMismatch;
    case HandshakeFault::kAuthFailed:
      return MsgrErrc::kAuthFailed;
    case HandshakeFault::kShuttingDown:
      return MsgrErrc::kClosedByPeer;
    case HandshakeFault::kTooMany:
      return MsgrErrc::kTooMany;
    case HandshakeFault::kProtocol:
      break;
  }
  return MsgrErrc::kBadFrame;  // a fault of a later version counts as this too
}

HandshakeFault to_fault(std::error_code error) noexcept {
  if (error == MsgrErrc::kFeatureMismatch) return HandshakeFault::kFeatureMismatch;
  if (error == MsgrErrc::kAuthFailed) return HandshakeFault::kAuthFailed;
  if (error == MsgrErrc::kClosed) return HandshakeFault::kShuttingDown;
  if (error == MsgrErrc::kTooMany) return HandshakeFault::kTooMany;
  return HandshakeFault::kProtocol;
}

}  // namespace lunar::msgr
