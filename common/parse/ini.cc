// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/parse/ini.h"

#include <cstring>
#include <optional>

namespace lunar {
namespace {

constexpr std::string_view kSpaces = " \t\r\v\f";

bool is_quote(char c) { return c == '"' || c == '\''; }

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

// Leaves nothing of a keyring's lines in freed memory.
class WipeBuffer {
 public:
  explicit WipeBuffer(std::string& buffer) noexcept : buffer_(buffer) {}
  ~WipeBuffer() { ::explicit_bzero(buffer_.data(), buffer_.capacity()); }
  WipeBuffer(const WipeBuffer&) = delete;
  WipeBuffer& operator=(const WipeBuffer&) = delete;

 private:
  std::string& buffer_;
};

// Cuts text into logical lines: continued ones joined, comments removed, quotes still in place.
class Lines {
 public:
  Lines(std::string_view text, const std::string& origin) : text_(text), origin_(origin) {
    if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
  }

  bool done() const { return at_ >= text_.size(); }

  // The next line into `out`; line() is where it starts.
  Outcome<void> next(std::string& out) {
    out.clear();
    line_ = ++read_;
    char quote = 0;
    char last = 0;  // before this one, spaces apart: a quoted value starts after '='
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '\n') break;
      if (c == '\0') return failure(line_error("a zero byte; is this a text file?"));
      if (c == '\\') {
        if (skip_line_end()) continue;
        out += c;
        if (at_ < text_.size() && text_[at_] != '\0') out += text_[at_++];
        last = c;
        continue;
      }
      if (quote == 0 && (c == ';' || c == '#')) {
        skip_comment();
        break;
      }
      if (quote == 0 && last == '=' && is_quote(c)) {
        quote = c;
      } else if (c == quote) {
        quote = 0;
      }
      out += c;
      if (kSpaces.find(c) == std::string_view::npos) last = c;
    }
    if (quote != 0) return failure(line_error("a quotation mark that is not closed"));
    return {};
  }

  int line() const { return line_; }
  Error line_error(const std::string& what) const {
    return {std::make_error_code(std::errc::invalid_argument),
            origin_ + ":" + std::to_string(line_) + ": " + what};
  }

 private:
  // After a backslash: takes an end of line, which continues this one.
  bool skip_line_end() {
    const std::size_t end = text_.substr(at_).starts_with("\r\n") ? at_ + 1 : at_;
    if (end >= text_.size() || text_[end] != '\n') return false;
    at_ = end + 1;
    ++read_;
    return true;
  }
  void skip_comment() {
    const auto end = text_.find('\n', at_);
    at_ = end == std::string_view::npos ? text_.size() : end + 1;
  }

  std::string_view text_;
  const std::string& origin_;
  std::size_t at_ = 0;
  int read_ = 0;
  int line_ = 0;
};

// Takes quotes and escapes out of a value; nothing if text follows the closing quote.
std::optional<std::string> unquote(std::string_view text) {
  std::string out;
  out.reserve(text.size());  // the value may be a key: no copies left behind by growing
  const char quote = !text.empty() && is_quote(text.front()) ? text.front() : '\0';
  for (std::size_t i = quote != 0 ? 1 : 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      out += text[++i];
    } else if (quote != 0 && text[i] == quote) {
      if (i + 1 != text.size()) return std::nullopt;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

Outcome<std::vector<IniEntry>> parse_ini(std::string_view text, const std::string& origin) {
  std::vector<IniEntry> entries;
  std::string section = "global";
  std::string buffer;
  buffer.reserve(text.size());
  const WipeBuffer wipe(buffer);
  Lines lines(text, origin);
  while (!lines.done()) {
    if (auto read = lines.next(buffer); !read) return failure(read.error());
    const std::string_view line = trim(buffer);
    if (line.empty()) continue;
    if (line.front() == '[') {
      if (line.back() != ']') return failure(lines.line_error("a section needs its closing ]"));
      section = trim(line.substr(1, line.size() - 2));
      if (section.empty()) return failure(lines.line_error("a section without a name"));
      continue;
    }
    const auto equals = line.find('=');
    if (equals == std::string_view::npos)
      return failure(lines.line_error("expected 'name = value'"));
    const std::string_view name = trim(line.substr(0, equals));
    if (name.empty()) return failure(lines.line_error("a value without a name before it"));
    auto value = unquote(trim(line.substr(equals + 1)));
    if (!value) return failure(lines.line_error("text after the closing quotation mark"));
    entries.push_back({section, std::string(name), *std::move(value), lines.line()});
  }
  return entries;
}

}  // namespace lunar
