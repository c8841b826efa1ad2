// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/perf_msgr/job.h"

#include <fmt/format.h>

#include <ctime>

namespace lunar::perf_msgr {

const char* name_of(Pattern pattern) noexcept {
  switch (pattern) {
    case Pattern::kSend:
      return "send";
    case Pattern::kRead:
      return "read";
    case Pattern::kWrite:
      return "write";
    case Pattern::kPull:
      return "pull";
    case Pattern::kPush:
      return "push";
  }
  return "unknown";
}

std::optional<std::string> Job::problem() const {
  if (pattern < Pattern::kSend || pattern > Pattern::kPush) return "the pattern is not known";
  if (bytes > kMaxBytes || reply_bytes > kMaxBytes) {
    return fmt::format("a message of more than {} MiB is not measured", kMaxBytes >> 20);
  }
  if (is_one_sided(pattern) && (bytes == 0 || reply_bytes != 0)) {
    return "one-sided ops move at least one byte, and their replies carry none";
  }
  if (depth == 0 || depth > kMaxDepth) return fmt::format("the depth is from 1 to {}", kMaxDepth);
  if (uint64_t{depth} * (bytes + uint64_t{reply_bytes}) > kMaxBytesOfConnection) {
    return fmt::format("more than {} MiB in flight on one connection: lower the size or the depth",
                       kMaxBytesOfConnection >> 20);
  }
  return std::nullopt;
}

std::vector<std::byte> encode(const Job& job) {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.put(job.pattern);
  writer.put(job.bytes);
  writer.put(job.reply_bytes);
  writer.put(job.depth);
  return out;
}

std::vector<std::byte> encode(const msgr::RemoteKey& key) {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.put(key.addr);
  writer.put(key.rkey);
  writer.put(key.length);
  writer.put(key.link_generation);
  return out;
}

std::vector<std::byte> encode(const ServerStats& stats) {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.put(stats.ops);
  writer.put(stats.cpu_ns);
  return out;
}

std::optional<Job> decode_job(ConstBytes bytes) {
  ByteReader reader(bytes);
  Job job;
  job.pattern = reader.get<Pattern>();
  job.bytes = reader.get<uint32_t>();
  job.reply_bytes = reader.get<uint32_t>();
  job.depth = reader.get<uint32_t>();
  if (!reader.is_finished() || job.problem()) return std::nullopt;
  return job;
}

std::optional<msgr::RemoteKey> decode_key(ConstBytes bytes) {
  ByteReader reader(bytes);
  msgr::RemoteKey key;
  key.addr = reader.get<uint64_t>();
  key.rkey = reader.get<uint32_t>();
  key.length = reader.get<uint32_t>();
  key.link_generation = reader.get<uint64_t>();
  if (!reader.is_finished()) return std::nullopt;
  return key;
}

std::optional<ServerStats> decode_stats(ConstBytes bytes) {
  ByteReader reader(bytes);
  ServerStats stats;
  stats.ops = reader.get<uint64_t>();
  stats.cpu_ns = reader.get<uint64_t>();
  if (!reader.is_finished()) return std::nullopt;
  return stats;
}

uint64_t thread_cpu_ns() noexcept {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(time.tv_nsec);
}

}  // namespace lunar::perf_msgr
