// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "common/mutex.h"

namespace lunar {

class PerfGroup;

// The counters of a process (or of a test), by group. Thread-safe. Outlives its groups.
class PerfRegistry {
 public:
  PerfRegistry() = default;
  PerfRegistry(const PerfRegistry&) = delete;
  PerfRegistry& operator=(const PerfRegistry&) = delete;
  ~PerfRegistry();

  // JSON in the shape of Ceph's commands of the same names. An empty `group` means all.
  std::string dump(std::string_view group = {}) const;
  std::string schema(std::string_view group = {}) const;
  std::string histogram_dump(std::string_view group = {}) const;
  // Prometheus text format: lunar_<counter>{group="…"} value.
  std::string prometheus() const;

 private:
  friend class PerfGroup;
  // Registers under `name`, or name#2, name#3 … if that is taken. Returns what was used.
  std::string add(std::string name, const PerfGroup* group);
  void remove(const std::string& name);
  template <typename Make>
  std::string collect(std::string_view wanted, Make make) const;

  mutable Mutex mutex_;  // taken before a group's
  std::map<std::string, const PerfGroup*, std::less<>> groups_ GUARDED_BY(mutex_);
};

// Each counter has one writer at a time: update with plain calls from the owning loop, which take
// no lock and no locked instruction; any thread may read. For several writers use the _shared
// calls.
namespace internal {
inline void bump(std::atomic<uint64_t>& value, uint64_t by) noexcept {
  value.store(value.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}
}  // namespace internal

// Only grows.
class PerfCounter {
 public:
  void add(uint64_t amount = 1) noexcept { internal::bump(value_, amount); }
  void add_shared(uint64_t amount = 1) noexcept {
    value_.fetch_add(amount, std::memory_order_relaxed);
  }
  uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// A level: bytes in flight, sessions.
class PerfGauge {
 public:
  void set(uint64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
  void inc(uint64_t by = 1) noexcept { internal::bump(value_, by); }
  void dec(uint64_t by = 1) noexcept { internal::bump(value_, ~by + 1); }
  void inc_shared(uint64_t by = 1) noexcept { value_.fetch_add(by, std::memory_order_relaxed); }
  void dec_shared(uint64_t by = 1) noexcept { value_.fetch_sub(by, std::memory_order_relaxed); }
  uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// A level that is kept elsewhere, and is asked for when somebody looks.
class PerfReading {
 public:
  using Read = uint64_t (*)() noexcept;
  explicit PerfReading(Read read) noexcept : read_(read) {}
  uint64_t value() const noexcept { return read_(); }

 private:
  const Read read_;
};

// Count and sum of durations; the dump divides. A reader may see the count of one sample more than
// the sum.
class PerfTimeAverage {
 public:
  void add(std::chrono::nanoseconds sample) noexcept {
    internal::bump(sum_ns_, static_cast<uint64_t>(sample.count()));
    internal::bump(count_, 1);
  }
  void add_shared(std::chrono::nanoseconds sample) noexcept {
    sum_ns_.fetch_add(static_cast<uint64_t>(sample.count()), std::memory_order_relaxed);
    count_.fetch_add(1, std::memory_order_relaxed);
  }
  uint64_t count() const noexcept { return count_.load(std::memory_order_relaxed); }
  std::chrono::nanoseconds sum() const noexcept {
    return std::chrono::nanoseconds(sum_ns_.load(std::memory_order_relaxed));
  }

 private:
  std::atomic<uint64_t> count_{0};
  std::atomic<uint64_t> sum_ns_{0};
};

// Latencies in power-of-two buckets: bucket 0 is below 1.024 µs, bucket i up to 1.024 µs × 2^i, the
// last one (above ≈ 18 minutes) is open.
class PerfHistogram {
 public:
  static constexpr std::size_t kBuckets = 32;

  void add(std::chrono::nanoseconds sample) noexcept {
    internal::bump(buckets_[bucket_of(sample)], 1);
  }
  void add_shared(std::chrono::nanoseconds sample) noexcept {
    buckets_[bucket_of(sample)].fetch_add(1, std::memory_order_relaxed);
  }
  uint64_t bucket(std::size_t index) const noexcept {
    return buckets_[index].load(std::memory_order_relaxed);
  }
  // Exclusive upper end of a bucket; the last one has none.
  static constexpr std::chrono::nanoseconds upper_end(std::size_t index) noexcept {
    return std::chrono::nanoseconds(int64_t{1024} << index);
  }
  static constexpr std::size_t bucket_of(std::chrono::nanoseconds sample) noexcept {
    if (sample.count() <= 0) return 0;
    const auto width = std::bit_width(static_cast<uint64_t>(sample.count()) >> 10);
    return static_cast<std::size_t>(width) < kBuckets ? static_cast<std::size_t>(width)
                                                      : kBuckets - 1;
  }

 private:
  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
};

// Named counters that belong together, in a registry from construction to destruction.
// Adding is thread-safe; the returned references live as long as the group.
//   PerfGroup perf_{registry, "objecter"};
//   PerfCounter& ops_sent_ = perf_.counter("op_send", "ops sent, resends too");
class PerfGroup {
 public:
  PerfGroup(PerfRegistry& registry, std::string name);
  ~PerfGroup();
  PerfGroup(const PerfGroup&) = delete;
  PerfGroup& operator=(const PerfGroup&) = delete;

  const std::string& name() const noexcept { return name_; }
  // REQUIRES: `name` is new in this group. `unit` is "bytes" or empty.
  PerfCounter& counter(std::string name, std::string help, std::string_view unit = {});
  PerfGauge& gauge(std::string name, std::string help, std::string_view unit = {});
  // `read` is called on any thread.
  void reading(std::string name, std::string help, PerfReading::Read read,
               std::string_view unit = {});
  PerfTimeAverage& time_average(std::string name, std::string help);
  PerfHistogram& histogram(std::string name, std::string help);

 private:
  friend class PerfRegistry;
  struct Entry {
    std::string name;
    std::string help;
    std::string unit;
    std::variant<PerfCounter, PerfGauge, PerfReading, PerfTimeAverage, PerfHistogram> value;
    template <typename T, typename... Args>
    Entry(std::in_place_type_t<T> type, std::string n, std::string h, std::string_view u,
          Args... args)
        : name(std::move(n)), help(std::move(h)), unit(u), value(type, args...) {}
  };
  template <typename T, typename... Args>
  T& add(std::string name, std::string help, std::string_view unit, Args... args);

  PerfRegistry& registry_;
  mutable Mutex mutex_;
  std::deque<Entry> entries_ GUARDED_BY(mutex_);
  std::string name_;
};

}  // namespace lunar
