// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/text_table.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "common/check.h"

namespace lunar::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kGap = 2;  // between columns
constexpr std::size_t kNameWidth = 14;

std::string upper(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (c == '_') c = ' ';
  }
  return text;
}

std::string shown(std::string text) {
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = '?';
  }
  return text;
}

std::string joined(const Json& values, const char* separator);

std::string cell(const Json& value) {
  if (value.is_string()) return shown(value.get<std::string>());
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_array()) return joined(value, ", ");
  if (value.is_object()) return joined(value, " ");
  return value.is_null() ? "" : value.dump();
}

std::string joined(const Json& values, const char* separator) {
  std::string text;
  for (const Json& each : values) text += (text.empty() ? "" : separator) + cell(each);
  return text;
}

bool is_table(const Json& json) {
  const auto is_row = [](const Json& each) { return each.is_object(); };
  return json.is_array() && !json.empty() && std::all_of(json.begin(), json.end(), is_row);
}

std::string table_text(const Json& rows) {
  std::vector<std::string> names;  // in the order in which they appear
  std::vector<std::string> headings;
  for (const Json& row : rows) {
    for (const auto& [name, value] : row.items()) {
      if (std::find(names.begin(), names.end(), name) != names.end()) continue;
      names.push_back(name);
      headings.push_back((value.is_number() ? ">" : "") + upper(shown(name)));
    }
  }
  TextTable table(headings);
  for (const Json& row : rows) {
    std::vector<std::string> cells;
    for (const std::string& name : names) {
      cells.push_back(row.contains(name) ? cell(row[name]) : "");
    }
    table.add(std::move(cells));
  }
  return table.text();
}

std::string line_text(const std::string& name, const Json& value) {
  const std::size_t blanks = name.size() < kNameWidth ? kNameWidth - name.size() : 0;
  const std::string text = cell(value);
  return shown(name) + std::string(blanks + 1, ' ') + (text.empty() ? "-" : text) + "\n";
}

bool is_identity(const std::string& name) {
  static constexpr std::string_view kNames[] = {"nonce", "cookie", "incarnation", "lost_below",
                                                "verifier"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

constexpr uint64_t kLargestExact = uint64_t{1} << 53;  // of a double

}  // namespace

TextTable::TextTable(std::vector<std::string> headings) {
  for (std::string& heading : headings) {
    is_right_.push_back(heading.starts_with('>'));
    if (is_right_.back()) heading.erase(0, 1);
  }
  rows_.push_back(std::move(headings));
}

void TextTable::add(std::vector<std::string> cells) {
  LUNAR_CHECK(cells.size() == is_right_.size(), "a row of a table has another number of cells");
  rows_.push_back(std::move(cells));
}

std::string TextTable::text() const {
  std::vector<std::size_t> widths(is_right_.size());
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string blanks(widths[i] - row[i].size(), ' ');
      if (i != 0) line.append(kGap, ' ');
      line += is_right_[i] ? blanks + row[i] : row[i] + blanks;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string plain_text(const Json& json) {
  if (is_table(json)) return table_text(json);
  std::string text;
  if (json.is_object()) {
    for (const auto& [name, value] : json.items()) {
      if (!is_table(value)) text += line_text(name, value);
    }
    for (const auto& [name, value] : json.items()) {
      if (is_table(value)) text += "\n" + shown(name) + "\n" + table_text(value);
    }
    return text;
  }
  if (!json.is_array()) return cell(json) + "\n";
  for (const Json& each : json) text += cell(each) + "\n";
  return text;
}

Json with_text_ids(Json json) {
  if (json.is_object()) {
    for (auto& [name, value] : json.items()) {
      if (value.is_number_integer() && is_identity(name)) {
        value = value.dump();
      } else {
        value = with_text_ids(std::move(value));
      }
    }
  } else if (json.is_array()) {
    for (Json& each : json) each = with_text_ids(std::move(each));
  } else if (json.is_number_unsigned() && json.get<uint64_t>() > kLargestExact) {
    json = json.dump();
  }
  return json;
}

}  // namespace lunar::tools
