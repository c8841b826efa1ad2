// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tracing/analysis/html_page.h"
#include "tracing/analysis/io_json.h"
#include "tracing/analysis/render.h"

namespace lunar::tracing {

std::string render_html(const TraceReport& report) {
  nlohmann::ordered_json all = json_of(report);
  all["timeline"] = nlohmann::ordered_json::array();
  for (const IoRecord* io : shown_ios(report)) {
    all["timeline"].push_back(json_of(*io, report, report.begin));
  }
  std::string data = all.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  // Inside a <script>: nothing in a name may end it.
  for (std::size_t at = data.find("</"); at != std::string::npos; at = data.find("</", at + 3)) {
    data.replace(at, 2, "<\\/");
  }
  std::string page(kHtmlPage);
  constexpr std::string_view kMark = "/*DATA*/null";
  const std::size_t at = page.find(kMark);
  return page.replace(at, kMark.size(), data);
}

}  // namespace lunar::tracing
