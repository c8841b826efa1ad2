// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/keyring.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/event_center.h"

namespace lunar::msgr {

// The keyring of a program that runs for long: the file is read anew when it was replaced, and when
// somebody says so. What cannot be read, and what has lost the program's own key, changes nothing,
// and is logged once. A file that is being written is left until it stays as it is; if it does not
// for some looks, that is logged once, too.
//
// Loop-bound; the file is looked at on a thread of its own, since it might be on a file system that
// does not answer: such a look never ends, and the keys stay those that were read before. Owns the
// keyring; borrows the center, which outlives it. It may be destroyed at any time on the loop, but
// inside neither of its callbacks.
class KeyringWatch {
 public:
  // What was read of a keyring's file, when and whichever it was: what a watch begins with.
  class Reading;
  // Reads the file, blocking, on any thread.
  static Reading read(std::string file);
  // Begins with what was read, and touches no file. `own` is who uses it: if it has a key of its
  // own there, a file without one is never taken later. Errors are those of Keyring::load().
  static Outcome<std::unique_ptr<KeyringWatch>> create(EventCenter& center, Reading reading,
                                                       const EntityName& own);
  // Both, blocking.
  static Outcome<std::unique_ptr<KeyringWatch>> load(EventCenter& center, std::string file,
                                                     const EntityName& own);
  // A look that is under way ends later, and tells nobody.
  ~KeyringWatch();
  KeyringWatch(const KeyringWatch&) = delete;
  KeyringWatch& operator=(const KeyringWatch&) = delete;

  // The newest one that could be used. The reference stays good until the watch is destroyed; what
  // it refers to changes on the loop alone, before `on_changed`. Whoever took keys out of it goes
  // on with them.
  const Keyring& keyring() const noexcept { return keyring_; }
  // From now on looks at the file this often, and calls `on_changed` when keyring() has become what
  // is in it: also if that are the same keys. A change is noticed by the file's inode, size and
  // times, and taken when two looks, a second apart or the interval if that is less, have seen the
  // same. Once.
  void start(std::chrono::nanoseconds interval, UniqueFunction<void()> on_changed);
  // Reads the file, changed or not, as it is at this call or later: at once if it is as the last
  // look saw it, else when two looks have seen the same, as in start(). `done` runs after that, and
  // after `on_changed`, with the reason if the file could not be used; not as long as the file is
  // being written or cannot be looked at. It is dropped if the watch goes before. REQUIRES:
  // start().
  void reload(UniqueFunction<void(Outcome<void>)> done);

 private:
  // What tells one state of the file from another; all zero if it is not there.
  struct Stamp {
    uint64_t device = 0;
    uint64_t inode = 0;
    int64_t size = 0;
    int64_t modified_ns = 0;
    int64_t changed_ns = 0;
    bool operator==(const Stamp&) const = default;
  };
  // What one look at the file found: its stamp, and a keyring if it was read.
  struct Sighting;
  // What the thread that looks has of this, which it may outlive: null then.
  struct Shared;

  // At most one look is under way. The timer leads to the next one: after the interval, or sooner
  // if the file was found changed and is to be seen so again.
  KeyringWatch(EventCenter& center, std::string file, EntityName own);
  static Stamp stamp_of(const std::string& file);
  // Begins a look, which reads the file if somebody waits for reload(), if it was changed before
  // the last look and has stayed so, or if it could not be used the last time.
  void look();
  // A look is over.
  void on_seen(Sighting& seen);
  // The last look found no file that counts.
  void note_unsettled();
  // What was read becomes keyring(), if it can be used.
  void take(Outcome<Keyring> loaded);
  // Once for each problem, and not at each look.
  void complain(std::string problem);

  EventCenter& center_;
  const std::string file_;
  const EntityName own_;
  Keyring keyring_;
  bool needs_own_key_ = false;  // the first keyring had one
  // read_ differs from seen_ while the file is not settled.
  Stamp read_;              // of what keyring_ is from, or of what could not be used
  Stamp seen_;              // of the last look
  std::string problem_;     // with the file as it was read; empty if there is none
  uint32_t unsettled_ = 0;  // looks, one after the other, that have found it being written
  std::chrono::nanoseconds interval_{};
  UniqueFunction<void()> on_changed_;
  TimerId timer_ = TimerId::kNone;  // to the next look; none while one is under way
  bool is_looking_ = false;         // a look is under way
  std::vector<UniqueFunction<void(Outcome<void>)>>
      reloads_;  // to be done by a look that has not begun yet
  std::vector<UniqueFunction<void(Outcome<void>)>> promised_;  // by the one that is under way
  const std::shared_ptr<Shared> shared_;
};

// Move-only. Not thread-safe.
class KeyringWatch::Reading {
 public:
  // The keys, or why they could not be read.
  const Outcome<Keyring>& keyring() const noexcept { return keyring_; }

 private:
  friend class KeyringWatch;
  Reading(std::string file, Stamp stamp, Outcome<Keyring> keyring)
      : file_(std::move(file)), stamp_(stamp), keyring_(std::move(keyring)) {}

  std::string file_;
  Stamp stamp_;
  Outcome<Keyring> keyring_;
};

}  // namespace lunar::msgr
