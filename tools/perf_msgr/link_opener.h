// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>

#include "common/inline_function.h"
#include "common/result.h"
#include "msgr/messenger.h"

namespace lunar::perf_msgr {

// The fastest link to a server that a stack knows: what connect() gives, carried over by upgrade()
// if the stack has one. An upgrade that fails is an error: a benchmark must not fall back
// unnoticed. Loop-bound; destroying it gives up, and no `done` runs.
class LinkOpener final : msgr::LinkHandler {
 public:
  using Done = InlineFunction<void(Outcome<std::unique_ptr<msgr::Link>>)>;
  LinkOpener(msgr::EventCenter& center, msgr::NetworkStack& stack, const msgr::Address& server,
             Done done);
  ~LinkOpener();

 private:
  Bytes payload_for(const msgr::FrameHeader&, ConstBytes) override { return {}; }
  void on_frame(msgr::ReceivedFrame frame) override;
  void on_closed(std::error_code why) override;

  void connected(Result<std::unique_ptr<msgr::Link>> link);
  void prepared(Outcome<std::vector<std::byte>> offer);
  void on_opened(Result<std::unique_ptr<msgr::Link>> link);
  void finish(Outcome<std::unique_ptr<msgr::Link>> result);
  void fail_with(std::error_code why, const char* what);

  msgr::EventCenter& center_;
  msgr::NetworkStack& stack_;
  const msgr::Address server_;
  Done done_;
  std::unique_ptr<msgr::PendingConnect> pending_;
  std::unique_ptr<msgr::Link> first_;
  std::unique_ptr<msgr::LinkUpgrade> upgrade_;
};

// Closes a link and destroys it when it may be; the center must go on turning until then.
void close_and_forget(std::unique_ptr<msgr::Link> link);

}  // namespace lunar::perf_msgr
