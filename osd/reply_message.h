// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <utility>

#include "common/unique_function.h"
#include "msgr/message.h"
#include "objecter/protocol/osd_op.h"
#include "osd/client_op.h"

namespace lunar::osd {

// A kOsdOpReply on its way: shares the result, so that its data goes out from the buffer the store
// filled.
// Loop-bound. Owned by the connection; `released` runs when that is done with it.
class ReplyMessage final : public msgr::OutMessage {
 public:
  ReplyMessage(msgr::MessageMeta meta, OsdReplyHeader header, OpResultRef result,
               UniqueFunction<void()> released)
      : OutMessage(meta),
        header_(std::move(header)),
        result_(std::move(result)),
        released_(std::move(released)) {}
  ~ReplyMessage() override {
    result_.reset();  // the buffers go back first
    released_();
  }
  void encode(const msgr::LinkCapabilities&, uint64_t, msgr::EncodedMessage& out) override {
    objecter::encode(header_, out.front);
    for (const ReplyPiece& piece : result_->data)
      if (!piece.view().empty()) out.data.push_back(piece.view());
  }
  std::size_t data_bytes() const noexcept override { return result_->data_bytes(); }

 private:
  const OsdReplyHeader header_;
  OpResultRef result_;
  UniqueFunction<void()> released_;
};

}  // namespace lunar::osd
