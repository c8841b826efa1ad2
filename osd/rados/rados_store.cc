// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/rados/rados_store.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "common/host.h"
#include "common/log.h"
#include "common/log_limited.h"
#include "osd/store/attributes.h"
#include "osd/store/object_limits.h"

namespace lunar::osd {

using objecter::OpCode;
using objecter::OsdErrc;
using objecter::PoolId;
using objecter::PoolInfo;
using objecter::StoreKind;
using objecter::SubOp;

namespace {

constexpr std::chrono::seconds kOpenAgain{5};
constexpr std::chrono::seconds kCatchUpAgain{1};
constexpr unsigned kThreads = 2;

// No name of an object, so that no object is in its way and no listing shows it.
constexpr char kMark[] = "@lunar";

std::string place_of(const PoolInfo& pool) {
  return fmt::format("namespace {} of RADOS pool {}", pool.rados_namespace, pool.rados_pool);
}

bool is_at_one_place(const PoolInfo& a, const PoolInfo& b) {
  return a.rados_pool == b.rados_pool && a.rados_namespace == b.rados_namespace;
}

SubOp make_vector_step(OpCode code, uint64_t offset, uint64_t length) {
  SubOp step;
  step.code = code;
  step.offset = offset;
  step.length = length;
  return step;
}

ObjectVector one_step(const ObjectId& id, SubOp step, ConstBytes data, Bytes buffer) {
  ObjectVector wanted;
  step.data_length = static_cast<uint32_t>(data.size());
  wanted.object = id;
  wanted.steps = {std::move(step)};
  wanted.data = data;
  wanted.buffers = {buffer};
  wanted.is_repeatable = true;  // none of them compares
  return wanted;
}

std::error_code code_of(OsdErrc error) {
  return error == OsdErrc::kOk ? std::error_code() : make_error_code(error);
}

struct OpenedPool {
  std::shared_ptr<RadosPool> pool;
  std::string why_not;
  int error = 0;  // of librados
};

std::string cannot_open(const PoolInfo& pool, int error) {
  if (error == -ENOENT)
    return fmt::format("Ceph has no pool {}; `ceph osd pool ls` lists those it has",
                       pool.rados_pool);
  return fmt::format("{} cannot be used: {}", place_of(pool), std::strerror(-error));
}

std::string owned_by_other(const PoolInfo& pool, const std::string& owner) {
  return fmt::format("{} belongs to another pool of Lunar ({}); choose another namespace",
                     place_of(pool), owner);
}

// Whose a namespace is, which is made ours if it is nobody's. It is read first: a place that is
// ours has to open when Ceph is full and takes no writes. Blocks.
int claim(RadosPool& pool, const std::string& owner, std::string& found) {
  const int looked = pool.look(kMark, found);
  if (looked != -ENOENT) return looked;
  const int made = pool.make(kMark, owner);
  if (made == -EEXIST) return pool.look(kMark, found);  // another server was faster
  if (made == 0) found = owner;
  return made;
}

// Blocks.
OpenedPool open_pool(RadosClient& client, const PoolInfo& info, const std::string& owner) {
  std::unique_ptr<RadosPool> pool;
  int error = client.open_pool(info.rados_pool, info.rados_namespace, pool);
  std::string found;
  if (error == 0) error = claim(*pool, owner, found);
  if (error != 0) return {nullptr, cannot_open(info, error), error};
  if (found != owner) return {nullptr, owned_by_other(info, found)};
  return {std::move(pool), {}};
}

// Blocks. Empty: a new pool can have the place.
std::string look_at_place(RadosClient& client, const PoolInfo& info) {
  std::unique_ptr<RadosPool> pool;
  std::string found;
  int error = client.open_pool(info.rados_pool, info.rados_namespace, pool);
  if (error == 0) error = pool->look(kMark, found);
  if (error == -ENOENT && pool) return {};
  return error != 0 ? cannot_open(info, error) : owned_by_other(info, found);
}

// The first `limit` names after the cursor, in order; the filter is asked on the calling thread.
struct ListedNames {
  int error = 0;
  std::vector<std::string> names;
};
ListedNames list_names(RadosPool& pool, const std::string& cursor, uint32_t limit,
                       ObjectNames::NameFilter& contains) {
  std::set<std::string> names;
  ListedNames listed;
  listed.error = pool.list([&](const std::string& name) {
    if (limit == 0 || name <= cursor || !objecter::is_valid_object_name(name)) return;
    if (names.size() == limit && name > *names.rbegin()) return;
    if (!contains(name)) return;
    names.insert(name);
    if (names.size() > limit) names.erase(std::prev(names.end()));
  });
  listed.names.assign(names.begin(), names.end());
  return listed;
}

}  // namespace

RadosStore::RadosStore(msgr::EventCenter& center, msgr::BufferPool& buffers,
                       std::unique_ptr<ObjectStore> home, std::unique_ptr<RadosClient> client)
    : center_(center),
      buffers_(buffers),
      home_(std::move(home)),
      client_(std::move(client)),
      calls_(center),
      threads_(center, kThreads),
      fences_(center, kThreads),
      lister_(center, 1) {}

RadosStore::~RadosStore() {
  center_.cancel(next_try_);
  pools_.clear();
}

// --- fences ---

// Whoever finds it, we are fenced: before the one who waits for the call hears of it.
void RadosStore::note(int error) {
  if (error == -ESHUTDOWN && on_fenced_) on_fenced_();
}

std::string why_not_fenced(const std::string& client, int error) {
  if (error == -EXDEV)
    return fmt::format(
        "the RADOS client {} is one of another Ceph than that of this server: see "
        "rados_conf on both hosts",
        client);
  return fmt::format("the RADOS client {} cannot be put on Ceph's blocklist: {}", client,
                     std::strerror(-error));
}

void RadosStore::fence(const std::string& client, UniqueFunction<void(Outcome<void>)> done) {
  if (calls_.is_closed()) return done(failure(OsdErrc::kShutdown, "this server is shutting down"));
  calls_.enter();
  fences_.run([this, client] { return client_->blocklist(client); },
              [this, client, done = std::move(done)](int error) mutable {
                calls_.leave();
                if (error == 0) return done({});
                done(failure(OsdErrc::kIoError, why_not_fenced(client, error)));
              });
}

// A server is fenced before a map says that it is gone. One that has come and gone while we had no
// map may have been fenced, too.
bool RadosStore::may_have_new_fences(const objecter::OsdMap& map) {
  std::vector<std::string> clients;
  for (const objecter::OsdInfo& osd : map.osds)
    if (!osd.rados_client.empty()) clients.push_back(osd.rados_client);
  std::sort(clients.begin(), clients.end());
  const bool is_next = epoch_ != 0 && map.epoch == epoch_ + 1;
  const bool are_all_there =
      std::includes(clients.begin(), clients.end(), rados_clients_.begin(), rados_clients_.end());
  epoch_ = map.epoch;
  rados_clients_ = std::move(clients);
  return !are_all_there || !is_next;
}

void RadosStore::catch_up() {
  is_behind_ = must_catch_up_again_ = true;
  if (is_catching_up_ || calls_.is_closed()) return;
  center_.cancel(std::exchange(next_try_, msgr::TimerId::kNone));
  must_catch_up_again_ = false;
  is_catching_up_ = true;
  calls_.enter();
  fences_.run([this] { return client_->catch_up(); },
              [this](int error) {
                on_caught_up(error);
                calls_.leave();
              });
}

void RadosStore::on_caught_up(int error) {
  is_catching_up_ = false;
  if (calls_.is_closed()) return let_go_of_held();
  if (error != 0) {
    LUNAR_LOG_LIMITED(kStore, 0, "Ceph does not say whom it has fenced, and ops wait for that: {}",
                      std::strerror(-error));
    next_try_ = center_.run_after(kCatchUpAgain, [this] {
      next_try_ = msgr::TimerId::kNone;
      catch_up();
    });
    return;
  }
  if (must_catch_up_again_) return catch_up();
  is_behind_ = false;
  let_go_of_held();
}

void RadosStore::let_go_of_held() {
  for (HeldOp& each : std::exchange(held_, {})) {
    if (calls_.is_closed())
      each.then(nullptr);
    else
      with_pool(each.pool, std::move(each.then));
  }
}

// --- pools ---

bool RadosStore::keeps(const PoolInfo& pool) const noexcept {
  return pool.store == StoreKind::kRados;
}

void RadosStore::on_map(const objecter::OsdMap& map) {
  if (may_have_new_fences(map)) catch_up();
  for (auto at = pools_.begin(); at != pools_.end();) {
    const PoolInfo* const pool = map.find_pool(at->first);
    if (pool != nullptr && keeps(*pool) && is_at_one_place(*pool, at->second.info)) {
      ++at;
      continue;
    }
    std::vector<OnOpen> waiting = std::move(at->second.waiting);
    at = pools_.erase(at);
    for (OnOpen& each : waiting) each(nullptr);
  }
  for (const PoolInfo& pool : map.pools) {
    if (!keeps(pool) || pools_.contains(pool.id)) continue;
    KeptPool& kept = pools_[pool.id];
    kept.info = pool;
    kept.owner = fmt::format("cluster {} pool {}", map.fsid.to_string(), pool.id);
    open(pool.id);
  }
  refresh_space();
}

void RadosStore::check_new_pool(const PoolInfo& pool, UniqueFunction<void(Outcome<void>)> done) {
  if (!keeps(pool))
    return done(failure(OsdErrc::kInvalid,
                        "servers with osd_objectstore = rados keep pools in RADOS only: give "
                        "--store rados --rados-pool POOL"));
  calls_.enter();
  threads_.run([this, pool] { return look_at_place(*client_, pool); },
               [this, done = std::move(done)](const std::string& why_not) mutable {
                 calls_.leave();
                 if (why_not.empty()) return done({});
                 done(failure(OsdErrc::kInvalid, why_not));
               });
}

void RadosStore::with_pool(PoolId id, OnOpen then) {
  const auto found = pools_.find(id);
  if (found == pools_.end()) return then(nullptr);
  KeptPool& kept = found->second;
  if (is_behind_) {
    held_.push_back({id, std::move(then)});
    return;
  }
  if (kept.open) return then(kept.open);
  if (!kept.is_opening && monotonic_now() < kept.next_try) return then(nullptr);
  kept.waiting.push_back(std::move(then));
  if (!kept.is_opening) open(id);
}

void RadosStore::open(PoolId id) {
  KeptPool& kept = pools_[id];
  kept.is_opening = true;
  calls_.enter();
  threads_.run(
      [this, info = kept.info, owner = kept.owner] { return open_pool(*client_, info, owner); },
      [this, info = kept.info](OpenedPool opened) {
        note(opened.error);
        on_opened(info, std::move(opened.pool), opened.why_not);
        calls_.leave();
      });
}

void RadosStore::on_opened(const PoolInfo& info, std::shared_ptr<RadosPool> pool,
                           const std::string& why_not) {
  const auto found = pools_.find(info.id);
  // It was removed meanwhile, or has another place, which is being opened by itself.
  if (found == pools_.end() || !is_at_one_place(found->second.info, info)) return;
  KeptPool& kept = found->second;
  kept.is_opening = false;
  kept.next_try = monotonic_now() + kOpenAgain;
  kept.open = pool;
  if (pool)
    LUNAR_LOG(kStore, 1, "pool {} is in {}", kept.info.name, place_of(kept.info));
  else
    LUNAR_LOG(kStore, 0, "pool {}: {}", kept.info.name, why_not);
  for (OnOpen& each : std::exchange(kept.waiting, {})) each(pool);
}

// --- vectors ---

void RadosStore::apply(ObjectVector wanted, ObjectVectors::Done done) {
  const std::error_code refusal = check_id(wanted.object);
  run(refusal, std::move(wanted), std::move(done));
}

void RadosStore::run(std::error_code refusal, ObjectVector wanted, VectorDone done) {
  calls_.enter();
  const PoolId id = wanted.object.pool;
  auto vector = std::make_unique<RadosVector>(
      center_, std::move(wanted), [this, done = std::move(done)](VectorResult& result) mutable {
        calls_.leave();
        note(result.is_fenced ? -ESHUTDOWN : 0);
        done(result);
      });
  if (calls_.is_closed()) refusal = OsdErrc::kShutdown;
  if (!refusal && !pools_.contains(id)) refusal = OsdErrc::kInvalid;
  if (refusal) {
    center_.post(UniqueFunction<void()>([vector = std::move(vector), refusal]() mutable {
      vector->refuse(static_cast<OsdErrc>(refusal.value()));
    }));
    return;
  }
  with_pool(id, [this, vector = std::move(vector)](std::shared_ptr<RadosPool> pool) mutable {
    if (pool) return RadosVector::start(std::move(vector), std::move(pool));
    center_.post(UniqueFunction<void()>(
        [vector = std::move(vector)]() mutable { vector->refuse(OsdErrc::kIoError); }));
  });
}

void RadosStore::change(const ObjectId& id, SubOp step, ConstBytes data, StoreDone done) {
  const std::error_code refusal = check_range(id, step.offset, step.length);
  run(refusal, one_step(id, std::move(step), data, {}),
      [done = std::move(done)](VectorResult& result) mutable { done(code_of(result.error)); });
}

// --- one step ---

void RadosStore::read(const ObjectId& id, uint64_t offset, Bytes into, DataDone done) {
  const OpCode code = into.empty() ? OpCode::kStat : OpCode::kRead;
  run(check_range(id, offset, into.size()),
      one_step(id, make_vector_step(code, offset, into.size()), {}, into),
      [done = std::move(done)](VectorResult& result) mutable {
        if (result.error == OsdErrc::kOk && !result.exists) result.error = OsdErrc::kNoSuchObject;
        done(code_of(result.error));
      });
}

void RadosStore::write(const ObjectId& id, uint64_t offset, ConstBytes from, bool, DataDone done) {
  change(id, make_vector_step(OpCode::kWrite, offset, from.size()), from, std::move(done));
}

void RadosStore::zero(const ObjectId& id, uint64_t offset, uint64_t length, bool, DataDone done) {
  // Whatever its end is, nothing of an object lies beyond the limit.
  length = std::min(length, kMaxObjectBytes - std::min(offset, kMaxObjectBytes));
  change(id, make_vector_step(OpCode::kZero, offset, length), {}, std::move(done));
}

void RadosStore::truncate(const ObjectId& id, uint64_t size, StoreDone done) {
  change(id, make_vector_step(OpCode::kTruncate, 0, size), {}, std::move(done));
}

void RadosStore::stat(const ObjectId& id, UniqueFunction<void(Result<Stat>)> done) {
  run(check_id(id), one_step(id, make_vector_step(OpCode::kStat, 0, 0), {}, {}),
      [done = std::move(done)](VectorResult& result) mutable {
        if (result.error != OsdErrc::kOk) return done(failure(result.error));
        const uint64_t size = result.steps.front().value;
        done(Stat{size, size});
      });
}

void RadosStore::map_extents(const ObjectId& id, uint64_t offset, uint64_t length,
                             UniqueFunction<void(Result<ExtentMap>)> done) {
  run(check_id(id), one_step(id, make_vector_step(OpCode::kMapExtents, offset, length), {}, {}),
      [done = std::move(done)](VectorResult& result) mutable {
        if (result.error != OsdErrc::kOk) return done(failure(result.error));
        done(std::move(result.steps.front().extents));
      });
}

void RadosStore::remove(const ObjectId& id, StoreDone done) {
  change(id, make_vector_step(OpCode::kDelete, 0, 0), {}, std::move(done));
}

void RadosStore::replace(const ObjectId& id, ConstBytes from, StoreDone done) {
  change(id, make_vector_step(OpCode::kWriteFull, 0, from.size()), from, std::move(done));
}

void RadosStore::set_xattr(const ObjectId& id, const std::string& name, ConstBytes value,
                           StoreDone done) {
  std::error_code refusal = check_id(id);
  if (!refusal && !objecter::is_valid_object_name(name)) refusal = OsdErrc::kInvalid;
  if (!refusal && value.size() > kMaxAttributeBytes) refusal = OsdErrc::kTooLarge;
  SubOp step = make_vector_step(OpCode::kSetXattr, 0, 0);
  step.name = name;
  auto kept = std::make_shared<std::vector<std::byte>>(value.begin(), value.end());
  run(refusal, one_step(id, std::move(step), *kept, {}),
      [done = std::move(done), kept](VectorResult& result) mutable {
        done(code_of(result.error));
      });
}

void RadosStore::get_xattr(const ObjectId& id, const std::string& name,
                           UniqueFunction<void(Result<AttributeValue>)> done) {
  std::error_code refusal = check_id(id);
  if (!refusal && !objecter::is_valid_object_name(name)) refusal = OsdErrc::kInvalid;
  SubOp step = make_vector_step(OpCode::kGetXattr, 0, 0);
  step.name = name;
  run(refusal, one_step(id, std::move(step), {}, {}),
      [done = std::move(done)](VectorResult& result) mutable {
        if (result.error != OsdErrc::kOk) return done(failure(result.error));
        done(std::move(result.steps.front().attribute));
      });
}

// A pool that was removed from the map is empty for us: its objects are left to whoever has Ceph.
void RadosStore::list(PoolId pool, const std::string& cursor, uint32_t limit, NameFilter contains,
                      UniqueFunction<void(Result<Names>)> done) {
  if (!calls_.admit({}, done)) return;
  if (!pools_.contains(pool)) return calls_.finish(std::move(done), Names());
  with_pool(pool, [this, cursor, limit, contains = std::move(contains),
                   done = std::move(done)](std::shared_ptr<RadosPool> open) mutable {
    if (!open) return calls_.finish(std::move(done), failure(OsdErrc::kIoError));
    auto filter = std::make_unique<NameFilter>(std::move(contains));
    NameFilter& asked = *filter;
    lister_.run(
        [open, cursor, limit, &asked] { return list_names(*open, cursor, limit, asked); },
        [this, done = std::move(done), filter = std::move(filter)](ListedNames listed) mutable {
          filter.reset();
          note(listed.error);
          if (listed.error != 0)
            return calls_.finish(std::move(done), failure(rados_errc(listed.error, false)));
          calls_.finish(std::move(done), std::move(listed.names));
        });
  });
}

// --- what is of the whole store ---

void RadosStore::flush(StoreDone done) {
  if (calls_.admit({}, done)) calls_.finish(std::move(done), std::error_code());
}

void RadosStore::acknowledge_loss(StoreDone done) {
  if (calls_.admit({}, done)) calls_.finish(std::move(done), std::error_code());
}

void RadosStore::refresh_space() const {
  if (is_asking_space_ || calls_.is_closed()) return;
  is_asking_space_ = true;
  calls_.enter();
  threads_.run(
      [this] {
        RadosClient::Space space;
        return client_->space(space) == 0 ? space : RadosClient::Space();
      },
      [this](const RadosClient::Space& space) {
        usage_ = {space.total, space.used, space.available};
        is_asking_space_ = false;
        calls_.leave();
      });
}

ObjectStore::Usage RadosStore::usage() const {
  refresh_space();
  return usage_;
}

void RadosStore::shutdown(UniqueFunction<void()> done) {
  calls_.close([this, done = std::move(done)]() mutable {
    center_.post(UniqueFunction<void()>(
        [this, done = std::move(done)]() mutable { home_->shutdown(std::move(done)); }));
  });
  center_.cancel(std::exchange(next_try_, msgr::TimerId::kNone));
  if (!is_catching_up_) let_go_of_held();
}

}  // namespace lunar::osd
