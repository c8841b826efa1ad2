// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

namespace lunar::objecter {

// What an op waits for before it is sent.
enum class WaitReason : uint8_t {
  kMap,       // a map that has its pool, or a newer one
  kOsdDown,   // its OSD to come up and say hello
  kThrottle,  // other ops to end: objecter_inflight_ops, objecter_inflight_op_bytes
};

// Why an op is sent again.
enum class ResendReason : uint8_t {
  kNewMap,        // the map, or the server's answer, names another OSD
  kSessionReset,  // the server's session began anew
  kRetryInline,   // the server wants the data in the frame
};

// Why an op is cancelled.
enum class CancelReason : uint8_t {
  kTimeout,   // objecter_op_timeout is over
  kAbort,     // Objecter::cancel()
  kShutdown,  // Objecter::shutdown()
};

}  // namespace lunar::objecter
