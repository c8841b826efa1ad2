// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/perf_msgr/link_opener.h"

#include <fmt/format.h>

#include <utility>

#include "msgr/errors.h"
#include "tools/perf_msgr/link_frames.h"

namespace lunar::perf_msgr {

void close_and_forget(std::unique_ptr<msgr::Link> link) {
  if (link == nullptr) return;
  msgr::Link& closing = *link;
  closing.close([link = std::move(link)] {});
}

LinkOpener::LinkOpener(msgr::EventCenter& center, msgr::NetworkStack& stack,
                       const msgr::Address& server, Done done)
    : center_(center), stack_(stack), server_(server), done_(std::move(done)) {
  pending_ = stack_.connect(center_, server_, [this](Result<std::unique_ptr<msgr::Link>> link) {
    connected(std::move(link));
  });
}

LinkOpener::~LinkOpener() {
  upgrade_.reset();
  close_and_forget(std::move(first_));
}

void LinkOpener::connected(Result<std::unique_ptr<msgr::Link>> link) {
  if (!link) return fail_with(link.error(), "cannot connect");
  upgrade_ = stack_.upgrade(center_, **link);
  if (upgrade_ == nullptr) return finish(std::move(*link));
  first_ = std::move(*link);
  first_->set_handler(this);
  upgrade_->prepare([this](Outcome<std::vector<std::byte>> offer) { prepared(std::move(offer)); });
}

void LinkOpener::prepared(Outcome<std::vector<std::byte>> offer) {
  if (!offer) return finish(failure(std::move(offer.error())));
  first_->send(make_frame(Type::kOffer, 0, std::move(*offer)), {});
}

void LinkOpener::on_frame(msgr::ReceivedFrame frame) {
  if (type_of(frame.header) != Type::kAnswer) {
    return fail_with(msgr::MsgrErrc::kBadFrame,
                     "the server does not answer as lunar-perf-msgr does");
  }
  if (frame.front.empty()) {
    const std::string why(as_text(frame.data));
    return finish(failure(std::errc::connection_refused,
                          fmt::format("{}: no RDMA at the server: {}", server_.to_string(), why)));
  }
  upgrade_->complete(frame.front, [this](Result<std::unique_ptr<msgr::Link>> link) {
    on_opened(std::move(link));
  });
}

void LinkOpener::on_opened(Result<std::unique_ptr<msgr::Link>> link) {
  if (!link) return fail_with(link.error(), "cannot complete the RDMA connection");
  upgrade_->succeeded();
  close_and_forget(std::move(first_));
  finish(std::move(*link));
}

void LinkOpener::on_closed(std::error_code why) {
  fail_with(why, "the connection broke while RDMA was set up");
}

void LinkOpener::fail_with(std::error_code why, const char* what) {
  finish(failure(why, fmt::format("{}: {}: {}", server_.to_string(), what, why.message())));
}

void LinkOpener::finish(Outcome<std::unique_ptr<msgr::Link>> result) {
  if (!done_) return;
  Done done = std::move(done_);
  done(std::move(result));  // may destroy this
}

}  // namespace lunar::perf_msgr
