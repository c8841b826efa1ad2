// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <fcntl.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/file.h"
#include "osd/store/file_environment.h"
#include "tests/osd/store/store_fixture.h"

namespace lunar::osd::test {

// Knows what the engine behind it is asked for, and keeps calls or answers them on demand.
class RecordingEngine final : public IoEngine {
 public:
  struct EngineCall {
    uint64_t offset;
    int flags;  // RWF_*; 0 of a read
    friend bool operator==(const EngineCall&, const EngineCall&) = default;
  };
  RecordingEngine(msgr::EventCenter& center, std::unique_ptr<IoEngine> engine)
      : center_(center), engine_(std::move(engine)) {}

  // The next read or write is not made, and has this result.
  void answer_next(int result) { answer_ = result; }
  // Writes are made by release() from now on.
  void hold_writes() { is_holding_ = true; }
  void release() {
    is_holding_ = false;
    for (; !held_.empty(); held_.pop_front()) held_.front()();
  }

  void read(IoFile file, Bytes into, uint64_t offset, Done done) override {
    reads.push_back({offset, 0});
    if (answer_) return answer(std::move(done));
    engine_->read(file, into, offset, std::move(done));
  }
  void write(IoFile file, ConstBytes from, uint64_t offset, int flags, Done done) override {
    writes.push_back({offset, flags});
    if (answer_) return answer(std::move(done));
    auto make = [this, file, from, offset, flags, done = std::move(done)]() mutable {
      engine_->write(file, from, offset, flags, std::move(done));
    };
    if (!is_holding_) return make();
    held_.emplace_back(std::move(make));
  }
  void sync(int fd, bool is_data_only, Done done) override {
    engine_->sync(fd, is_data_only, std::move(done));
  }
  const char* name() const noexcept override { return "recording"; }

  std::vector<EngineCall> reads;
  std::vector<EngineCall> writes;

 private:
  void answer(Done done) {
    center_.post(
        UniqueFunction<void()>([done = std::move(done),
                                result = *std::exchange(answer_, {})]() mutable { done(result); }));
  }

  msgr::EventCenter& center_;
  const std::unique_ptr<IoEngine> engine_;
  std::optional<int> answer_;
  bool is_holding_ = false;
  std::deque<UniqueFunction<void()>> held_;
};

// The parts of a store of files, but for the one that a test is about, in a folder of their own,
// over system calls that can be made to fail.
class FilePartsTest : public ::testing::Test, private LossSink {
 protected:
  explicit FilePartsTest(AttributeHome home = AttributeHome::kUserXattr)
      : attributes_(tree_, home) {
    EXPECT_EQ(reserve_.open(), std::error_code());
    reserve_.refill();
    EXPECT_TRUE(reserve_.is_full());
    fake_.take_calls();
  }
  ~FilePartsTest() override {
    fake_.heal();
    fake_.fail_open(0);
    flush();  // one in the background may run yet
  }

  std::error_code flush() {
    std::error_code result;
    bool is_done = false;
    flusher_.flush([&](std::error_code error) {  // inside the call if there is nothing to flush
      result = error;
      is_done = true;
    });
    driver_.run_until(is_done);
    return result;
  }
  void turn() { driver_.center().run_until_idle(); }
  void record_losses() {
    holds_losses_ = false;
    for (auto& then : std::exchange(held_losses_, {})) then();
  }
  // Lets the n-th of these calls, counted from 1, fail once.
  void fail_nth(const std::string& call, int n, int error) {
    auto seen = std::make_shared<std::atomic<int>>(0);
    fake_.set_rule([call, n, error, seen](const std::string& now) {
      return now == call && ++*seen == n ? -error : 0;
    });
  }
  // Makes an object of these bytes, without what is tested.
  void make_object(const ObjectId& id, ConstBytes bytes) {
    const auto opened = tree_.open(id, true);
    ASSERT_TRUE(opened);
    ASSERT_EQ(tree_.write_all(opened->fd.get(), bytes), std::error_code());
    fake_.take_calls();
  }
  // What its file holds; nothing if there is none.
  std::optional<std::string> content_of(const ObjectId& id) {
    auto text = read_file(path_ + "/" + ObjectPath(id).full(), 16 << 20);
    if (!text) return std::nullopt;
    return std::move(*text);
  }
  bool holds(const ObjectId& id, ConstBytes bytes) {
    const auto content = content_of(id);
    return content && *content == as_text(bytes);
  }

  StoreDriver driver_;
  TemporaryFolder folder_;
  const std::string path_ = folder_ / "data";
  FakeSyscalls fake_;
  const StoreTree tree_{
      fake_, [this] {
        EXPECT_TRUE(make_file_store(path_, Uuid::random(), 0));
        return UniqueFd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      }()};
  BlockingPool pool_{driver_.center(), 2};
  BlockingPool walks_{driver_.center(), 1};
  RecordingEngine engine_{driver_.center(), make_pool_engine(pool_, fake_)};
  std::vector<ObjectId> lost_;  // what the sink was told
  bool holds_losses_ = false;   // the sink has none on record until record_losses()
  Flusher flusher_{pool_, engine_, tree_, static_cast<LossSink&>(*this), 32};
  FileOpener files_{pool_, tree_, flusher_, 16};
  Reserve reserve_{tree_, 1 << 20};
  DataSpace space_{tree_, reserve_};
  StoreCalls calls_{driver_.center()};
  const Attributes attributes_;
  const FileEnvironment environment_{calls_, files_, flusher_, engine_,     pool_,
                                     walks_, tree_,  reserve_, attributes_, space_};
  const ObjectId id_{1, "object"};

 private:
  void on_write_back_error(std::error_code, std::vector<ObjectId> objects,
                           UniqueFunction<void()> then) override {
    lost_.insert(lost_.end(), objects.begin(), objects.end());
    if (!holds_losses_) return then();
    held_losses_.push_back(std::move(then));
  }
  std::vector<UniqueFunction<void()>> held_losses_;
};

}  // namespace lunar::osd::test
