// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <utility>

#include "common/perf_counters.h"
#include "msgr/local/local_stack.h"
#include "tests/common/temp_folder.h"

namespace lunar::msgr::local {

// A local stack with a run_dir of its own.
class FolderStack final : public NetworkStack {
 public:
  explicit FolderStack(PosixStackOptions posix = {}, std::size_t front_end_bytes = 64u << 20)
      : stack_(std::move(
            *LocalStack::create({folder_.path(), front_end_bytes}, std::move(posix), &perf_))) {}
  std::unique_ptr<PendingConnect> connect(EventCenter& center, const Address& peer,
                                          ConnectDone done) override {
    return stack_->connect(center, peer, std::move(done));
  }
  Outcome<std::unique_ptr<Listener>> listen(EventCenter& center, const Address& local,
                                            AcceptCallback on_accept) override {
    return stack_->listen(center, local, std::move(on_accept));
  }
  BufferPool& buffers() noexcept override { return stack_->buffers(); }
  BufferPool& front_end_buffers() noexcept override { return stack_->front_end_buffers(); }
  bool supports_one_sided() const noexcept override { return stack_->supports_one_sided(); }

  const PerfRegistry& perf() const noexcept { return perf_; }
  std::string run_dir() const { return folder_.path(); }

 private:
  const test::TempFolder folder_;
  PerfRegistry perf_;
  const std::unique_ptr<LocalStack> stack_;
};

}  // namespace lunar::msgr::local
