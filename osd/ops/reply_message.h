// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <utility>

#include "common/inline_function.h"
#include "msgr/message.h"
#include "objecter/protocol/osd_op.h"
#include "osd/ops/client_op.h"
#include "osd/ops/payload_push.h"

namespace lunar::osd {

// A kOsdOpReply on its way: shares the result, so that its data goes out from the buffer the store
// filled. If the data was pushed it says so on the link of the push; on another link, where the
// pushed bytes may be lost, it carries them.
// Loop-bound. Owned by the connection; `released` runs when that is done with it.
class ReplyMessage final : public msgr::OutMessage {
 public:
  ReplyMessage(msgr::MessageMeta meta, OsdReplyHeader header, OpResultRef result, Push push,
               OneSidedCounters& counters, InlineFunction<void()> released)
      : OutMessage(meta),
        header_(std::move(header)),
        result_(std::move(result)),
        push_(push),
        counters_(counters),
        released_(std::move(released)) {}
  ~ReplyMessage() override {
    result_.reset();  // the buffers go back first
    released_();
  }
  void encode(msgr::Link&, uint64_t link_generation, msgr::EncodedMessage& out) override {
    if (push_.link_generation != 0 && push_.link_generation == link_generation) {
      OsdReplyHeader pushed = header_;
      pushed.is_pushed = true;
      pushed.push_crc = push_.crc;
      pushed.bytes_inline -= result_->data_bytes();
      pushed.bytes_one_sided += result_->data_bytes();
      return objecter::encode(pushed, out.front);
    }
    if (push_.link_generation != 0) counters_.push_repeated.add();
    objecter::encode(header_, out.front);
    for (const ReplyData& data : result_->data)
      if (!data.view().empty()) out.data.push_back(data.view());
  }
  std::size_t data_bytes() const noexcept override { return result_->data_bytes(); }

 private:
  const OsdReplyHeader header_;
  OpResultRef result_;
  const Push push_;
  OneSidedCounters& counters_;
  InlineFunction<void()> released_;
};

}  // namespace lunar::osd
