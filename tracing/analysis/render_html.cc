// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tracing/analysis/html_page.h"
#include "tracing/analysis/io_json.h"
#include "tracing/analysis/render.h"

namespace lunar::tracing {

namespace {

// JSON that may stand inside a <script>: no name in it can end that, or begin a comment.
std::string without_tags(const std::string& json) {
  std::string text;
  text.reserve(json.size());
  for (const char letter : json) {
    if (letter == '<') {
      text += "\\u003c";
    } else {
      text += letter;
    }
  }
  return text;
}

}  // namespace

std::string render_html(const TraceReport& report) {
  nlohmann::ordered_json all = json_of(report);
  all["timeline"] = nlohmann::ordered_json::array();
  for (const IoRecord* io : shown_ios(report)) {
    all["timeline"].push_back(json_of(*io, report, report.begin));
  }
  const std::string data =
      without_tags(all.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  std::string page(kHtmlPage);
  constexpr std::string_view kMark = "/*DATA*/null";
  const std::size_t at = page.find(kMark);
  return page.replace(at, kMark.size(), data);
}

}  // namespace lunar::tracing
