// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "osd/ops/client_op.h"

namespace lunar::osd {

// What one op may ask of this server. Immutable.
struct OpLimits {
  uint64_t max_object_bytes = 128u << 20;  // osd_max_object_size
  uint64_t max_write_bytes = 32u << 20;    // osd_max_write_size: data of one op
  uint64_t max_read_bytes = 16u << 20;     // buffers one op needs
  uint64_t max_reply_bytes = 64u << 20;    // ms_max_data_bytes: what a frame of ours may carry
  uint64_t max_metadata_bytes = 1u << 20;  // of a metadata object, and of a READ of a whole object
  // How long an op whose payload is in its client's memory waits for buffers before it is told to
  // send it.
  std::chrono::nanoseconds max_pull_wait{std::chrono::seconds(1)};
  // … and any other before it is told to come again. Well below what clients give an op in all.
  std::chrono::nanoseconds max_buffer_wait{std::chrono::seconds(5)};
  // How long an op waits for a newer map, or for its turn in its client session, before it is told
  // to come again: it holds its payload meanwhile.
  std::chrono::nanoseconds max_hold{std::chrono::seconds(5)};
  // How long the reply to a READ keeps its data while its client does not take it.
  std::chrono::nanoseconds reply_patience{std::chrono::seconds(3)};
};

// Checks an op that is valid as a message against the rules of this server, README.md "Ops":
// - steps that return or check something come before the first that changes, so that a check that
//   fails, and a read that does, leave the object as it was;
// - an ORWRITE comes after no other change of data, so that what it writes follows from the content
//   before the op, whatever store applies it;
// - ranges lie inside max_object_bytes, and data, buffers and what the reply may carry are bounded;
// - a metadata object has no xattrs, and stays below max_metadata_bytes.
// kOk, kInvalid or kTooLarge.
OsdErrc check_op(const OsdOpHeader& op, const OpLimits& limits) noexcept;

// Bytes of pool buffers that a step needs while it runs; 0 for most.
uint64_t buffer_bytes(const SubOp& step, const OpLimits& limits) noexcept;
// Whether any step does, or the payload is to be pulled.
bool needs_buffers(const ClientOp& op, const OpLimits& limits) noexcept;

// WRITESAME writes its pattern in buffers of about this size.
inline constexpr uint64_t kPatternBufferBytes = 256u << 10;

}  // namespace lunar::osd
