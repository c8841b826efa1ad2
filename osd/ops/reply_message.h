// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <boost/intrusive/list.hpp>
#include <chrono>
#include <memory>
#include <utility>

#include "common/inline_function.h"
#include "common/perf_counters.h"
#include "msgr/message.h"
#include "objecter/protocol/osd_op.h"
#include "osd/ops/client_op.h"
#include "osd/ops/payload_push.h"

namespace lunar::osd {

// A kOsdOpReply on its way: shares the result, so that its data goes out from the buffer the store
// filled. If the data was pushed it says so on the link of the push; on another link, where the
// pushed bytes may be lost, it carries them.
//
// The data of an op that changes nothing can be read again. So this reply lets go of it when a link
// has sent it, when the session has no link, and when it has waited for long (WaitingReplies); if
// it has to be encoded afterwards, it says kRetryInline, and the client sends the op again. A
// client that is gone or does not read therefore keeps no buffers from the others.
//
// Loop-bound. Owned by the connection; `released` runs when that is done with it.
class ReplyMessage final : public msgr::OutMessage,
                           public boost::intrusive::list_base_hook<
                               boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct ReplyCounters {
    OneSidedCounters& one_sided;
    PerfCounter& reads_again;  // replies that said kRetryInline for data they had let go of
  };
  // `can_be_read_again`: the op is repeatable, and its result has data.
  ReplyMessage(msgr::MessageMeta meta, OsdReplyHeader header, OpResultRef result,
               std::shared_ptr<msgr::FairShares::Held> share, Push push, bool can_be_read_again,
               TimePoint now, ReplyCounters counters, InlineFunction<void()> released)
      : OutMessage(meta),
        header_(std::move(header)),
        result_(std::move(result)),
        share_(std::move(share)),
        push_(push),
        can_be_read_again_(can_be_read_again),
        since_(now),
        counters_(counters),
        released_(std::move(released)) {}
  ~ReplyMessage() override {
    result_.reset();  // the buffers go back first
    share_.reset();
    released_();
  }
  void encode(msgr::Link&, uint64_t link_generation, msgr::EncodedMessage& out) override {
    if (result_ == nullptr) return encode_retry(out);
    is_on_link_ = true;
    if (push_.link_generation != 0 && push_.link_generation == link_generation) {
      OsdReplyHeader pushed = header_;
      pushed.is_pushed = true;
      pushed.push_crc = push_.crc;
      pushed.bytes_inline -= result_->data_bytes();
      pushed.bytes_one_sided += result_->data_bytes();
      return objecter::encode(pushed, out.front);
    }
    if (push_.link_generation != 0) counters_.one_sided.push_repeated.add();
    objecter::encode(header_, out.front);
    for (const ReplyData& data : result_->data)
      if (!data.view().empty()) out.data.push_back(data.view());
  }
  void release_payload() noexcept override {
    is_on_link_ = false;
    let_go();
  }
  std::size_t data_bytes() const noexcept override {
    return result_ == nullptr ? 0 : result_->data_bytes();
  }

  bool can_be_read_again() const noexcept { return can_be_read_again_; }
  TimePoint since() const noexcept { return since_; }
  // Lets go of the data, unless a link is reading it.
  void let_go() noexcept {
    if (!can_be_read_again_ || is_on_link_) return;
    result_.reset();
    share_.reset();
    unlink();  // from WaitingReplies
  }

 private:
  void encode_retry(msgr::EncodedMessage& out) {
    counters_.reads_again.add();
    OsdReplyHeader retry;
    retry.tid = header_.tid;
    retry.attempt = header_.attempt;
    retry.error = OsdErrc::kRetryInline;
    retry.epoch = header_.epoch;
    retry.verifier = header_.verifier;
    objecter::encode(retry, out.front);
  }

  const OsdReplyHeader header_;
  OpResultRef result_;                             // null once its data was let go of
  std::shared_ptr<msgr::FairShares::Held> share_;  // of the pool, by that data
  const Push push_;
  const bool can_be_read_again_;
  const TimePoint since_;
  bool is_on_link_ = false;  // a link reads the data
  ReplyCounters counters_;
  InlineFunction<void()> released_;
};

// The replies whose data can be read again and has not left yet, oldest first. Loop-bound. Borrows
// them; one that is destroyed, or has let go of its data, leaves by itself.
class WaitingReplies {
 public:
  void add(ReplyMessage& reply) { replies_.push_back(reply); }
  // Those that wait since `limit` or before let go of their data. One that a link is reading stays.
  void release_until(ReplyMessage::TimePoint limit) noexcept {
    for (auto at = replies_.begin(); at != replies_.end() && at->since() <= limit;) {
      ReplyMessage& reply = *at++;
      reply.let_go();
    }
  }
  bool empty() const noexcept { return replies_.empty(); }

 private:
  boost::intrusive::list<ReplyMessage, boost::intrusive::constant_time_size<false>> replies_;
};

}  // namespace lunar::osd
