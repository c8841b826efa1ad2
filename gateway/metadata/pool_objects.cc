// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/pool_objects.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "msgr/awaiters.h"
#include "objecter/protocol/placement.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;
using objecter::OsdId;
using objecter::PgId;

constexpr uint32_t kPageNames = 10'000;
constexpr std::size_t kPgsInFlight = 8;

// One page of a PG.
struct ListedPage {
  PgId pg;
  Result<std::vector<std::string>> names;
};

// Which PG is asked for which page.
class ListWalk {
 public:
  ListWalk(Client& client, const objecter::PoolInfo& pool, std::string prefix)
      : client_(client), pool_(pool), prefix_(std::move(prefix)) {
    for (uint32_t seed = 0; seed < pool.pg_num; ++seed) {
      waiting_.push_back({PgId{pool.id, seed}, prefix_});
    }
    const auto map = client.objecter().map();
    for (const auto& member : pool.members) {
      const auto* osd = map->find_osd(member.osd);
      if (osd == nullptr || !osd->up) failed_[member.osd] = OsdErrc::kUnreachable;
    }
  }

  // Asks for as many pages as may be in flight; false if nothing is.
  bool fill(msgr::Inbox<ListedPage>& answers) {
    while (!waiting_.empty() && in_flight_ < kPgsInFlight) {
      auto [pg, cursor] = std::move(waiting_.front());
      waiting_.pop_front();
      if (const auto failed = failed_.find(osd_of(pg)); failed != failed_.end()) {
        found_.unlisted.push_back({pg, failed->first, failed->second});
        continue;
      }
      ++in_flight_;
      client_.objecter().list(pg, std::move(cursor), kPageNames,
                              [&answers, pg = pg](Result<std::vector<std::string>> names) {
                                answers.push({pg, std::move(names)});
                              });
    }
    return in_flight_ != 0;
  }

  void take(ListedPage page) {
    --in_flight_;
    if (!page.names) {
      failed_.emplace(osd_of(page.pg), page.names.error());
      found_.unlisted.push_back({page.pg, osd_of(page.pg), page.names.error()});
      return;
    }
    // The cursor is the prefix, so the names that begin with it come first.
    const auto end = std::find_if(page.names->begin(), page.names->end(),
                                  [this](const auto& name) { return !name.starts_with(prefix_); });
    const bool has_more = end == page.names->end() && page.names->size() == kPageNames;
    if (has_more) waiting_.push_back({page.pg, page.names->back()});
    found_.names.insert(found_.names.end(), std::make_move_iterator(page.names->begin()),
                        std::make_move_iterator(end));
  }

  PoolObjects take_found() {
    std::sort(found_.names.begin(), found_.names.end());
    return std::move(found_);
  }

 private:
  OsdId osd_of(PgId pg) const { return objecter::osd_of_pg(pool_, pg); }

  Client& client_;
  const objecter::PoolInfo& pool_;
  const std::string prefix_;
  std::deque<std::pair<PgId, std::string>> waiting_;  // a PG, and the name to go on after
  std::map<OsdId, std::error_code> failed_;           // not asked again
  std::size_t in_flight_ = 0;
  PoolObjects found_;
};

}  // namespace

Task<PoolObjects> list_objects(Client& client, objecter::PoolInfo pool, std::string prefix) {
  ListWalk walk(client, pool, std::move(prefix));
  msgr::Inbox<ListedPage> answers;  // this frame outlives every call: it takes all answers
  while (walk.fill(answers)) {
    Result<ListedPage> page = co_await answers.next();
    walk.take(std::move(*page));
  }
  PoolObjects found = walk.take_found();
  co_return found;
}

}  // namespace lunar::gateway
