// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "msgr/connection.h"

namespace lunar::test {

// A connection on which nothing happens: no link, messages vanish, and each `done` runs later. What
// a test fakes it overrides.
class InertConnection : public msgr::Connection {
 public:
  explicit InertConnection(msgr::EventCenter& center) : Connection(center, {}) {}
  void send(std::unique_ptr<msgr::OutMessage>) override {}
  void withdraw(uint64_t, InlineFunction<void()> done) override { center().post(std::move(done)); }
  void revoke(const msgr::RemoteKey&, InlineFunction<void()> done) override {
    if (done) center().post(std::move(done));
  }
  void remote_read(const msgr::RemoteKey&, msgr::RegisteredSlice, msgr::IoDone) override {}
  void remote_write(msgr::RegisteredSlice, const msgr::RemoteKey&, msgr::IoDone) override {}
  uint64_t link_generation() const noexcept override { return 0; }
  msgr::LinkCapabilities link_capabilities() const noexcept override { return {}; }
  void close() noexcept override {}
};

}  // namespace lunar::test
