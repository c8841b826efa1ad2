// SPDX-License-Identifier: LGPL-2.1-or-later
// A line is formatted once, by the thread that logs it. From there it goes two ways: into the ring
// (what an operator or a failed check asks for later), and, if its level is low enough, into
// spdlog's queue, whose one thread writes it to the sinks.

#include "common/log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/dist_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <ctime>
#include <memory>

#include "common/file.h"
#include "common/mutex.h"
#include "common/run_in_time.h"
#include "common/signals.h"
#include "common/visible_text.h"

namespace lunar {
namespace {

constexpr auto kSubsystems = static_cast<std::size_t>(Subsystem::kCount);
constexpr std::size_t kRingLines = 2000;
constexpr std::size_t kQueueLines = 4096;
constexpr std::size_t kMaxLineBytes = 8192;
constexpr std::chrono::seconds kReopenTime{2};

constexpr std::array<std::string_view, kSubsystems> kNames = {
    "lunar", "ms", "auth", "objecter", "gateway", "tgt", "osd", "store", "map", "tools"};

std::array<std::atomic<int8_t>, kSubsystems> output_levels{};  // what goes to the sinks

// The last lines, for log_recent() and for a failed check.
class Ring {
 public:
  void push(std::string line) {
    MutexLock lock(mutex_);
    if (lines_.size() < kRingLines) {
      lines_.push_back(std::move(line));
    } else {
      lines_[oldest_] = std::move(line);
      oldest_ = (oldest_ + 1) % kRingLines;
    }
  }
  std::vector<std::string> lines() {
    MutexLock lock(mutex_);
    std::vector<std::string> out;
    for_each([&](const std::string& line) { out.push_back(line); });
    return out;
  }
  // Without waiting for the lock: the thread that fails may hold it.
  void write_to(int fd) noexcept {
    if (!mutex_.try_lock()) return;
    for_each([fd](const std::string& line) {
      static_cast<void>(write_all(fd, as_const_bytes(line)));
      static_cast<void>(write_all(fd, as_const_bytes("\n")));
    });
    mutex_.unlock();
  }

 private:
  template <typename F>
  void for_each(F&& f) REQUIRES(mutex_) {
    for (std::size_t i = 0; i < lines_.size(); ++i) f(lines_[(oldest_ + i) % lines_.size()]);
  }
  Mutex mutex_;
  std::vector<std::string> lines_ GUARDED_BY(mutex_);
  std::size_t oldest_ GUARDED_BY(mutex_) = 0;
};

// The queue, its thread and the sinks. The thread starts with the first line.
class Writer {
 public:
  Writer() {
    MutexLock lock(opening_);
    static_cast<void>(open_locked({}));  // opens no file
  }

  void write(int level, std::string_view line) {
    MutexLock lock(mutex_);
    if (!start_locked()) return;
    logger_->log(level < 0 ? spdlog::level::err : spdlog::level::info,
                 spdlog::string_view_t(line.data(), line.size()));
  }

  // Nobody waits for another one's file, which may be a pipe that nobody reads.
  Outcome<void> open(const LogTarget& target) {
    if (!opening_.try_lock()) return still_opening();
    Outcome<void> opened = open_locked(target);
    opening_.unlock();
    return opened;
  }

  Outcome<void> reopen() {
    if (!opening_.try_lock()) return still_opening();
    Outcome<void> opened = open_locked(target_);
    opening_.unlock();
    return opened;
  }

  static Outcome<void> still_opening() {
    return failure(std::errc::device_or_resource_busy,
                   "a log file is still being opened; if that does not end, it is a pipe that "
                   "nobody reads, or on a file system that does not answer");
  }

  // Ends the thread, which drains the queue first; the next line starts another.
  void flush() {
    std::shared_ptr<spdlog::details::thread_pool> pool;
    std::shared_ptr<spdlog::async_logger> logger;
    {
      MutexLock lock(mutex_);
      pool.swap(pool_);
      logger.swap(logger_);
      if (pool) dropped_ += pool->overrun_counter();
    }
    pool.reset();  // joins
  }

  uint64_t dropped() {
    MutexLock lock(mutex_);
    return dropped_ + (pool_ ? pool_->overrun_counter() : 0);
  }

 private:
  Outcome<void> open_locked(const LogTarget& target) REQUIRES(opening_) {
    std::vector<spdlog::sink_ptr> sinks;
    try {
      if (target.to_stderr) sinks.push_back(std::make_shared<spdlog::sinks::stderr_sink_mt>());
      if (!target.file.empty()) {
        sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(target.file));
      }
    } catch (const std::exception& thrown) {  // spdlog reports a file it cannot open so
      return failure(std::errc::io_error, "log file " + target.file + ": " + thrown.what());
    }
    for (const spdlog::sink_ptr& sink : sinks) sink->set_pattern("%v");  // lines come complete
    sinks_->set_sinks(std::move(sinks));
    target_ = target;
    return {};
  }

