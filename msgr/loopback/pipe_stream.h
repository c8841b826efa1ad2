// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "msgr/event_center.h"
#include "msgr/loopback/loopback_stack.h"
#include "msgr/net/byte_stream.h"

namespace lunar::msgr {

// Two one-way rings of bytes between two streams, each on a center of its own. Thread-safe.
// Shared by the streams.
class PipePair;

// Makes both ends' addresses and rings. attach_pipe() turns end 0 or 1 into a stream, once each, on
// the loop of its center. An end that was never attached, or is gone, is the end of the stream to
// the other; drop_pipe_end() says that it will never be.
std::shared_ptr<PipePair> make_pipe_pair(const Address& address0, const Address& address1,
                                         std::size_t capacity_bytes);
std::unique_ptr<ByteStream> attach_pipe(EventCenter& center, std::shared_ptr<PipePair> pair,
                                        int end, LoopbackInjector* injector);
void drop_pipe_end(PipePair& pair, int end);

}  // namespace lunar::msgr
