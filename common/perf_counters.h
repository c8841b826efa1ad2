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

// The counters of a process (or of a test), by group. Thread-safe: counting goes on while somebody
// reads, and what is read is not of one instant. Borrows the groups, which it outlives.
class PerfRegistry {
 public:
  PerfRegistry() = default;
  PerfRegistry(const PerfRegistry&) = delete;
  PerfRegistry& operator=(const PerfRegistry&) = delete;
  ~PerfRegistry();

  // JSON in the shape of Ceph's commands of the same names: values, descriptions, histograms. An
  // empty `group` means all; one that is not there gives an empty object.
  std::string dump(std::string_view group = {}) const;
  std::string schema(std::string_view group = {}) const;
  std::string histogram_dump(std::string_view group = {}) const;
  // Prometheus text format: lunar_<kind of group>_<counter>{group="…"} value, where the kind is the
  // group's name without a number or what comes after '.' in it. Counters end in _total, durations
  // are in _seconds.
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

// A number that only grows: ops, bytes. Starts at 0 with its group, wraps at 2^64. One writer, or
// add_shared(); any thread reads.
class PerfCounter {
 public:
  // By the one writer; the other by any thread.
  void add(uint64_t amount = 1) noexcept { internal::bump(value_, amount); }
  void add_shared(uint64_t amount = 1) noexcept {
    value_.fetch_add(amount, std::memory_order_relaxed);
  }
  uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};  // no order with other memory
};

// A level that is counted up and down: bytes in flight, sessions. Starts at 0. One writer, or the
// _shared calls; any thread reads. REQUIRES of dec: no more is taken off than was put on.
class PerfGauge {
 public:
  // The writer's: another thread's change in between would be lost.
  void set(uint64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
  void inc(uint64_t by = 1) noexcept { internal::bump(value_, by); }
  void dec(uint64_t by = 1) noexcept { internal::bump(value_, ~by + 1); }
  void inc_shared(uint64_t by = 1) noexcept { value_.fetch_add(by, std::memory_order_relaxed); }
  void dec_shared(uint64_t by = 1) noexcept { value_.fetch_sub(by, std::memory_order_relaxed); }
  uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};  // no order with other memory
};

// A level that is kept elsewhere, as by the kernel or the allocator, and is asked for when somebody
// reads. Thread-safe if its getter is.
class PerfReading {
 public:
  // Must not block and must not look at what belongs to a loop: it is called by whoever reads.
  using Getter = uint64_t (*)() noexcept;
  explicit PerfReading(Getter read) noexcept : read_(read) {}
  uint64_t value() const noexcept { return read_(); }

 private:
  const Getter read_;
};

// Count and sum of durations; the dump divides. One writer, or add_shared(); any thread reads, and
// may see a sum that has a sample more than the count.
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
  // Samples so far, and their sum.
  uint64_t count() const noexcept { return count_.load(std::memory_order_relaxed); }
  std::chrono::nanoseconds sum() const noexcept {
    return std::chrono::nanoseconds(sum_ns_.load(std::memory_order_relaxed));
  }

 private:
  std::atomic<uint64_t> count_{0};
  std::atomic<uint64_t> sum_ns_{0};
};

// Latencies in power-of-two buckets: bucket 0 is below 1.024 µs, bucket i up to 1.024 µs × 2^i, the
// last one (above ≈ 18 minutes) is open. One writer, or add_shared(); any thread reads.
class PerfHistogram {
 public:
  static constexpr std::size_t kBuckets = 32;

  void add(std::chrono::nanoseconds sample) noexcept {
    internal::bump(sum_ns_, counted(sample));
    internal::bump(buckets_[bucket_of(sample)], 1);
  }
  void add_shared(std::chrono::nanoseconds sample) noexcept {
    sum_ns_.fetch_add(counted(sample), std::memory_order_relaxed);
    buckets_[bucket_of(sample)].fetch_add(1, std::memory_order_relaxed);
  }
  // Of all samples above 0.
  std::chrono::nanoseconds sum() const noexcept {
    return std::chrono::nanoseconds(sum_ns_.load(std::memory_order_relaxed));
  }
  // Samples in that bucket. REQUIRES: index < kBuckets
  uint64_t bucket(std::size_t index) const noexcept {
    return buckets_[index].load(std::memory_order_relaxed);
  }
  // Exclusive upper end of a bucket; the last one has none.
  // REQUIRES: index < kBuckets - 1
  static constexpr std::chrono::nanoseconds upper_end(std::size_t index) noexcept {
    return std::chrono::nanoseconds(int64_t{1024} << index);
  }
  // Where a sample belongs: one of 0 or less into bucket 0.
  static constexpr std::size_t bucket_of(std::chrono::nanoseconds sample) noexcept {
    if (sample.count() <= 0) return 0;
    const auto width = std::bit_width(static_cast<uint64_t>(sample.count()) >> 10);
    return static_cast<std::size_t>(width) < kBuckets ? static_cast<std::size_t>(width)
                                                      : kBuckets - 1;
  }

 private:
  static uint64_t counted(std::chrono::nanoseconds sample) noexcept {
    return sample.count() <= 0 ? 0 : static_cast<uint64_t>(sample.count());
  }
  std::atomic<uint64_t> sum_ns_{0};
  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};  // not cumulative
};

// Named counters that belong together, in a registry from construction to destruction: its owner
// holds it as a member, and the references beside it. Adding is thread-safe; the returned
// references live as long as the group. Borrows the registry, which outlives it. A `help` is a full
// clause that means something when it is printed alone.
//   PerfGroup perf_{registry, "objecter"};
//   PerfCounter& ops_sent_ = perf_.counter("op_send", "ops were sent, resends among them");
class PerfGroup {
 public:
  // If `name` is taken the group is called name#2, name#3 …: two clients in one process.
  PerfGroup(PerfRegistry& registry, std::string name);
  ~PerfGroup();
  PerfGroup(const PerfGroup&) = delete;
  PerfGroup& operator=(const PerfGroup&) = delete;

  const std::string& name() const noexcept { return name_; }  // as registered
  // REQUIRES: `name` is new in this group. `unit` is "bytes" or empty.
  PerfCounter& counter(std::string name, std::string help, std::string_view unit = {});
  PerfGauge& gauge(std::string name, std::string help, std::string_view unit = {});
  // `read` is called on any thread, until the group is destroyed.
  void reading(std::string name, std::string help, PerfReading::Getter read,
               std::string_view unit = {});
  // Durations: shown in seconds, as Ceph shows them.
  PerfTimeAverage& time_average(std::string name, std::string help);
  PerfHistogram& histogram(std::string name, std::string help);

 private:
  friend class PerfRegistry;
  struct Entry {
    std::string name;
    std::string help;
    std::string unit;  // "bytes" or empty
    std::variant<PerfCounter, PerfGauge, PerfReading, PerfTimeAverage, PerfHistogram> value;
    template <typename T, typename... Args>
    Entry(std::in_place_type_t<T> type, std::string n, std::string h, std::string_view u,
          Args... args)
        : name(std::move(n)), help(std::move(h)), unit(u), value(type, args...) {}
  };
  template <typename T, typename... Args>
  T& add(std::string name, std::string help, std::string_view unit, Args... args);

  PerfRegistry& registry_;  // borrowed
  mutable Mutex mutex_;
  std::deque<Entry> entries_ GUARDED_BY(mutex_);  // a deque: references into it stay valid
  std::string name_;
};

}  // namespace lunar