  bool start_locked() REQUIRES(mutex_) {
    if (logger_) return true;
    const BlockAllSignals blocked;
    try {
      pool_ = std::make_shared<spdlog::details::thread_pool>(kQueueLines, 1,
                                                             [] { name_this_thread("lunar-log"); });
      logger_ = std::make_shared<spdlog::async_logger>(
          "lunar", sinks_, pool_, spdlog::async_overflow_policy::overrun_oldest);
    } catch (const std::exception&) {  // no thread to be had: the ring still has the line
      pool_.reset();
      return false;
    }
    logger_->set_level(spdlog::level::trace);
    logger_->flush_on(spdlog::level::trace);  // by the writer thread, so that tail -f works
    return true;
  }

  // Held while a file is opened, which may take for ever: whoever logs takes mutex_ alone.
  Mutex opening_;
  LogTarget target_ GUARDED_BY(opening_);
  const std::shared_ptr<spdlog::sinks::dist_sink_mt> sinks_ =
      std::make_shared<spdlog::sinks::dist_sink_mt>();  // locks itself
  Mutex mutex_;
  std::shared_ptr<spdlog::details::thread_pool> pool_ GUARDED_BY(mutex_);
  std::shared_ptr<spdlog::async_logger> logger_ GUARDED_BY(mutex_);
  uint64_t dropped_ GUARDED_BY(mutex_) = 0;
};

struct Logger {
  Ring ring;
  Writer writer;
};

// Never destroyed: threads of the host may log while the process exits.
Logger& logger() {
  static Logger* const instance = new Logger;
  return *instance;
}

pid_t thread_id() {
  thread_local const pid_t id = static_cast<pid_t>(::syscall(SYS_gettid));
  return id;
}

void append_header(fmt::memory_buffer& line, Subsystem subsystem, int level) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  const std::time_t seconds = micros / 1'000'000;
  std::tm local{};
  ::localtime_r(&seconds, &local);
  fmt::format_to(std::back_inserter(line), "{:%Y-%m-%dT%H:%M:%S}.{:06}{:%z} {} {:>2} {}: ", local,
                 micros % 1'000'000, local, thread_id(), level, subsystem_name(subsystem));
}

}  // namespace

namespace internal {

std::atomic<int8_t> log_thresholds[kSubsystems] = {5, 5, 5, 1, 5, 5, 5, 5, 5, 5};

void log_vwrite(Subsystem subsystem, int level, fmt::string_view format,
                fmt::format_args args) noexcept {
  fmt::memory_buffer line;
  append_header(line, subsystem, level);
  fmt::vformat_to(std::back_inserter(line), format, args);
  if (line.size() > kMaxLineBytes) line.resize(kMaxLineBytes);
  std::string text = visible_text({line.data(), line.size()});
  for (char& c : text) {
    if (c == '\n' || c == '\t') c = ' ';  // one line, whatever a peer sent
  }
  Logger& log = logger();
  log.ring.push(text);
  if (level <= output_levels[static_cast<std::size_t>(subsystem)].load(std::memory_order_relaxed)) {
    log.writer.write(level, text);
  }
}

void log_dump_ring(int fd) noexcept { logger().ring.write_to(fd); }

}  // namespace internal

Outcome<void> log_open(const LogTarget& target) { return logger().writer.open(target); }
Outcome<void> log_reopen() {
  auto opened = run_in_time<Outcome<void>>([] { return logger().writer.reopen(); }, kReopenTime);
  return opened ? std::move(*opened) : Writer::still_opening();
}
void log_flush() { logger().writer.flush(); }
std::vector<std::string> log_recent() { return logger().ring.lines(); }
uint64_t log_dropped() noexcept { return logger().writer.dropped(); }

void log_set_levels(Subsystem subsystem, LogLevels levels) noexcept {
  const auto index = static_cast<std::size_t>(subsystem);
  output_levels[index].store(static_cast<int8_t>(levels.output), std::memory_order_relaxed);
  internal::log_thresholds[index].store(static_cast<int8_t>(std::max(levels.output, levels.gather)),
                                        std::memory_order_relaxed);
}

LogLevels log_levels(Subsystem subsystem) noexcept {
  const auto index = static_cast<std::size_t>(subsystem);
  return {output_levels[index].load(std::memory_order_relaxed),
          internal::log_thresholds[index].load(std::memory_order_relaxed)};
}

std::string_view subsystem_name(Subsystem subsystem) noexcept {
  return kNames[static_cast<std::size_t>(subsystem)];
}

}  // namespace lunar
