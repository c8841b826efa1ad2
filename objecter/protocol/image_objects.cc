// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/image_objects.h"

#include <algorithm>
#include <charconv>

namespace lunar::objecter {
namespace {

constexpr std::size_t kDigits = 16;
constexpr std::string_view kHeaderSuffix = ".header";

// Writes kDigits digits. By hand, as each IO has a name made for it: snprintf() takes five times as
// many instructions.
void put_hex(char* to, uint64_t number) noexcept {
  for (std::size_t i = kDigits; i-- > 0; number >>= 4) to[i] = "0123456789abcdef"[number & 15];
}

}  // namespace

std::string image_id_text(ImageId id) {
  std::string text(kDigits, '0');
  put_hex(text.data(), id);
  return text;
}

std::optional<uint64_t> parse_hex(std::string_view text) noexcept {
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (text.size() != kDigits || !std::all_of(text.begin(), text.end(), is_digit)) return {};
  uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number, 16);
  return number;
}

std::optional<ImageId> parse_image_id(std::string_view text) noexcept {
  const auto id = parse_hex(text);
  return id && *id != 0 ? id : std::nullopt;
}

std::string header_object_name(ImageId id) { return image_id_text(id).append(kHeaderSuffix); }

std::string data_object_name(ImageId id, uint64_t object_no) {
  std::string text(2 * kDigits + 1, '.');
  put_hex(text.data(), id);
  put_hex(text.data() + kDigits + 1, object_no);
  return text;
}

std::optional<ImageId> parse_header_object(std::string_view object) noexcept {
  if (object.size() < kDigits || object.substr(kDigits) != kHeaderSuffix) return std::nullopt;
  return parse_image_id(object.substr(0, kDigits));
}

std::optional<DataObjectName> parse_data_object(std::string_view object) noexcept {
  if (object.size() != 2 * kDigits + 1 || object[kDigits] != '.') return std::nullopt;
  const auto image = parse_image_id(object.substr(0, kDigits));
  const auto number = parse_hex(object.substr(kDigits + 1));
  if (!image || !number) return std::nullopt;
  return DataObjectName{*image, *number};
}

}  // namespace lunar::objecter
