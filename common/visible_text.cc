// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/visible_text.h"

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>

namespace lunar {
namespace {

// A character of a text, as UTF-8 has it. `bytes` is 0 if the text begins with none.
struct Utf8Character {
  std::size_t bytes = 0;
  uint32_t code = 0;
};

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// RFC 3629: no longer form than needed, no surrogates, nothing above U+10FFFF.
Utf8Character first_character(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  if (lead < 0x80) return {1, lead};
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
  uint32_t code = lead & (0xff >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if (!is_continuation(text[i])) return {};
    code = code << 6 | (static_cast<unsigned char>(text[i]) & 0x3f);
  }
  const uint32_t least = bytes == 4 ? 0x10000 : bytes == 3 ? 0x800 : 0x80;
  const bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < least || code > 0x10ffff || is_surrogate) return {};
  return {bytes, code};
}

bool changes_direction(uint32_t code) {
  return code == 0x61c || code == 0x200e || code == 0x200f || (code >= 0x202a && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069);
}

bool is_plain(char c) { return (c >= ' ' && c <= '~') || c == '\n' || c == '\t'; }

}  // namespace

std::string visible_text(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto end = std::find_if_not(text.begin(), text.end(), is_plain);
    const auto plain = static_cast<std::size_t>(end - text.begin());
    out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    const Utf8Character next = first_character(text);
    const bool is_control = next.code < ' ' || next.code == 0x7f;
    const bool is_c1 = next.code >= 0x80 && next.code <= 0x9f;
    if (next.bytes == 0 || is_c1 || changes_direction(next.code)) {
      out += '?';
    } else if (is_control) {
      out += '^';
      out += static_cast<char>(next.code ^ 0x40);
    } else {
      out += text.substr(0, next.bytes);
    }
    text.remove_prefix(std::max<std::size_t>(next.bytes, 1));
  }
  return out;
}

void print_visible(std::FILE* to, const char* format, ...) {
  char* text = nullptr;
  std::va_list arguments;
  va_start(arguments, format);
  const int length = ::vasprintf(&text, format, arguments);
  va_end(arguments);
  if (length < 0) return;
  const std::string visible = visible_text({text, static_cast<std::size_t>(length)});
  std::free(text);
  std::fwrite(visible.data(), 1, visible.size(), to);
}

}  // namespace lunar
