// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/image_lock.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "gateway/metadata/header_object.h"
#include "gateway/metadata/holders.h"

namespace lunar::gateway {
namespace {

using namespace std::chrono_literals;
using objecter::OsdErrc;
using objecter::PoolInfo;

Outcome<void> refuse_unless_open(const ImageHeader& header, const Registration& mine,
                                 const OpenOptions& options) {
  if (auto openable = require_openable(header, options); !openable) return openable;
  for (const Registration& each : header.registrations) {
    if (each.is_of_gateway(mine) && each.nonce > mine.nonce) {
      return failure(OsdErrc::kFenced, "image '" + header.name + "' is open by a later start of " +
                                           mine.instance +
                                           ": end one of the two, or give this one another "
                                           "lunar_client_instance");
    }
  }
  return {};
}

Outcome<void> refuse_unwanted(const OpenOptions& options) {
  if (options.is_unwanted == nullptr || !*options.is_unwanted) return {};
  return failure(OsdErrc::kCancelled, "nobody wants the image any more");
}

bool is_full(const ImageHeader& header) {
  return header.registrations.size() >= ImageHeader::kMaxRegistrations;
}

Error has_no_room(const ImageHeader& header) {
  return {make_error_code(OsdErrc::kBusy),
          "image '" + header.name + "' is open " + std::to_string(header.registrations.size()) +
              " times, and no more are possible: 'lunar lock ls' shows by whom"};
}

// Those that have to go before `mine` comes. If the header is full, any dead one will do.
std::vector<Registration> in_the_way_of(const ImageHeader& header, const Registration& mine) {
  if (!is_full(header)) return conflicts_of(header, mine);
  std::vector<Registration> others;
  for (const Registration& each : header.registrations)
    if (!each.is_of_start(mine)) others.push_back(each);
  return others;
}

Error is_held(const ImageHeader& header, const std::vector<Holder>& holders) {
  return {make_error_code(OsdErrc::kBusy),
          "image '" + header.name + "' is open by " + text_of_holders(holders) +
              ": close it there; a LUN can have lock=takeover, which fences that gateway, or "
              "lock=shared on all sides, if the initiators coordinate themselves"};
}

void keep_conflicts(std::vector<Holder>& holders, const std::vector<Registration>& conflicts) {
  std::erase_if(holders, [&](const Holder& each) {
    return std::find(conflicts.begin(), conflicts.end(), each.registration) == conflicts.end();
  });
}

}  // namespace

Outcome<void> require_openable(const ImageHeader& header, const OpenOptions& options) {
  if (!options.is_import) return require_whole(header);
  if (header.state == ImageState::kImporting) return {};
  return failure(OsdErrc::kBusy, "image '" + header.name + "' is not being imported any more");
}

std::optional<OpenLock> parse_open_lock(std::string_view word) noexcept {
  if (word == "exclusive") return OpenLock::kExclusive;
  if (word == "takeover") return OpenLock::kTakeover;
  if (word == "shared") return OpenLock::kShared;
  return std::nullopt;
}

std::vector<Registration> conflicts_of(const ImageHeader& header, const Registration& mine) {
  std::vector<Registration> conflicts;
  for (const Registration& each : header.registrations) {
    const bool excludes = each.lock == LockMode::kExclusive || mine.lock == LockMode::kExclusive;
    if (!each.is_of_gateway(mine) && excludes) conflicts.push_back(each);
  }
  return conflicts;
}

Task<Outcome<void>> take_lock(Client& client, PoolInfo pool, ImageId id, Registration mine,
                              OpenOptions options) {
  const auto began = client.center().now();
  const auto patience = client.config().get_duration("lunar_lock_timeout") + 2s;
  for (;;) {
    std::vector<Registration> conflicts;
    HeaderEditor edit = [&](ImageHeader& header) -> Outcome<void> {
      conflicts.clear();
      if (auto wanted = refuse_unwanted(options); !wanted) return wanted;
      if (header.find_registration(mine.cookie) != nullptr) return {};
      if (auto open = refuse_unless_open(header, mine, options); !open) return open;
      conflicts = in_the_way_of(header, mine);
      if (!conflicts.empty()) return failure(OsdErrc::kBusy, "locked");
      if (is_full(header)) return failure(has_no_room(header));
      header.registrations.push_back(mine);
      return {};
    };
    Outcome<void> registered = co_await update_header(client, pool.id, id, std::move(edit));
    if (registered || conflicts.empty()) co_return registered;

    const Outcome<VersionedHeader> found = co_await read_header(client, pool.id, id);
    if (!found) co_return failure(found.error());
    const ImageHeader header = found->header;
    Outcome<std::vector<Holder>> holders = co_await find_holders(client, pool.id, header);
    if (!holders) co_return failure(holders.error());
    if (options.lock == OpenLock::kTakeover) {
      keep_conflicts(*holders, conflicts);
      for (Holder& each : *holders) {
        each.is_connected = false;
        each.is_dead = true;
      }
    }
    const Outcome<void> wanted = refuse_unwanted(options);
    if (!wanted) co_return failure(wanted.error());
    const std::vector<Holder> judged = *holders;
    const Outcome<void> struck = co_await strike_dead(client, pool, id, judged);
    if (!struck) co_return failure(struck.error());
    keep_conflicts(*holders, conflicts);
    const auto dead = std::erase_if(*holders, [](const Holder& each) { return each.is_dead; });
    const bool is_room_made = is_full(header) && dead != 0;
    if (holders->empty() || is_room_made) continue;  // they are struck now, or were meanwhile
    const auto living = std::count_if(holders->begin(), holders->end(),
                                      [](const Holder& each) { return each.is_connected; });
    const bool is_room_enough = conflicts_of(header, mine).empty();  // one that goes will do
    const bool is_held_alive = is_room_enough ? living == std::ssize(*holders) : living != 0;
    const auto limit = is_held_alive ? options.lock_wait : std::max(options.lock_wait, patience);
    if (client.center().now() - began >= limit) {
      co_return failure(is_full(header) ? has_no_room(header) : is_held(header, *holders));
    }
    Client::RetryDelay delay(client);
    const std::error_code ended = co_await delay.sleep(kHolderPoll);
    if (ended) co_return failure(OsdErrc::kShutdown, "the client shuts down");
  }
}

Task<Outcome<void>> strike_earlier_starts(Client& client, PoolInfo pool, ImageHeader header,
                                          Registration mine) {
  std::vector<Holder> earlier;
  for (const Registration& each : header.registrations) {
    if (!each.is_of_gateway(mine) || each.nonce >= mine.nonce) continue;
    earlier.push_back({.registration = each, .is_dead = true});
  }
  Outcome<void> struck = co_await strike_dead(client, pool, header.id, earlier);
  co_return struck;
}

}  // namespace lunar::gateway
