// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/start_nonce.h"

#include <algorithm>
#include <deque>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/json.h"
#include "gateway/metadata/run_to_done.h"
#include "msgr/awaiters.h"
#include "objecter/protocol/control.h"

namespace lunar::gateway {
namespace {

using Json = nlohmann::json;
using objecter::OsdId;

constexpr uint64_t kSpread = 1 << 16;

uint64_t number_in(const Json& entry, const char* name) {
  const auto found = entry.find(name);
  return found != entry.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

bool is_text(const Json& entry, const char* name, const std::string& text) {
  const auto found = entry.find(name);
  return found != entry.end() && found->is_string() && found->get_ref<const std::string&>() == text;
}

// The greatest nonce in the answer to "fences".
uint64_t newest_in(const std::string& answer, const std::string& entity,
                   const std::string& instance) {
  uint64_t newest = 0;
  const auto json = parse_json<Json>(answer, objecter::kAnswerBounds);
  if (!json || !json->is_array()) return newest;
  for (const Json& each : *json) {
    if (!each.is_object() || !is_text(each, "entity", entity)) continue;
    if (!is_text(each, "instance", instance)) continue;
    newest = std::max({newest, number_in(each, "newest_nonce"), number_in(each, "fenced_up_to")});
  }
  return newest;
}

Task<KnownStarts> ask_all(Client& probe, std::string instance, std::chrono::nanoseconds patience) {
  KnownStarts known;
  const auto deadline = probe.center().now() + patience;
  msgr::Completion<Outcome<objecter::OsdMapRef>> got;
  probe.objecter().wait_for_map(patience, got.callback());
  const Outcome<objecter::OsdMapRef> map = co_await got;
  if (!map) co_return known;
  const std::string command =
      Json{{"prefix", "fences"}, {"entity", probe.entity()}, {"instance", instance}}.dump();
  const auto left = std::max<std::chrono::nanoseconds>(deadline - probe.center().now(),
                                                       std::chrono::milliseconds(100));
  // All are asked at once, and all have answered at the end.
  std::deque<std::pair<OsdId, msgr::Completion<Outcome<std::string>>>> answers;
  for (const auto& osd : (*map)->osds) {
    if (!osd.up) {
      known.silent.push_back(osd.id);
      continue;
    }
    auto& asked = answers.emplace_back();
    asked.first = osd.id;
    probe.objecter().command(osd.id, command, left, asked.second.callback());
  }
  for (std::size_t i = 0; i < answers.size(); ++i) {
    auto& asked = answers[i].second;
    const Outcome<std::string> answer = co_await asked;
    if (!answer) {
      known.silent.push_back(answers[i].first);
      continue;
    }
    known.newest = std::max(known.newest, newest_in(*answer, probe.entity(), instance));
  }
  co_return known;
}

}  // namespace

void find_known_starts(Client& probe, const std::string& instance,
                       std::chrono::nanoseconds patience, UniqueFunction<void(KnownStarts)> done) {
  run_to_done(probe.center(), ask_all(probe, instance, patience), std::move(done));
}

uint64_t nonce_after(const KnownStarts& known, uint64_t clock, uint64_t random) noexcept {
  if (known.newest >= UINT64_MAX - kSpread) return UINT64_MAX;  // of no clock: nothing is newer
  return std::max(known.newest + 1 + random % kSpread, clock);
}

}  // namespace lunar::gateway
