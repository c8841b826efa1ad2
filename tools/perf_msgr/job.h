// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/bytes.h"
#include "msgr/buffer.h"

// What client and server of a measurement tell each other. Types are those of messages, or of
// kMessage frames at link level. All values; no thread rule.

namespace lunar::perf_msgr {

enum class Type : uint16_t {
  kOffer = 1,  // link level: what NetworkStack::upgrade() prepared; answered over the same link
  kAnswer,     // the same of the server; empty with a sentence as data if it cannot
  kStart,      // a Job
  kReady,      // a RemoteKey of the server's memory, rkey 0 if the job needs none
  kRequest,    // tid names it; a RemoteKey of the client's memory if the job is kPull or kPush
  kReply,      // the same tid; front: empty, or why it failed
  kStop,
  kStats,  // ServerStats
};

enum class Pattern : uint8_t {
  kSend = 1,  // request and reply carry their data
  kRead,      // the client RDMA READs memory of the server, as ib_read_bw does
  kWrite,     // the client RDMA WRITEs it
  kPull,      // a write IO: the server READs what the client exposes, then replies
  kPush,      // a read IO: the server WRITEs to what the client exposes, then replies
};
constexpr bool is_one_sided(Pattern pattern) noexcept { return pattern != Pattern::kSend; }
constexpr bool is_moved_by_server(Pattern pattern) noexcept {
  return pattern == Pattern::kPull || pattern == Pattern::kPush;
}
const char* name_of(Pattern pattern) noexcept;

struct Job {
  static constexpr uint32_t kMaxBytes = 16u << 20;
  static constexpr uint32_t kMaxDepth = 1024;
  static constexpr uint64_t kMaxBytesOfConnection = 256u << 20;  // bytes × depth

  Pattern pattern = Pattern::kSend;
  uint32_t bytes = 4096;     // of a request's data, or moved one-sidedly
  uint32_t reply_bytes = 0;  // of a reply's data; kSend only
  uint32_t depth = 1;        // ops in flight on a connection

  std::optional<std::string> problem() const;  // a sentence if it is out of range
};

// What the server spent on one connection's thread since kStart.
struct ServerStats {
  uint64_t ops = 0;
  uint64_t cpu_ns = 0;
};

std::vector<std::byte> encode(const Job& job);
std::vector<std::byte> encode(const msgr::RemoteKey& key);
std::vector<std::byte> encode(const ServerStats& stats);
// None if the bytes are no such thing, or out of range.
std::optional<Job> decode_job(ConstBytes bytes);
std::optional<msgr::RemoteKey> decode_key(ConstBytes bytes);
std::optional<ServerStats> decode_stats(ConstBytes bytes);

// User and system time of the calling thread.
uint64_t thread_cpu_ns() noexcept;

}  // namespace lunar::perf_msgr
