// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <string>

#include "common/check.h"
#include "msgr/session/handshake_messages.h"
#include "msgr/session/upgrade.h"
#include "tests/fuzz/fuzz.h"

// Decoders of the fronts of handshake and session-control frames. The first byte of an input
// chooses one; a front that decodes has to encode to the same bytes.

namespace lunar::fuzz {
namespace {

using namespace lunar::msgr;

enum Kind : uint8_t {
  kHello,
  kAuthChallenge,
  kAuthProof,
  kAuthDone,
  kSessionNew,
  kSessionReconnect,
  kSessionReady,
  kSessionRetry,
  kHandshakeError,
  kKeepalive,
  kKeepaliveAck,
  kRdmaOffer,
  kRdmaAnswer,
  kRdmaProbe,
  kKinds,
};

std::vector<std::byte> with_kind(Kind kind, const std::vector<std::byte>& front) {
  std::vector<std::byte> input(1 + front.size(), std::byte{kind});
  std::copy(front.begin(), front.end(), input.begin() + 1);
  return input;
}

template <typename T>
void expect_same(const Result<T>& message, ConstBytes front) {
  if (!message) return;
  const std::vector<std::byte> again = message->encode();
  LUNAR_CHECK(std::equal(again.begin(), again.end(), front.begin(), front.end()),
              "decoded and encoded again it is another");
}

void expect_sane(const Hello& hello, ConstBytes front) {
  LUNAR_CHECK(hello.entity.size() <= kMaxEntityBytes, "entity above its limit");
  LUNAR_CHECK(hello.instance.size() <= kMaxInstanceBytes, "instance above its limit");
  if (hello.version <= kProtocolVersion && !hello.listening.is_unset()) {
    expect_same(Result<Hello>(hello), front);
  }
}

}  // namespace

std::vector<std::vector<std::byte>> seeds() {
  Hello hello;
  hello.entity = "client.admin";
  hello.instance = "host-1234";
  hello.nonce = 77;
  hello.listening = Address::loopback(6800);
  Hello later = hello;
  later.version = 2;
  later.listening = *Address::parse("[2001:db8::1]:7000");
  SessionRequest fresh;
  fresh.cookie = {1, 2};
  SessionRequest again = fresh;
  again.peer_cookie = {3, 4};
  again.generation = 5;
  again.in_seq = 6;
  SessionReady ready;
  ready.cookie = {5, 6};
  ready.generation = 1;
  RdmaOffer offer;
  offer.endpoint.resize(38);
  RdmaAnswer answer;
  answer.endpoint.resize(38);
  answer.sentence = "no device";
  return {with_kind(kHello, hello.encode()),
          with_kind(kHello, later.encode()),
          with_kind(kAuthChallenge, AuthChallenge().encode()),
          with_kind(kAuthProof, AuthProof().encode()),
          with_kind(kAuthDone, AuthDone().encode()),
          with_kind(kSessionNew, fresh.encode()),
          with_kind(kSessionReconnect, again.encode()),
          with_kind(kSessionReady, ready.encode()),
          with_kind(kSessionRetry, SessionRetry{RetryReason::kStaleGeneration, 9}.encode()),
          with_kind(kHandshakeError, HandshakeError{HandshakeFault::kAuthFailed, "no"}.encode()),
          with_kind(kKeepalive, Keepalive{1}.encode()),
          with_kind(kKeepaliveAck, KeepaliveAck{1, 2, 3}.encode()),
          with_kind(kRdmaOffer, offer.encode()),
          with_kind(kRdmaAnswer, answer.encode()),
          with_kind(kRdmaProbe, RdmaProbe().encode())};
}

void run_one(ConstBytes input) {
  if (input.empty()) return;
  // A copy of its own, so that a read past the end is one past an allocation.
  const std::vector<std::byte> front(input.begin() + 1, input.end());
  switch (static_cast<Kind>(static_cast<uint8_t>(input[0]) % kKinds)) {
    case kHello:
      if (const auto hello = Hello::decode(front)) expect_sane(*hello, front);
      break;
    case kAuthChallenge:
      expect_same(AuthChallenge::decode(front), front);
      break;
    case kAuthProof:
      expect_same(AuthProof::decode(front), front);
      break;
    case kAuthDone:
      expect_same(AuthDone::decode(front), front);
      break;
    case kSessionNew:
      expect_same(SessionRequest::decode(false, front), front);
      break;
    case kSessionReconnect:
      expect_same(SessionRequest::decode(true, front), front);
      break;
    case kSessionReady:
      expect_same(SessionReady::decode(front), front);
      break;
    case kSessionRetry:
      expect_same(SessionRetry::decode(front), front);
      break;
    case kHandshakeError:
      if (const auto error = HandshakeError::decode(front)) {
        LUNAR_CHECK(error->sentence.size() <= kMaxSentenceBytes, "sentence above its limit");
      }
      break;
    case kKeepalive:
      expect_same(Keepalive::decode(front), front);
      break;
    case kKeepaliveAck:
      expect_same(KeepaliveAck::decode(front), front);
      break;
    case kRdmaOffer:
      expect_same(RdmaOffer::decode(front), front);
      break;
    case kRdmaAnswer:
      if (const auto answer = RdmaAnswer::decode(front)) {
        LUNAR_CHECK(answer->endpoint.size() <= kMaxUpgradeBytes, "endpoint above its limit");
        LUNAR_CHECK(answer->sentence.size() <= kMaxSentenceBytes, "sentence above its limit");
      }
      break;
    case kRdmaProbe:
      expect_same(RdmaProbe::decode(front), front);
      break;
    case kKinds:
      break;
  }
}

}  // namespace lunar::fuzz
