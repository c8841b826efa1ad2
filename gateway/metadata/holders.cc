// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/holders.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "common/log.h"
#include "gateway/metadata/fence.h"
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/metadata_object.h"
#include "msgr/awaiters.h"

namespace lunar::gateway {
namespace {

using namespace std::chrono_literals;
using objecter::PoolId;
using objecter::PoolInfo;
using objecter::WatcherList;

Registration reader_of(const objecter::Watcher& watcher) {
  Registration reader;
  reader.entity = watcher.id.client.entity;
  reader.instance = watcher.id.client.instance;
  reader.nonce = watcher.id.client.nonce;
  reader.cookie = watcher.id.cookie;
  reader.lock = LockMode::kShared;
  return reader;
}

bool is_own(const Client& client, const Registration& who) {
  return who.entity == client.entity() && who.instance == client.instance() &&
         who.nonce == client.nonce();
}

// Fencing is of a whole start, so none of its opens is dead while it is there by another one.
void revive_connected_starts(std::vector<Holder>& holders) {
  for (Holder& each : holders) {
    if (!each.is_dead) continue;
    each.is_dead = std::none_of(holders.begin(), holders.end(), [&](const Holder& other) {
      return other.is_connected && other.registration.is_of_start(each.registration);
    });
  }
}

}  // namespace

std::vector<Holder> judge_holders(const ImageHeader& header, const WatcherList& watchers,
                                  std::chrono::nanoseconds lock_timeout) {
  std::vector<Holder> holders;
  for (const Registration& each : header.registrations) {
    holders.push_back({.registration = each, .is_dead = watchers.settling.is_settled()});
  }
  for (const objecter::Watcher& watcher : watchers.watchers) {
    const Registration as_reader = reader_of(watcher);
    auto holder = std::find_if(holders.begin(), holders.end(), [&](const Holder& each) {
      return each.registration.cookie == as_reader.cookie &&
             each.registration.is_of_start(as_reader);
    });
    if (holder == holders.end()) {
      holders.push_back({.registration = as_reader, .is_reader = true});
      holder = std::prev(holders.end());
    }
    holder->is_connected = watcher.is_connected;
    holder->silent_for = watcher.disconnected_for;
    holder->is_dead = !watcher.is_connected && watcher.disconnected_for >= lock_timeout;
  }
  revive_connected_starts(holders);
  return holders;
}

Task<Outcome<std::vector<Holder>>> find_holders(Client& client, PoolId pool, ImageHeader header) {
  const objecter::ObjectId object = header_of(pool, header.id);
  msgr::Completion<Result<WatcherList>> listed;
  client.objecter().list_watchers(object, listed.callback());
  const Result<WatcherList> watchers = co_await listed;
  if (!watchers) {
    co_return failure(metadata_error(client, "listing the watchers", object, watchers.error()));
  }
  std::vector<Holder> holders =
      judge_holders(header, *watchers, client.config().get_duration("lunar_lock_timeout"));
  for (Holder& each : holders) {  // we are here, whatever became of a watch
    if (is_own(client, each.registration)) each.is_dead = false;
  }
  co_return holders;
}

Task<Outcome<void>> fence_and_strike(Client& client, PoolInfo pool, ImageId id,
                                     std::vector<Registration> registrations) {
  for (std::size_t i = 0; i < registrations.size(); ++i) {
    const Registration who = registrations[i];
    const Outcome<void> fenced = co_await fence_start(client, pool, who);
    if (!fenced) co_return failure(fenced.error());
    LUNAR_LOG(kGateway, 0, "image {}: striking the registration of {} at {}", image_id_text(id),
              who.entity, who.instance);
  }
  if (registrations.empty()) co_return Outcome<void>();
  HeaderEditor edit = [&registrations](ImageHeader& header) -> Outcome<void> {
    std::erase_if(header.registrations, [&](const Registration& each) {
      return std::find(registrations.begin(), registrations.end(), each) != registrations.end();
    });
    return {};
  };
  Outcome<void> updated = co_await update_header(client, pool.id, id, std::move(edit));
  if (updated) tell_of_change_later(client, pool.id, id);
  co_return updated;
}

Task<Outcome<void>> strike_dead(Client& client, PoolInfo pool, ImageId id,
                                std::vector<Holder> holders) {
  std::vector<Registration> dead;
  for (const Holder& each : holders)
    if (each.is_dead && !each.is_reader) dead.push_back(each.registration);
  Outcome<void> struck = co_await fence_and_strike(client, pool, id, dead);
  co_return struck;
}

Task<Outcome<std::vector<Holder>>> find_living(Client& client, PoolInfo pool, ImageId id) {
  const auto deadline =
      client.center().now() + client.config().get_duration("lunar_lock_timeout") + 2s;
  for (;;) {
    const Outcome<VersionedHeader> found = co_await read_header(client, pool.id, id);
    if (!found) co_return failure(found.error());
    const ImageHeader header = found->header;
    Outcome<std::vector<Holder>> holders = co_await find_holders(client, pool.id, header);
    if (!holders) co_return failure(holders.error());
    const std::vector<Holder> judged = *holders;
    const Outcome<void> struck = co_await strike_dead(client, pool, id, judged);
    if (!struck) co_return failure(struck.error());
    std::erase_if(*holders, [](const Holder& each) { return each.is_dead; });
    const bool is_decided = std::all_of(holders->begin(), holders->end(),
                                        [](const Holder& each) { return each.is_connected; });
    if (is_decided || client.center().now() >= deadline) co_return holders;
    Client::RetryDelay delay(client);
    const std::error_code ended = co_await delay.sleep(kHolderPoll);
    if (ended) co_return failure(objecter::OsdErrc::kShutdown, "the client shuts down");
  }
}

std::string text_of_holders(const std::vector<Holder>& holders) {
  std::vector<std::pair<std::string, int>> clients;  // and how often
  for (const Holder& each : holders) {
    std::string name = each.registration.entity + " at " + each.registration.instance;
    if (each.is_reader) name += " (reading)";
    if (!each.is_connected) {
      name += " (without a connection for " + std::to_string(each.silent_for / 1s) + " s)";
    }
    const auto same = std::find_if(clients.begin(), clients.end(),
                                   [&name](const auto& known) { return known.first == name; });
    if (same == clients.end())
      clients.emplace_back(std::move(name), 1);
    else
      ++same->second;
  }
  std::string names;
  for (const auto& [name, opens] : clients) {
    names += (names.empty() ? "" : ", ") + name;
    if (opens > 1) names += " (" + std::to_string(opens) + " opens)";
  }
  return names;
}

}  // namespace lunar::gateway
