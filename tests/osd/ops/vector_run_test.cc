// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/vector_run.h"

#include <utility>

#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

// A store that only notes which vectors it is to apply.
class NotedVectors final : public ObjectVectors {
 public:
  explicit NotedVectors(msgr::EventCenter& center) : center_(center) {}
  void apply(ObjectVector wanted, Done done) override {
    last = std::move(wanted);
    center_.post(UniqueFunction<void()>([this, done = std::move(done)]() mutable {
      VectorResult result;
      result.steps.resize(last.steps.size());
      done(result);
    }));
  }

  ObjectVector last;

 private:
  msgr::EventCenter& center_;
};

class VectorRunTest : public ExecutorFixture {
 protected:
  VectorRunTest() {
    OpStore store = op_store();
    store.vectors = &vectors_;
    executor = std::make_unique<OpExecutor>(
        OpEnvironment{*center, store, *versions, *ledger, limits, one_sided},
        [this](ClientOpRef op, OpResultRef result) {
          results.emplace(op->header.tid, std::move(result));
        });
  }
  NotedVectors vectors_{*center};
};

TEST_F(VectorRunTest, TheStoreHearsWhetherAnOpMayBeRepeated) {
  ASSERT_EQ(error_of(Vector().compare(0, "a").write(0, "b")), OsdErrc::kOk);
  EXPECT_FALSE(vectors_.last.is_repeatable);
  Vector write = Vector().write(0, "b");
  write.op()->header.flags |= objecter::kOpIdempotent;
  ASSERT_EQ(error_of(std::move(write)), OsdErrc::kOk);
  EXPECT_TRUE(vectors_.last.is_repeatable);
}

}  // namespace
}  // namespace lunar::osd
