// SPDX-License-Identifier: LGPL-2.1-or-later
// session_torture [--ops N] [--seed S] [--clients N] [--cut-one-in N]
//
// Small ops of several clients on one real server, over links that break at random, one frame in
// about fifty, all in one thread and in virtual time. Each op that changes something is a
// COMPARE AND WRITE of the counter n to n + 1, and many are in flight at once: one that is lost,
// done twice or overtaken makes the next comparison fail. READs between them have to see a counter
// that is neither older nor newer than can be.
//
// Prints the seed, which repeats the run, and what happened. Exit status 1 if anything was wrong.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "common/random.h"
#include "msgr/loopback/loopback_stack.h"
#include "msgr/net/inject_stack.h"
#include "objecter/objecter.h"
#include "osd/map/map_authority.h"
#include "osd/server/osd_server.h"
#include "osd/store/mem_store.h"
#include "tests/support/counter_in.h"
#include "tests/support/manual_clock.h"
#include "tests/support/messenger_options.h"

namespace lunar::osd {
namespace {

using namespace std::chrono_literals;
using objecter::Objecter;
using objecter::OpReply;

struct TortureOptions {
  uint64_t ops = 1'000'000;
  uint64_t seed = 0;
  uint64_t clients = 8;
  uint64_t cut_one_in = 50;  // sends or receives of a link
};

constexpr uint64_t kObjectsOfClient = 4;
constexpr uint64_t kWindow = 32;      // ops in flight of a client
constexpr uint64_t kReadOneIn = 8;    // ops
constexpr std::size_t kRecord = 200;  // bytes, that begin with the counter

using Record = std::array<std::byte, kRecord>;

Record record_of(uint64_t counter) {
  Record record{};
  std::memcpy(record.data(), &counter, sizeof counter);
  for (std::size_t i = sizeof counter; i < kRecord; ++i)
    record[i] = counter == 0 ? std::byte{0} : static_cast<std::byte>(counter * 131 + i);
  return record;
}

// The problems that were found; the first ones are printed.
struct Verdict {
  uint64_t problems = 0;
  void add(const std::string& problem) {
    if (++problems <= 20) std::fprintf(stderr, "%s\n", problem.c_str());
  }
};

// One client with its objects. Each has a counter that every change raises by one.
class TortureClient {
 public:
  TortureClient(msgr::EventCenter& center, msgr::NetworkStack& stack, const msgr::Address& server,
                uint64_t number, uint64_t ops, uint64_t seed, Verdict& verdict)
      : name_("client." + std::to_string(number)),
        left_(ops),
        random_(seeded_engine(seed + number + 1)),
        verdict_(verdict) {
    Objecter::Options options;
    options.bootstrap = {server};
    options.op_timeout = 1h;  // of virtual time: an op that is lost is found at the end
    msgr::MessengerOptions messenger = test::without_authentication();
    messenger.entity = name_;
    messenger.instance = "torture";
    messenger.nonce = 1;
    messenger.initial_backoff = 1ms;
    messenger.max_backoff = 5ms;
    messenger.inject_seed = seed + number + 1;
    objecter_ = std::move(*Objecter::create(center, stack, messenger, options, nullptr, nullptr));
  }

  bool is_done() const { return left_ == 0 && in_flight_ == 0; }
  uint64_t reads() const { return reads_; }
  Objecter& objecter() { return *objecter_; }

  void submit_more(objecter::PoolId pool) {
    while (left_ > 0 && in_flight_ < kWindow) {
      --left_;
      ++in_flight_;
      const std::size_t object = random_() % kObjectsOfClient;
      if (random_() % kReadOneIn == 0)
        read(pool, object);
      else
        raise(pool, object);
    }
  }
  // Everything is done: what is stored is what was raised.
  void check_ends(objecter::PoolId pool) {
    for (std::size_t object = 0; object < kObjectsOfClient; ++object) {
      done_[object] = begun_[object];
      ++in_flight_;
      read(pool, object);
    }
  }

 private:
  objecter::ObjectOp op_on(objecter::PoolId pool, std::size_t object) const {
    objecter::ObjectOp op;
    op.object = {pool, name_ + "." + std::to_string(object)};
    op.image = 1;
    return op;
  }

