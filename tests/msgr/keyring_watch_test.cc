// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/keyring_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "common/log.h"
#include "tests/common/temp_folder.h"
#include "tests/support/manual_clock.h"
#include "tests/support/turn_until.h"

namespace lunar::msgr {
namespace {

using namespace std::chrono_literals;

class KeyringWatchTest : public ::testing::Test {
 protected:
  KeyringWatchTest() {
    EventCenter::Options timed;
    timed.time = &clock_;
    center_ = std::move(*EventCenter::create(timed));
    keys_.generate(kOwn);
    save();
    watch_ = std::move(*KeyringWatch::load(*center_, path_, kOwn));
  }
  void save() { EXPECT_TRUE(keys_.save(path_)); }
  void start(std::chrono::nanoseconds interval) {
    watch_->start(interval, [this] { ++changes_; });
  }
  // A second of the center's time passes with each turn.
  bool until(const std::function<bool()>& done) {
    return test::turn_until(*center_, [&] {
      if (done()) return true;
      clock_.advance(1s);
      center_->post([] {});  // the clock wakes nobody
      return false;
    });
  }
  // What it says of the file; empty if it can be used.
  std::string reload() {
    std::optional<Outcome<void>> read;
    watch_->reload([&](Outcome<void> outcome) { read = std::move(outcome); });
    EXPECT_FALSE(read);
    EXPECT_TRUE(until([&] { return read.has_value(); }));
    if (!read) return "nothing";
    return *read ? "" : read->error().message;
  }
  bool knows(const EntityName& name) const { return watch_->keyring().contains(name); }

