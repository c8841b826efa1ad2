// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace lunar::tools {

// Rows in columns, for people: headings in capitals, columns of numbers to the right. Not
// thread-safe.
class TextTable {
 public:
  // A heading that begins with '>' is of a column to the right.
  explicit TextTable(std::vector<std::string> headings);
  void add(std::vector<std::string> cells);  // REQUIRES: as many as headings
  std::string text() const;                  // with a newline after each line

 private:
  std::vector<bool> is_right_;
  std::vector<std::vector<std::string>> rows_;  // the headings first
};

// What another program has answered, for people. Members of one object are lines of name and value;
// objects in a list are the rows of a table, whose columns are their members; anything deeper is
// one cell. Bytes that a terminal could take for commands are shown as '?'. Pure.
std::string plain_text(const nlohmann::ordered_json& json);

// The same JSON with text for what is an identity and not a number: programs that read numbers as
// doubles (jq, JavaScript) lose digits above 2^53. So is whatever else is above. Pure.
nlohmann::ordered_json with_text_ids(nlohmann::ordered_json json);

}  // namespace lunar::tools