  void raise(objecter::PoolId pool, std::size_t object) {
    const uint64_t from = begun_[object]++;
    auto records = std::make_unique<std::array<Record, 2>>();
    (*records)[0] = record_of(from);
    (*records)[1] = record_of(from + 1);
    objecter::ObjectOp op = op_on(pool, object);
    op.steps.resize(2);
    op.steps[0].code = OpCode::kCmpExt;
    op.steps[1].code = OpCode::kWrite;
    for (std::size_t i = 0; i < 2; ++i) {
      op.steps[i].length = op.steps[i].data_length = kRecord;
      op.data.push_back((*records)[i]);
    }
    objecter_->submit(
        std::move(op), [this, object, from, records = std::move(records)](const OpReply& reply) {
          --in_flight_;
          if (reply.error)
            verdict_.add(where(object) + " " + std::to_string(from) + ": " + reply.error.message());
          done_[object] = std::max(done_[object], from + 1);
        });
  }

  void read(objecter::PoolId pool, std::size_t object) {
    ++reads_;
    auto into = std::make_unique<Record>();
    objecter::ObjectOp op = op_on(pool, object);
    op.flags = objecter::kOpIdempotent;
    op.steps.resize(1);
    op.steps[0].code = OpCode::kRead;
    op.steps[0].length = kRecord;
    op.read_into = *into;
    objecter_->submit(std::move(op), [this, object, least = done_[object],
                                      into = std::move(into)](const OpReply& reply) {
      --in_flight_;
      if (reply.error) return verdict_.add(where(object) + " READ: " + reply.error.message());
      uint64_t counter = 0;
      std::memcpy(&counter, into->data(), sizeof counter);
      if (counter < least || counter > begun_[object] || *into != record_of(counter))
        verdict_.add(where(object) + " READ: " + std::to_string(counter) + " instead of " +
                     std::to_string(least) + " … " + std::to_string(begun_[object]));
    });
  }
  std::string where(std::size_t object) const { return name_ + "." + std::to_string(object); }

  const std::string name_;
  uint64_t left_;
  uint64_t in_flight_ = 0;
  uint64_t reads_ = 0;
  std::array<uint64_t, kObjectsOfClient> begun_{};
  std::array<uint64_t, kObjectsOfClient> done_{};  // acknowledged
  RandomEngine random_;
  Verdict& verdict_;
  std::unique_ptr<Objecter> objecter_;
};

// The server, the network and the time.
class Torture {
 public:
  explicit Torture(const TortureOptions& options)
      : options_(options),
        center_(std::move(*msgr::EventCenter::create({.time = &clock_}))),
        faulty_(stack_, {.socket_failures = options.cut_one_in, .seed = options.seed}) {
    MemStore::Options store;
    store.identity = {Uuid::random(), Uuid::random(), 0};
    store_ = std::make_unique<MemStore>(*center_, stack_.buffers(), store);
    std::vector<std::byte> record;
    objecter::encode(make_first_map(store.identity.fsid, 0, store.identity.store), record);
    store_->put_record(kMapRecord, std::move(record), [](std::error_code) {});
    center_->run_until_idle();
    OsdServerOptions server;
    server.auth_required = false;
    server_ = std::move(*OsdServer::create(*center_, *store_, server, perf_));
    msgr::MessengerOptions messenger = test::without_authentication();
    messenger.entity = messenger.instance = "osd.0";
    server_->start(faulty_, messenger, nullptr, {{msgr::Address::loopback(6800)}, {}},
                   [this](Outcome<msgr::Address> ready) { address_ = *ready; });
    until([this] { return !address_.is_unset(); });
  }

  bool run() {
    const auto began = std::chrono::steady_clock::now();
    for (uint64_t i = 0; i < options_.clients; ++i)
      clients_.push_back(std::make_unique<TortureClient>(*center_, faulty_, address_, i,
                                                         options_.ops / options_.clients,
                                                         options_.seed, verdict_));
    const bool has_pool = make_pool();
    if (has_pool) {
      const auto work = [this] {
        bool is_done = true;
        for (const auto& client : clients_) {
          client->submit_more(pool_);
          is_done &= client->is_done();
        }
        return is_done;
      };
      if (!until(work)) verdict_.add("some ops never ended");
      for (const auto& client : clients_) client->check_ends(pool_);
      if (!until(work)) verdict_.add("some reads never ended");
    }
    const std::string counters = perf_.dump();
    end();
    uint64_t reads = 0;
    for (const auto& client : clients_) reads += client->reads();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    const std::chrono::duration<double> passed = clock_.now() - start_;
    const uint64_t reconnects = counter(counters, "reconnects");
    std::printf(
        "%llu ops, %llu of them reads, %llu links that continued a session, %llu replies replayed, "
        "%llu reads asked for again, %.1f s of virtual time in %.1f s: %llu problems\n",
        ull(options_.ops), ull(reads), ull(reconnects), ull(counter(counters, "replays")),
        ull(counter(counters, "op_r_again")), passed.count(), took.count(), ull(verdict_.problems));
    if (reconnects < options_.ops / options_.cut_one_in / 10) {
      std::fprintf(stderr, "the links broke too seldom to show anything\n");
      return false;
    }
    return has_pool && verdict_.problems == 0;
  }

