// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>

#include "msgr/session/upgrade.h"

namespace lunar::msgr {
namespace {

void put_endpoint(ByteWriter& out, const std::vector<std::byte>& endpoint) {
  out.put(static_cast<uint16_t>(endpoint.size()));
  out.put_bytes(endpoint);
}

std::vector<std::byte> get_endpoint(ByteReader& in) {
  const auto length = in.get<uint16_t>();
  if (length > kMaxUpgradeBytes) in.mark_bad();
  if (!in.ok()) return {};
  const ConstBytes bytes = in.get_bytes(length);
  return {bytes.begin(), bytes.end()};
}

void get_token(ByteReader& in, UpgradeToken& token) {
  const ConstBytes bytes = in.get_bytes(token.size());
  if (in.ok()) std::copy(bytes.begin(), bytes.end(), token.begin());
}

std::string printable(std::string text) {
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

}  // namespace

std::vector<std::byte> RdmaOffer::encode() const {
  std::vector<std::byte> front;
  ByteWriter out(front);
  out.put_bytes(token);
  put_endpoint(out, endpoint);
  return front;
}
Result<RdmaOffer> RdmaOffer::decode(ConstBytes front) {
  ByteReader in(front);
  RdmaOffer offer;
  get_token(in, offer.token);
  offer.endpoint = get_endpoint(in);
  if (!in.is_finished() || offer.endpoint.empty()) return failure(MsgrErrc::kBadFrame);
  return offer;
}

std::vector<std::byte> RdmaAnswer::encode() const {
  std::vector<std::byte> front;
  ByteWriter out(front);
  out.put_bytes(token);
  put_endpoint(out, endpoint);
  out.put_string(std::string_view(sentence).substr(0, kMaxSentenceBytes));
  return front;
}
Result<RdmaAnswer> RdmaAnswer::decode(ConstBytes front) {
  ByteReader in(front);
  RdmaAnswer answer;
  get_token(in, answer.token);
  answer.endpoint = get_endpoint(in);
  answer.sentence = printable(in.get_string(kMaxSentenceBytes));
  if (!in.is_finished()) return failure(MsgrErrc::kBadFrame);
  return answer;
}

std::vector<std::byte> RdmaProbe::encode() const {
  return std::vector<std::byte>(token.begin(), token.end());
}
Result<RdmaProbe> RdmaProbe::decode(ConstBytes front) {
  ByteReader in(front);
  RdmaProbe probe;
  get_token(in, probe.token);
  if (!in.is_finished()) return failure(MsgrErrc::kBadFrame);
  return probe;
}

}  // namespace lunar::msgr
