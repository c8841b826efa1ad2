// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/uuid.h"

#include <algorithm>

#include "common/check.h"
#include "common/random.h"

namespace lunar {
namespace {

constexpr std::size_t kTextLength = 36;

constexpr bool dash_at(std::size_t i) { return i == 8 || i == 13 || i == 18 || i == 23; }

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Uuid Uuid::random() {
  Uuid uuid;
  random_bytes(uuid.bytes);
  uuid.bytes[6] = (uuid.bytes[6] & std::byte{0x0f}) | std::byte{0x40};
  uuid.bytes[8] = (uuid.bytes[8] & std::byte{0x3f}) | std::byte{0x80};
  return uuid;
}

std::optional<Uuid> Uuid::parse(std::string_view text) {
  if (text.size() != kTextLength) return std::nullopt;
  Uuid uuid;
  std::size_t digits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (dash_at(i)) {
      if (text[i] != '-') return std::nullopt;
      continue;
    }
    const int value = hex_value(text[i]);
    if (value < 0) return std::nullopt;
    std::byte& byte = uuid.bytes[digits / 2];
    byte = (byte << 4) | static_cast<std::byte>(value);
    ++digits;
  }
  return uuid;
}

Uuid Uuid::from_bytes(ConstBytes source) {
  LUNAR_CHECK(source.size() == kBytes, "a UUID is 16 bytes");
  Uuid uuid;
  std::copy(source.begin(), source.end(), uuid.bytes.begin());
  return uuid;
}

std::string Uuid::to_string() const {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  text.reserve(kTextLength);
  for (const std::byte byte : bytes) {
    if (dash_at(text.size())) text += '-';
    text += kHex[std::to_integer<unsigned>(byte >> 4)];
    text += kHex[std::to_integer<unsigned>(byte & std::byte{0x0f})];
  }
  return text;
}

}  // namespace lunar
