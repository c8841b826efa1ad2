// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/lun/last_error.h"

#include <algorithm>
#include <ctime>
#include <deque>
#include <nlohmann/json.hpp>

#include "common/log.h"
#include "common/visible_text.h"

namespace lunar::bstore_plugin {
namespace {

constexpr std::size_t kKept = 16;

struct Remembered {
  std::time_t time;
  std::string sentence;
};

std::deque<Remembered>& remembered() {
  static auto* const list = new std::deque<Remembered>;  // tgtd exits with LUNs open
  return *list;
}

std::string time_text(std::time_t time) {
  std::tm fields{};
  localtime_r(&time, &fields);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S%z", &fields);
  return text;
}

}  // namespace

void remember_error(const lunar_host& host, const std::string& sentence) {
  std::string line = visible_text(sentence);
  std::replace(line.begin(), line.end(), '\n',
               ' ');  // a peer's, which would begin a line of its own
  host.log(1, line.c_str());
  LUNAR_ERROR(kTgt, "{}", sentence);
  remembered().push_front({std::time(nullptr), sentence});
  if (remembered().size() > kKept) remembered().pop_back();
}

std::string recent_errors_json() {
  auto json = nlohmann::json::array();
  for (const Remembered& each : remembered()) {
    json.push_back({{"time", time_text(each.time)}, {"error", each.sentence}});
  }
  return json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace lunar::bstore_plugin
