// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/counts_poll.h"

#include <algorithm>
#include <utility>

namespace lunar::tools {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kHoldersAnswerWithin{1000};
constexpr std::chrono::milliseconds kServersAnswerWithin{2500};
constexpr std::size_t kWaitedForAtOnce = 64;  // images
constexpr std::size_t kMostOpenQuestions = 1024;

}  // namespace

std::size_t CountsPoll::num_waited_for(TimePoint now) const {
  const auto& open = questions_->open;
  return static_cast<std::size_t>(std::count_if(open.begin(), open.end(), [now](const auto& each) {
    return now - each.second < kServersAnswerWithin;
  }));
}

void CountsPoll::ask_one(objecter::PoolId pool, gateway::ImageId id) {
  questions_->open[id] = Clock::now();
  gateway::image_counts(
      cluster_.client(), pool, id, kHoldersAnswerWithin,
      [questions = questions_, id](Result<std::vector<gateway::HolderCounts>> counts) {
        questions->open.erase(id);
        if (counts) questions->answers[id] = {std::move(*counts), Clock::now()};
        if (counts) return;
        if (counts.error() == objecter::OsdErrc::kNotPermitted) questions->refusal = counts.error();
        if (counts.error() == objecter::OsdErrc::kNoSuchObject)
          questions->answers[id] = {{}, Clock::now()};
      });
}

Result<std::map<gateway::ImageId, CountsPoll::AnsweredCounts>> CountsPoll::ask(
    objecter::PoolId pool, const std::vector<gateway::ImageId>& ids) {
  auto next = ids.begin();
  for (;;) {
    while (next != ids.end() && num_waited_for(Clock::now()) < kWaitedForAtOnce &&
           questions_->open.size() < kMostOpenQuestions) {
      if (!questions_->open.contains(*next)) ask_one(pool, *next);
      ++next;
    }
    const std::size_t waited_for = num_waited_for(Clock::now());
    if (waited_for == 0) break;
    cluster_.run_until([&] { return num_waited_for(Clock::now()) < waited_for; });
  }
  if (questions_->refusal) return failure(std::exchange(questions_->refusal, {}));
  return std::exchange(questions_->answers, {});
}

}  // namespace lunar::tools
