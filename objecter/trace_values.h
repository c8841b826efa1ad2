// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

namespace lunar::objecter {

// The number that trace events record for a value of one of this layer's enumerations: Delivery and
// DeliveryReason here, and the private ones of an op's life. The numbers are frozen
// (tracing/trace_enums.h), for traces outlive the program that wrote them; the enumerations follow
// them, one to one, and the assertions of objecter/ops/trace_reasons.h hold them to it.
// Pure.
template <typename E>
constexpr uint8_t trace_value(E value) noexcept {
  return static_cast<uint8_t>(value);
}

}  // namespace lunar::objecter
