// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/pool_objects.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "msgr/awaiters.h"
#include "objecter/protocol/image_objects.h"
#include "objecter/protocol/placement.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;
using objecter::OsdId;
using objecter::PgId;

constexpr uint32_t kPageNames = 10'000;
constexpr std::size_t kPagesInFlight = 16;
constexpr int kMaxWalks = 5;

// A listing under way, of a server or, if that is an older one, of one of its PGs.
struct Listing {
  OsdId osd = -1;
  PgId pg;
  objecter::ListScope scope = objecter::ListScope::kServer;
  std::string cursor;
};
struct ListedPage {
  Listing of;
  Result<std::vector<std::string>> names;
};

// Whom to ask for which page.
class ListWalk {
 public:
  ListWalk(Client& client, const objecter::PoolInfo& pool, std::string prefix, uint64_t most)
      : client_(client), prefix_(std::move(prefix)), most_(most) {
    const auto map = client.objecter().map();
    for (uint32_t seed = 0; seed < pool.pg_num; ++seed) {
      const PgId pg{pool.id, seed};
      pgs_[objecter::osd_of_pg(*map, pool, pg)].push_back(pg);
    }
    for (const auto& [osd, pgs] : pgs_) {
      const auto* info = map->find_osd(osd);
      if (info == nullptr || !info->up) {
        failed_[osd] = OsdErrc::kUnreachable;
      } else {
        waiting_.push_back({osd, pgs.front(), objecter::ListScope::kServer, prefix_});
      }
    }
  }

  // Asks for as many pages as may be in flight; false if nothing is.
  bool fill(msgr::Inbox<ListedPage>& answers) {
    while (!is_cut() && !waiting_.empty() && in_flight_ < kPagesInFlight) {
      Listing next = std::move(waiting_.front());
      waiting_.pop_front();
      if (failed_.contains(next.osd)) continue;
      ++in_flight_;
      client_.objecter().list(next.pg, next.scope, next.cursor, kPageNames,
                              [&answers, next](Result<std::vector<std::string>> names) {
                                answers.push({next, std::move(names)});
                              });
    }
    return in_flight_ != 0;
  }

  void take(ListedPage page) {
    --in_flight_;
    const OsdId osd = page.of.osd;
    if (!page.names && page.names.error() == OsdErrc::kInvalid &&
        page.of.scope == objecter::ListScope::kServer) {  // it is an older one
      for (const PgId pg : pgs_[osd]) {
        waiting_.push_back({osd, pg, objecter::ListScope::kPg, prefix_});
      }
      return;
    }
    if (!page.names) {
      failed_.emplace(osd, page.names.error());
      return;
    }
    // The cursor is the prefix, so the names that begin with it come first.
    const auto end = std::find_if(page.names->begin(), page.names->end(),
                                  [this](const auto& name) { return !name.starts_with(prefix_); });
    const bool has_more = end == page.names->end() && page.names->size() == kPageNames;
    if (has_more) waiting_.push_back({osd, page.of.pg, page.of.scope, page.names->back()});
    names_.insert(names_.end(), std::make_move_iterator(page.names->begin()),
                  std::make_move_iterator(end));
  }

  PoolObjects take_found() {
    PoolObjects found;
    found.is_cut = is_cut();
    found.names = std::move(names_);
    std::sort(found.names.begin(), found.names.end());
    for (const auto& [osd, error] : failed_) found.unlisted.push_back({osd, error});
    return found;
  }

 private:
  bool is_cut() const noexcept { return names_.size() > most_; }

  Client& client_;
  const std::string prefix_;
  const uint64_t most_;
  std::map<OsdId, std::vector<PgId>> pgs_;
  std::deque<Listing> waiting_;
  std::map<OsdId, std::error_code> failed_;  // not asked again
  std::size_t in_flight_ = 0;
  std::vector<std::string> names_;
};

}  // namespace

Task<PoolObjects> list_objects(Client& client, objecter::PoolInfo pool, std::string prefix,
                               uint64_t most) {
  PoolObjects found;
  for (int round = 0; round < kMaxWalks; ++round) {
    const objecter::Epoch epoch = client.objecter().map()->epoch;
    ListWalk walk(client, pool, prefix, most);
    msgr::Inbox<ListedPage> answers;  // this frame outlives every call: it takes all answers
    while (walk.fill(answers)) {
      Result<ListedPage> page = co_await answers.next();
      walk.take(std::move(*page));
    }
    found = walk.take_found();
    // A server answers under the very map that the client had when it asked.
    const bool is_of_one_map = client.objecter().map()->epoch == epoch;
    if (pool.store != objecter::StoreKind::kRados || is_of_one_map) co_return found;
  }
  found.unlisted.clear();
  for (const auto& member : pool.members)
    found.unlisted.push_back({member.osd, OsdErrc::kStaleMap});
  co_return found;
}

Task<Outcome<bool>> has_data(Client& client, objecter::PoolInfo pool, objecter::ImageId image) {
  const std::string prefix = objecter::image_id_text(image) + ".";
  const PoolObjects data = co_await list_objects(client, pool, prefix);
  if (data.names.empty() && !data.unlisted.empty()) {
    const auto& silent = data.unlisted.front();
    co_return failure(silent.error, "osd." + std::to_string(silent.osd) +
                                        " does not say whether it has data of the image (" +
                                        silent.error.message() + "): start it first");
  }
  co_return !data.names.empty();
}

}  // namespace lunar::gateway
