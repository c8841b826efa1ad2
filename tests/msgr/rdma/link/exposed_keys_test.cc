// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/exposed_keys.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/msgr/link_fixture.h"

namespace lunar::msgr::rdma {
namespace {

class ExposedKeysTest : public testing::Test {
 protected:
  ExposedKeysTest() : center_(std::move(*EventCenter::create({}))) {
    mw_.rkey = 0x100;
    windows_.begin({{&mw_, mw_.rkey}});
  }
  Result<RemoteKey> expose() { return keys_.expose(memory_, {1, 2, &mr_}, RemoteAccess::kWrite); }
  std::vector<IoDone> unfinished() {
    std::vector<IoDone> out;
    keys_.take_unfinished(out);
    return out;
  }

  std::unique_ptr<EventCenter> center_;
  std::vector<std::byte> memory_ = std::vector<std::byte>(4096);
  ibv_mr mr_{};
  ibv_mw mw_{};
  WindowStock windows_{[] {}};
  ExposedKeys keys_{*center_, windows_};
};

TEST_F(ExposedKeysTest, AKeyIsOfAWindowOverTheRange) {
  const auto key = expose();
  ASSERT_TRUE(key);
  EXPECT_EQ(key->rkey, 0x101u) << "not the one it had";
  EXPECT_EQ(key->length, 4096u);
  const auto bind = keys_.begin_bind(key->rkey);
  ASSERT_TRUE(bind);
  EXPECT_EQ(bind->window, &mw_);
  EXPECT_EQ(bind->info.mr, &mr_);
  EXPECT_EQ(bind->info.addr, reinterpret_cast<uint64_t>(memory_.data()));
  EXPECT_EQ(bind->info.length, 4096u);
  EXPECT_EQ(bind->info.mw_access_flags, static_cast<unsigned>(IBV_ACCESS_REMOTE_WRITE));
  EXPECT_FALSE(keys_.begin_bind(key->rkey)) << "once";
  const auto none = expose();
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error(), std::errc::no_buffer_space);
}

TEST_F(ExposedKeysTest, WithThePeersWordThatItIsThroughTheWindowIsUsedAgain) {
  const auto key = expose();
  ASSERT_TRUE(keys_.begin_bind(key->rkey));
  EXPECT_TRUE(keys_.begin_revoke(key->rkey, {}));
  EXPECT_FALSE(expose()) << "not before it is invalidated";
  keys_.on_invalidated(key->rkey);
  EXPECT_EQ(mw_.rkey, key->rkey);
  const auto next = expose();
  ASSERT_TRUE(next);
  EXPECT_EQ(next->rkey, 0x102u);
}

TEST_F(ExposedKeysTest, TakenBackByForceItsWindowStaysUntilTheQpEnds) {
  const auto key = expose();
  ASSERT_TRUE(keys_.begin_bind(key->rkey));
  SentCounter revoked;
  EXPECT_TRUE(keys_.begin_revoke(key->rkey, revoked.add()));
  keys_.on_invalidated(key->rkey);
  EXPECT_EQ(revoked.total(), 0u) << "done runs later";
  center_->run_until_idle();
  EXPECT_EQ(revoked.total(), 1u);
  EXPECT_FALSE(revoked.results[0]);
  EXPECT_FALSE(expose());
  EXPECT_EQ(keys_.take_bound_windows(), std::vector<ibv_mw*>{&mw_});
  EXPECT_TRUE(keys_.take_bound_windows().empty()) << "once";
}

TEST_F(ExposedKeysTest, RevokedBeforeItsBindItIsNeverBound) {
  const auto key = expose();
  EXPECT_FALSE(keys_.begin_revoke(key->rkey, {})) << "nothing to invalidate";
  EXPECT_FALSE(keys_.begin_bind(key->rkey));
  EXPECT_TRUE(keys_.take_bound_windows().empty());
  const auto next = expose();
  ASSERT_TRUE(next);
  EXPECT_NE(next->rkey, key->rkey) << "a frame may still carry that";
}

TEST_F(ExposedKeysTest, WhatIsNoKeyOrWasRevokedIsRefused) {
  SentCounter revoked;
  EXPECT_FALSE(keys_.begin_revoke(1, revoked.add()));
  const auto key = expose();
  ASSERT_TRUE(keys_.begin_bind(key->rkey));
  EXPECT_TRUE(keys_.begin_revoke(key->rkey, revoked.add()));
  EXPECT_FALSE(keys_.begin_revoke(key->rkey, revoked.add()));
  center_->run_until_idle();
  EXPECT_EQ(revoked.results[0], std::errc::operation_not_supported);
  EXPECT_EQ(revoked.results[2], std::errc::operation_not_supported);
  EXPECT_EQ(revoked.runs[1], 0);
}

TEST_F(ExposedKeysTest, AtTheEndWindowsAndCallbacksAreTaken) {
  const auto key = expose();
  ASSERT_TRUE(keys_.begin_bind(key->rkey));
  SentCounter revoked;
  EXPECT_TRUE(keys_.begin_revoke(key->rkey, revoked.add()));
  EXPECT_EQ(keys_.take_bound_windows().size(), 1u);
  keys_.on_invalidated(key->rkey);
  center_->run_until_idle();
  EXPECT_EQ(revoked.total(), 0u) << "the link's end says it";
  EXPECT_EQ(unfinished().size(), 1u);
  EXPECT_EQ(unfinished().size(), 0u);
}

TEST_F(ExposedKeysTest, AWindowThatWasNeverBoundOutlivesTheQp) {
  ASSERT_TRUE(expose());
  EXPECT_TRUE(keys_.take_bound_windows().empty());
  EXPECT_TRUE(expose());
}

}  // namespace
}  // namespace lunar::msgr::rdma
