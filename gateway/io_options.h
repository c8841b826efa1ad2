// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <system_error>

#include "common/inline_function.h"
#include "msgr/buffer.h"

namespace lunar::gateway {

// How an IO on an image is asked for, and how it ends.

// What every IO may be given. A value.
struct IoOptions {
  // Force Unit Access (SBC-4): what is written is durable at done. Of no meaning for reads.
  bool fua = false;
  // The id that traces show and Image::cancel() takes. 0: a new one; else one that
  // Client::next_io_id() gave, and that no other IO in flight has.
  uint64_t io_id = 0;
  // The lease that the memory of the IO lies in, whole, if it is one of
  // Client::front_end_buffers(): then the payload may move by RDMA. Borrowed until done. Null: any
  // other memory; its bytes travel in frames.
  const msgr::RegisteredBuffer* memory = nullptr;
};

// How an IO ended. A value.
struct IoResult {
  // Of the extent that failed first; the other extents may have been carried out. What it may be:
  // see Image.
  std::error_code error;
  // As `error`; if that is kUnknownOutcome for want of an answer, why there is none.
  std::error_code reason;
  // COMPARE AND WRITE that ended with kMiscompare: the first byte that differs, counted from the
  // start of the IO.
  uint64_t value = 0;
  // Payload bytes carried in frames, and moved by RDMA READ or WRITE.
  uint64_t bytes_inline = 0;
  uint64_t bytes_one_sided = 0;
};

// Runs exactly once, later than the call it was given to, on the loop of the client.
using ImageIoDone = InlineFunction<void(IoResult)>;

}  // namespace lunar::gateway