 private:
  static unsigned long long ull(uint64_t value) { return value; }
  static uint64_t counter(const std::string& dump, const std::string& name) {
    return test::counter_in(dump, name).value_or(0);
  }

  // Turns the loop, and moves the time when nothing else can happen. False if nothing ends it.
  template <typename Done>
  bool until(Done done) {
    int idle = 0;
    while (!done()) {
      const bool did_something = center_->run_until_idle() > 0;
      clock_.advance(did_something ? 100us : 1ms);
      idle = did_something ? 0 : idle + 1;
      if (idle > 10'000'000) return false;
    }
    return true;
  }
  bool make_pool() {
    // Repeated: a command is not, and its link may break.
    for (int attempt = 0; attempt < 100; ++attempt) {
      Objecter& first = clients_.front()->objecter();
      bool is_answered = false;
      until([&] { return first.map() != nullptr; });
      first.command(-1, R"({"prefix": "pool create", "pool": "rbd"})", 5s,
                    [&](const Outcome<std::string>&) { is_answered = true; });
      until([&] { return is_answered; });
      const auto has_it = [this] {
        return std::all_of(clients_.begin(), clients_.end(), [](const auto& client) {
          const auto& map = client->objecter().map();
          return map != nullptr && !map->pools.empty();
        });
      };
      for (int i = 0; i < 100 && !has_it(); ++i) {
        center_->run_until_idle();
        clock_.advance(10ms);
      }
      if (!has_it()) continue;
      pool_ = first.map()->pools.front().id;
      return true;
    }
    verdict_.add("the pool was not made");
    return false;
  }
  void end() {
    std::size_t ended = 0;
    for (const auto& client : clients_) client->objecter().shutdown([&] { ++ended; });
    until([&] { return ended == clients_.size(); });
    bool is_down = false;
    server_->shutdown([&] { is_down = true; });
    until([&] { return is_down; });
  }

  const TortureOptions options_;
  test::ManualClock clock_;
  const msgr::EventCenter::Clock::time_point start_ = clock_.now();
  std::unique_ptr<msgr::EventCenter> center_;
  msgr::LoopbackStack stack_;
  msgr::InjectStack faulty_;
  PerfRegistry perf_;
  std::unique_ptr<MemStore> store_;
  std::unique_ptr<OsdServer> server_;
  msgr::Address address_;
  objecter::PoolId pool_ = 0;
  Verdict verdict_;
  std::vector<std::unique_ptr<TortureClient>> clients_;
};

bool parse(int count, char** words, TortureOptions& options) {
  const std::pair<const char*, uint64_t*> known[] = {{"--ops", &options.ops},
                                                     {"--seed", &options.seed},
                                                     {"--clients", &options.clients},
                                                     {"--cut-one-in", &options.cut_one_in}};
  for (int i = 1; i < count; ++i) {
    uint64_t* value = nullptr;
    for (const auto& [word, into] : known)
      if (std::strcmp(words[i], word) == 0) value = into;
    if (value == nullptr || i + 1 == count) return false;
    *value = std::strtoull(words[++i], nullptr, 10);
  }
  return options.ops > 0 && options.clients > 0 && options.cut_one_in > 1;
}

}  // namespace
}  // namespace lunar::osd

int main(int count, char** words) {
  lunar::osd::TortureOptions options;
  if (!lunar::osd::parse(count, words, options)) {
    std::fprintf(stderr,
                 "usage: session_torture [--ops N] [--seed S] [--clients N] [--cut-one-in N]\n");
    return 2;
  }
  if (options.seed == 0) options.seed = lunar::random_u64() >> 1;
  std::printf("session_torture --ops %llu --clients %llu --cut-one-in %llu --seed %llu\n",
              static_cast<unsigned long long>(options.ops),
              static_cast<unsigned long long>(options.clients),
              static_cast<unsigned long long>(options.cut_one_in),
              static_cast<unsigned long long>(options.seed));
  std::fflush(stdout);
  return lunar::osd::Torture(options).run() ? 0 : 1;
}
