// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <utility>

#include "msgr/net/link.h"

namespace lunar::msgr::rdma {

// A link, and something that has to live as long as it does. Loop-bound. Owns both.
template <typename Kept>
class ForwardingLink final : public Link {
 public:
  ForwardingLink(std::unique_ptr<Link> inner, Kept kept)
      : kept_(std::move(kept)), inner_(std::move(inner)) {}

  void set_handler(LinkHandler* handler) override { inner_->set_handler(handler); }
  const LinkCapabilities& capabilities() const noexcept override { return inner_->capabilities(); }
  Address local_address() const override { return inner_->local_address(); }
  Address peer_address() const override { return inner_->peer_address(); }
  std::size_t queued_bytes() const noexcept override { return inner_->queued_bytes(); }
  LinkCounters counters() const noexcept override { return inner_->counters(); }
  void send(Frame frame, IoDone sent) override { inner_->send(std::move(frame), std::move(sent)); }
  void wrap_stream(std::unique_ptr<StreamWrap> wrap) override {
    inner_->wrap_stream(std::move(wrap));
  }
  void pause_reading() override { inner_->pause_reading(); }
  void resume_reading() override { inner_->resume_reading(); }
  void abandon_payload(uint64_t tid) override { inner_->abandon_payload(tid); }
  void remote_read(RemoteKey from, RegisteredSlice local, IoDone done) override {
    inner_->remote_read(from, local, std::move(done));
  }
  void remote_write(RegisteredSlice local, RemoteKey to, IoDone done) override {
    inner_->remote_write(local, to, std::move(done));
  }
  Result<RemoteKey> expose(RegisteredSlice local, RemoteAccess access) override {
    return inner_->expose(local, access);
  }
  void revoke(const RemoteKey& key, IoDone done) override { inner_->revoke(key, std::move(done)); }
  void close(InlineFunction<void()> closed) override { inner_->close(std::move(closed)); }

 private:
  Kept kept_;
  const std::unique_ptr<Link> inner_;  // gone first
};

}  // namespace lunar::msgr::rdma
