// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/keyring_watch.h"

#include <sys/stat.h>

#include <algorithm>
#include <iterator>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "common/check.h"
#include "common/log_limited.h"
#include "common/signals.h"

namespace lunar::msgr {
namespace {

constexpr std::chrono::seconds kSettle{1};  // for which a file that changed has to stay as it is
constexpr uint32_t kUnsettledLooks = 10;    // after which a file that is being written is logged

int64_t nanoseconds_of(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

struct KeyringWatch::Sighting {
  Stamp stamp;
  std::optional<Outcome<Keyring>> keyring;  // empty: the file was not read
};

struct KeyringWatch::Shared {
  std::mutex mutex;
  KeyringWatch* watch = nullptr;  // null once it is gone; set on the loop, under the mutex
};

KeyringWatch::KeyringWatch(EventCenter& center, std::string file, EntityName own)
    : center_(center),
      file_(std::move(file)),
      own_(std::move(own)),
      shared_(std::make_shared<Shared>()) {
  shared_->watch = this;
}

KeyringWatch::~KeyringWatch() {
  center_.cancel(timer_);
  const std::lock_guard lock(shared_->mutex);
  shared_->watch = nullptr;
}

KeyringWatch::Reading KeyringWatch::read(std::string file) {
  const Stamp stamp = stamp_of(file);
  auto keyring = Keyring::load(file);
  return {std::move(file), stamp, std::move(keyring)};
}

Outcome<std::unique_ptr<KeyringWatch>> KeyringWatch::load(EventCenter& center, std::string file,
                                                          const EntityName& own) {
  return create(center, read(std::move(file)), own);
}

Outcome<std::unique_ptr<KeyringWatch>> KeyringWatch::create(EventCenter& center, Reading reading,
                                                            const EntityName& own) {
  if (!reading.keyring_) return failure(reading.keyring_.error());
  std::unique_ptr<KeyringWatch> watch(new KeyringWatch(center, std::move(reading.file_), own));
  watch->read_ = watch->seen_ = reading.stamp_;
  watch->keyring_ = std::move(*reading.keyring_);
  watch->needs_own_key_ = watch->keyring_.find(own) != nullptr;
  return watch;
}

KeyringWatch::Stamp KeyringWatch::stamp_of(const std::string& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return {};
  return {status.st_dev, status.st_ino, status.st_size, nanoseconds_of(status.st_mtim),
          nanoseconds_of(status.st_ctim)};
}

void KeyringWatch::start(std::chrono::nanoseconds interval, UniqueFunction<void()> on_changed) {
  LUNAR_CHECK(interval_.count() == 0, "a keyring is watched twice");
  interval_ = interval;
  on_changed_ = std::move(on_changed);
  timer_ = center_.run_after(interval_, [this] { look(); });
}

void KeyringWatch::reload(UniqueFunction<void(Outcome<void>)> done) {
  LUNAR_CHECK(interval_.count() != 0, "a keyring is read anew before it is watched");
  reloads_.push_back(std::move(done));
  if (is_looking_) return;     // it may have read what was there before
  if (seen_ != read_) return;  // it is being written, and the next look is not to come sooner
  center_.cancel(std::exchange(timer_, TimerId::kNone));
  look();
}

void KeyringWatch::look() {
  timer_ = TimerId::kNone;
  is_looking_ = true;
  promised_ = std::exchange(reloads_, {});
  const bool reads = !promised_.empty();
  const bool was_bad = !problem_.empty();
  const BlockAllSignals blocked;
  try {
    std::thread([shared = shared_, file = file_, seen = seen_, read = read_, reads, was_bad] {
      name_this_thread("lunar-keys");
      auto sighting = std::make_unique<Sighting>();
      sighting->stamp = stamp_of(file);
      const bool is_settled = sighting->stamp == seen || sighting->stamp == read;
      const bool is_new = sighting->stamp != read || was_bad;
      if (is_settled && (reads || is_new)) sighting->keyring = Keyring::load(file);
      // What was written to meanwhile may be half of it: the next look finds another one.
      if (stamp_of(file) != sighting->stamp) sighting->keyring.reset();
      const std::lock_guard lock(shared->mutex);
      if (shared->watch == nullptr) return;
      shared->watch->center_.post([shared, sighting = std::move(sighting)] {
        if (shared->watch != nullptr) shared->watch->on_seen(*sighting);
      });
    }).detach();
  } catch (const std::system_error& error) {  // no thread to be had now
    LUNAR_LOG_LIMITED(kAuth, 0, "keyring {}: cannot be looked at: {}; it is tried again", file_,
                      error.code().message());
    Sighting none;
    none.stamp = seen_;
    on_seen(none);
  }
}

void KeyringWatch::on_seen(Sighting& seen) {
  is_looking_ = false;
  seen_ = seen.stamp;
  auto promised = std::exchange(promised_, {});
  if (seen.keyring) {
    unsettled_ = 0;
    read_ = seen.stamp;
    take(std::move(*seen.keyring));
    for (auto& done : promised) {
      if (problem_.empty())
        done({});
      else
        done(failure(std::errc::invalid_argument, problem_));
    }
  } else {  // a file that was asked for is still being written: it is asked for again
    reloads_.insert(reloads_.begin(), std::make_move_iterator(promised.begin()),
                    std::make_move_iterator(promised.end()));
  }
  if (is_looking_) return;  // somebody has asked for it just now
  if (!reloads_.empty() && seen.keyring) return look();
  const bool is_settling = seen_ != read_ || !reloads_.empty();
  note_unsettled();
  timer_ = center_.run_after(
      is_settling ? std::min<std::chrono::nanoseconds>(interval_, kSettle) : interval_,
      [this] { look(); });
}

void KeyringWatch::note_unsettled() {
  if (seen_ == read_)
    unsettled_ = 0;
  else if (++unsettled_ == kUnsettledLooks)
    LUNAR_LOG(kAuth, 0,
              "keyring {}: is written to again and again, and is read once it stays as it is; the "
              "keys that were read before go on counting",
              file_);
}

void KeyringWatch::take(Outcome<Keyring> loaded) {
  if (!loaded) return complain(loaded.error().message);
  if (needs_own_key_ && loaded->find(own_) == nullptr) {
    return complain("keyring " + file_ + ": has no key of " + own_.to_string() +
                    " itself; it is somebody else's, or not all of it was written");
  }
  problem_.clear();
  keyring_ = std::move(*loaded);
  LUNAR_LOG(kAuth, 0, "keyring {} was read anew: keys of {} entities", file_, keyring_.size());
  on_changed_();
}

void KeyringWatch::complain(std::string problem) {
  if (problem != problem_) {
    LUNAR_LOG(kAuth, 0, "{}; the keys that were read before go on counting", problem);
  }
  problem_ = std::move(problem);
}

}  // namespace lunar::msgr
