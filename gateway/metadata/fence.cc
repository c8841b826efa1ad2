// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/fence.h"

#include <chrono>
#include <deque>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "common/log.h"
#include "msgr/awaiters.h"

namespace lunar::gateway {
namespace {

constexpr std::chrono::seconds kTimeout{10};  // of each server

}  // namespace

Task<Outcome<void>> fence_start(Client& client, objecter::PoolInfo pool, Registration who) {
  const std::string fence = nlohmann::json{
      {"prefix", "osd fence"},
      {"entity", who.entity},
      {"instance", who.instance},
      {"nonce", who.nonce},
      {"for", "takeover"}}.dump();
  // All are asked at once, and all have answered at the end.
  std::deque<msgr::Completion<Outcome<std::string>>> answers;
  for (const auto& member : pool.members) {
    client.objecter().command(member.osd, fence, kTimeout, answers.emplace_back().callback());
  }
  Outcome<void> result;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    auto& answered = answers[i];
    const Outcome<std::string> answer = co_await answered;
    if (answer || !result) continue;
    result = failure(answer.error().code, "fencing " + who.entity + " at " + who.instance +
                                              " at osd." + std::to_string(pool.members[i].osd) +
                                              " failed: " + answer.error().message);
  }
  if (result) {
    LUNAR_LOG(kGateway, 0, "{} at {} is fenced at every server of pool '{}'", who.entity,
              who.instance, pool.name);
  }
  co_return result;
}

}  // namespace lunar::gateway