  static inline const EntityName kOwn{"osd", "0"};
  static inline const EntityName kOther{"client", "a"};
  const test::TempFolder folder_;
  const std::string path_ = folder_ / "keyring";
  test::ManualClock clock_;
  std::unique_ptr<EventCenter> center_;
  Keyring keys_;
  std::unique_ptr<KeyringWatch> watch_;
  int changes_ = 0;
};

TEST_F(KeyringWatchTest, AFileThatWasReplacedIsReadAnew) {
  start(5s);
  keys_.generate(kOther);
  save();
  ASSERT_TRUE(until([&] { return changes_ == 1; }));
  EXPECT_TRUE(knows(kOther));
  keys_.remove(kOther);
  save();
  ASSERT_TRUE(until([&] { return changes_ == 2; }));
  EXPECT_FALSE(knows(kOther));
}

TEST_F(KeyringWatchTest, BeginsWithWhatWasReadWhateverHasBecomeOfTheFile) {
  KeyringWatch::Reading reading = KeyringWatch::read(path_);
  EXPECT_TRUE(reading.keyring());
  std::filesystem::remove(path_);
  watch_ = std::move(*KeyringWatch::create(*center_, std::move(reading), kOwn));
  EXPECT_TRUE(knows(kOwn));
  start(1s);
  keys_.generate(kOther);
  save();
  ASSERT_TRUE(until([&] { return changes_ == 1; }));
  EXPECT_TRUE(knows(kOther));
}

TEST_F(KeyringWatchTest, AFileThatCouldNotBeReadIsNothingToBeginWith) {
  const auto made = KeyringWatch::create(*center_, KeyringWatch::read(folder_ / "none"), kOwn);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, ::testing::HasSubstr("none: cannot open"));
}

TEST_F(KeyringWatchTest, AFileThatStaysAsItIsIsNotRead) {
  start(1s);
  int turns = 0;
  until([&] { return ++turns == 1000; });
  EXPECT_EQ(changes_, 0);
}

TEST_F(KeyringWatchTest, ItIsReadWhenSomebodySaysSo) {
  start(1h);
  keys_.generate(kOther);
  save();
  reload();
  EXPECT_EQ(changes_, 1);
  EXPECT_TRUE(knows(kOther));
}

TEST_F(KeyringWatchTest, AFileThatIsStillBeingWrittenIsReadWhenItIsWhole) {
  keys_.generate(kOther);
  save();
  start(1h);
  reload();
  ASSERT_TRUE(knows(kOther));
  // In place, as an editor or scp does: the section of kOther comes last, and is missing first.
  Keyring changed = Keyring();
  changed.add(kOwn, keys_.find(kOwn)->clone());
  ASSERT_TRUE(changed.save(folder_ / "beginning"));
  const std::string beginning = folder_.read("beginning");
  keys_.generate(kOther);
  ASSERT_TRUE(keys_.save(folder_ / "whole"));
  const auto write = [this](const std::string& text) {
    std::ofstream(path_, std::ios::trunc) << text;
  };
  std::string written = beginning;
  write(written);
  bool is_done = false;
  watch_->reload([&](const Outcome<void>&) { is_done = true; });
  int turns = 0;
  until([&] {
    write(written += '\n');
    return is_done || ++turns == 1000;
  });
  ASSERT_FALSE(is_done) << "it may not be whole";
  EXPECT_TRUE(knows(kOther));
  write(folder_.read("whole"));
  ASSERT_TRUE(until([&] { return is_done; }));
  EXPECT_EQ(changes_, 2);
  EXPECT_TRUE(knows(kOther));
}

// A look that came at once found what the last one had found: half a file.
TEST_F(KeyringWatchTest, AFileThatHasChangedIsNotReadSoonerIfSomebodySaysSoAgain) {
  start(1h);
  keys_.generate(kOther);
  save();
  int done = 0;
  int turns = 0;
  test::turn_until(*center_, [&] {  // no time of the center's passes
    watch_->reload([&](const Outcome<void>&) { ++done; });
    center_->post([] {});
    return ++turns == 1000;
  });
  EXPECT_EQ(done, 0);
  ASSERT_TRUE(until([&] { return done == turns; }));
  EXPECT_TRUE(knows(kOther));
}

TEST_F(KeyringWatchTest, AFileThatIsWrittenToAgainAndAgainIsLoggedOnce) {
  start(1ms);
  const std::string text = folder_.read("keyring");
  std::string written = text;
  const auto lines = [] {
    const auto all = log_recent();
    return std::count_if(all.begin(), all.end(), [](const std::string& line) {
      return line.find("written to again and again") != std::string::npos;
    });
  };
  const auto before = lines();
  int looks = 0;
  const auto write_until = [&](const std::function<bool()>& is_over) {
    return until([&] {
      std::ofstream(path_, std::ios::trunc) << (written += '\n');
      return is_over();
    });
  };
  ASSERT_TRUE(write_until([&] { return lines() > before; }));
  write_until([&] { return ++looks > 200; });
  EXPECT_EQ(lines(), before + 1);
  ASSERT_TRUE(until([&] { return changes_ == 1; }));
}

TEST_F(KeyringWatchTest, WhoSaysSoTwiceSeesWhatWasThereTheSecondTime) {
  start(1h);
  int done = 0;
  watch_->reload([&](const Outcome<void>&) { ++done; });
  keys_.generate(kOther);
  save();
  watch_->reload([&](const Outcome<void>&) { ++done; });
  ASSERT_TRUE(until([&] { return done == 2; }));
  EXPECT_TRUE(knows(kOther));
}

TEST_F(KeyringWatchTest, WhatCannotBeReadLeavesTheKeysOfBefore) {
  start(1h);
  const Secret before = watch_->keyring().find(kOwn)->clone();
  const auto stays = [&] {
    EXPECT_NE(reload(), "");
    EXPECT_EQ(changes_, 0);
    EXPECT_TRUE(watch_->keyring().find(kOwn)->equals(before.bytes()));
  };
  folder_.write("keyring", "[osd.0]\n\tkey = not base64!\n");
  stays();
  keys_.generate(kOwn);
  save();
  ::chmod(path_.c_str(), 0644);
  stays();
  std::filesystem::remove(path_);
  stays();
  save();
  EXPECT_EQ(reload(), "");
  EXPECT_EQ(changes_, 1);
  EXPECT_TRUE(watch_->keyring().find(kOwn)->equals(keys_.find(kOwn)->bytes()));
}

TEST_F(KeyringWatchTest, TheKeyringOfAnotherServerLeavesTheKeysOfBefore) {
  start(1h);
  const EntityName neighbour{"osd", "1"};
  keys_.generate(neighbour);
  EXPECT_TRUE(keys_.derived_for(neighbour).save(path_));
  EXPECT_THAT(reload(), testing::HasSubstr("has no key of osd.0 itself"));
  EXPECT_EQ(changes_, 0);
  EXPECT_NE(watch_->keyring().find(kOwn), nullptr);
  folder_.write("keyring", "");  // as when it is being copied
  reload();
  EXPECT_EQ(changes_, 0);
}

TEST_F(KeyringWatchTest, AFileThatCouldNotBeReadIsTriedAgain) {
  start(5s);
  keys_.generate(kOther);
  save();
  ::chmod(path_.c_str(), 0640);
  reload();
  EXPECT_EQ(changes_, 0);
  ::chmod(path_.c_str(), 0600);
  ASSERT_TRUE(until([&] { return changes_ == 1; }));
  EXPECT_TRUE(knows(kOther));
}

TEST_F(KeyringWatchTest, ItCanGoWhileTheFileIsRead) {
  start(1h);
  bool is_done = false;
  watch_->reload([&](const Outcome<void>&) { is_done = true; });
  watch_.reset();
  const auto end = std::chrono::steady_clock::now() + 50ms;
  until([&] { return std::chrono::steady_clock::now() > end; });
  EXPECT_FALSE(is_done);
}

}  // namespace
}  // namespace lunar::msgr
