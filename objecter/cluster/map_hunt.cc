// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/cluster/map_hunt.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "msgr/awaiters.h"

namespace lunar::objecter {

struct MapHunt::State {
  enum class SourceLoss : uint8_t { kDropped, kDoubted };

  State(msgr::EventCenter& center, ServerTable& server_table, MapSeeker& map_seeker,
        HuntPace hunt_pace)
      : servers(server_table), seeker(map_seeker), pace(hunt_pace), sleeper(center) {}

  std::vector<msgr::Address> candidates() const;
  HuntPace::Pause ask_next();
  bool is_asked(const ServerConnection& server) const noexcept;
  bool is_asked(const msgr::Address& address) const noexcept;
  HuntPace::Pause pause_after(std::size_t num_candidates, bool were_all_asked) const noexcept;

  ServerTable& servers;
  MapSeeker& seeker;
  const HuntPace pace;
  ServerRef source;                  // not null: `asked` is empty
  std::vector<ServerRef> asked;      // oldest first; at most pace.max_asked
  std::vector<msgr::Address> known;  // candidates of the last step
  std::size_t next = 0;              // of `known`, over all rounds
  msgr::Address dropped;             // the source before this hunt; tried last
  bool is_started = false;
  bool is_stopped = false;
  // The two things the coroutine waits for; both are closed by stop().
  msgr::Sleeper sleeper;           // for the next step; choose() wakes it
  msgr::Inbox<SourceLoss> losses;  // of the source
};

std::vector<msgr::Address> MapHunt::State::candidates() const {
  std::vector<msgr::Address> all = seeker.candidates();
  std::stable_partition(all.begin(), all.end(),
                        [this](const msgr::Address& address) { return address != dropped; });
  return all;
}

bool MapHunt::State::is_asked(const ServerConnection& server) const noexcept {
  return std::any_of(asked.begin(), asked.end(),
                     [&](const ServerRef& each) { return each.get() == &server; });
}

bool MapHunt::State::is_asked(const msgr::Address& address) const noexcept {
  return std::any_of(asked.begin(), asked.end(),
                     [&](const ServerRef& each) { return each->address() == address; });
}

HuntPace::Pause MapHunt::State::pause_after(std::size_t num_candidates,
                                            bool were_all_asked) const noexcept {
  const bool takes_turns = num_candidates > pace.max_asked;
  if (were_all_asked)
    return takes_turns ? pace.rotate / static_cast<int64_t>(pace.max_asked) : pace.rotate;
  const HuntPace::Pause share =
      HuntPace::Pause(HuntPace::kRound) / static_cast<int64_t>(num_candidates);
  return std::min<HuntPace::Pause>(pace.stagger,
                                   std::max<HuntPace::Pause>(share, HuntPace::kMinStagger));
}

// One candidate more. Returns how long to wait for an answer before the next.
HuntPace::Pause MapHunt::State::ask_next() {
  const std::vector<msgr::Address> all = candidates();
  if (all.empty()) return pace.stagger;
  if (all != known) {  // the best of the new ones first
    known = all;
    for (next = 0; next < all.size() && is_asked(all[next]);) ++next;
  }
  const bool were_all_asked = asked.size() >= std::min(all.size(), pace.max_asked);
  const msgr::Address address = all[next++ % all.size()];
  const bool is_new = !is_asked(address);
  if (is_new && asked.size() >= pace.max_asked) asked.erase(asked.begin());
  const ServerRef server = servers.get(address);
  if (is_new) {
    asked.push_back(server);
    LUNAR_LOG(kMap, 5, "asking {} for the cluster map", address.to_string());
  }
  if (server->hello()) seeker.ask(*server);
  return pause_after(all.size(), were_all_asked);
}

Detached MapHunt::run(std::shared_ptr<State> hunt) {
  for (;;) {
    while (hunt->source == nullptr) {
      const HuntPace::Pause pause = hunt->ask_next();
      const std::error_code stopped = co_await hunt->sleeper.sleep(pause);
      if (stopped) co_return;
    }
    const Result<State::SourceLoss> loss = co_await hunt->losses.next();
    if (!loss) co_return;  // stopped
    if (*loss == State::SourceLoss::kDoubted) {
      const std::error_code stopped = co_await hunt->sleeper.sleep(hunt->pace.rotate);
      if (stopped) co_return;
    }
  }
}

MapHunt::MapHunt(msgr::EventCenter& center, ServerTable& servers, MapSeeker& seeker, HuntPace pace)
    : state_(std::make_shared<State>(center, servers, seeker, pace)) {}

MapHunt::~MapHunt() { stop(); }

void MapHunt::start() {
  LUNAR_CHECK(!std::exchange(state_->is_started, true), "a hunt is started once");
  if (state_->is_stopped) return;
  run(state_);
}

void MapHunt::stop() {
  state_->is_stopped = true;
  state_->sleeper.close();
  state_->losses.cancel();
  state_->source.reset();
  state_->asked.clear();
}

const ServerRef& MapHunt::source() const noexcept { return state_->source; }

ServerRef MapHunt::last_asked() const noexcept {
  return state_->asked.empty() ? nullptr : state_->asked.back();
}

bool MapHunt::holds(const ServerConnection& server) const noexcept {
  return state_->source.get() == &server || state_->is_asked(server);
}

// A server asks this about every message that arrives.
bool MapHunt::holds(const msgr::Connection& connection) const noexcept {
  if (state_->source != nullptr) return &state_->source->connection() == &connection;
  return std::any_of(state_->asked.begin(), state_->asked.end(),
                     [&](const ServerRef& each) { return &each->connection() == &connection; });
}

void MapHunt::choose(const ServerRef& server) {
  if (state_->source != nullptr || !state_->is_asked(*server)) return;
  state_->source = server;
  state_->dropped = {};
  state_->asked.clear();
  state_->sleeper.wake();
}

void MapHunt::drop_source() {
  if (state_->source == nullptr) return;
  state_->dropped = state_->source->address();
  state_->next = 0;
  state_->source.reset();
  state_->losses.push(State::SourceLoss::kDropped);
}

void MapHunt::doubt_source() {
  if (state_->source == nullptr) return;
  state_->asked.push_back(std::exchange(state_->source, nullptr));
  state_->losses.push(State::SourceLoss::kDoubted);
}

}  // namespace lunar::objecter
