// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <boost/intrusive/list.hpp>
#include <memory>
#include <string>
#include <vector>

#include "bstore_plugin/tcp/command_buffers.h"
#include "bstore_plugin/tcp/fast_connection.h"
#include "bstore_plugin/tcp/read_ahead.h"
#include "common/perf_counters.h"

namespace lunar::bstore_plugin {

// What the transport asks of tgtd's loop.
class TgtLoop {
 public:
  virtual ~TgtLoop() = default;
  virtual void schedule_turn() = 0;  // FastTransport::turn() once before the loop waits
  virtual void schedule_tick() = 0;  // FastTransport::tick() in a second
};

// All iSCSI/TCP connections of this tgtd that the plugin drives.
// On tgtd's thread. Owns the connections and the memory; borrows the loop and the registry.
class FastTransport : private FastConnectionHost {
 public:
  static constexpr int kGraceTicks = 5;
  // What the WRITEs of a connection may hold in any case.
  static constexpr uint64_t kSmallWrites = 1u << 20;

  // The WRITEs of all initiators hold up to `max_write_bytes`, of which each has its share.
  FastTransport(TgtLoop& loop, PerfRegistry& perf, uint64_t max_write_bytes)
      : loop_(loop),
        counters_(perf),
        write_shares_(std::make_shared<msgr::FairShares>(
            msgr::FairShares::Limits{max_write_bytes, max_write_bytes, kSmallWrites})) {}
  ~FastTransport() override;

  // The connection of that descriptor if it is `handle`'s; null if it is not driven here.
  FastConnection* find(int fd, const void* handle) const noexcept {
    const auto index = static_cast<std::size_t>(fd);
    if (index >= by_fd_.size() || by_fd_[index] == nullptr) return nullptr;
    return by_fd_[index]->handle == handle ? &by_fd_[index]->connection : nullptr;
  }
  // Drives it from now on, and calls `tgt` for it. `initiator` is the host at its other end.
  // REQUIRES: fd >= 0; find() is null.
  FastConnection& adopt(int fd, const void* handle, std::unique_ptr<TgtConnection> tgt,
                        FastConnection::Wanted wanted, const std::string& initiator);
  // tgt has closed it.
  void forget(FastConnection& connection);

  void turn();
  void tick();

  CommandBuffers& buffers() noexcept { return buffers_; }
  FastCounters& counters() noexcept { return counters_; }

 private:
  struct Driven {
    const void* handle;  // tgt's connection
    std::unique_ptr<TgtConnection> tgt;
    FastConnection connection;
    int grace_ticks = 0;  // left; 0 unless only its last bytes are to be sent
  };
  using Schedule = boost::intrusive::list<
      FastConnection,
      boost::intrusive::member_hook<FastConnection, decltype(FastConnection::hook),
                                    &FastConnection::hook>,
      boost::intrusive::constant_time_size<false>>;

  void schedule(FastConnection& connection) override;
  void start_grace(FastConnection& connection) override;
  void destroy_forgotten();

  TgtLoop& loop_;
  FastCounters counters_;
  const std::shared_ptr<msgr::FairShares> write_shares_;
  CommandBuffers buffers_;
  ReadAheadBlocks blocks_;
  std::vector<std::unique_ptr<Driven>> by_fd_;
  // Closed by tgt, perhaps from inside themselves; their commands may still have buffers.
  std::vector<std::unique_ptr<Driven>> forgotten_;
  Schedule scheduled_;
  bool is_ticking_ = false;
};

}  // namespace lunar::bstore_plugin
