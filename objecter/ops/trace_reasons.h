// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "objecter/delivery.h"
#include "objecter/ops/op_reasons.h"
#include "objecter/trace_values.h"
#include "tracing/trace_enums.h"

namespace lunar::objecter {

// The enumerations of this folder have the numbers of the trace events: see trace_value().

static_assert(trace_value(Delivery::kInline) == kTracePathInline);
static_assert(trace_value(Delivery::kOneSided) == kTracePathOneSided);

static_assert(trace_value(DeliveryReason::kEligible) == kTracePathEligible);
static_assert(trace_value(DeliveryReason::kBelowThreshold) == kTracePathBelowThreshold);
static_assert(trace_value(DeliveryReason::kNotRegistered) == kTracePathNotRegistered);
static_assert(trace_value(DeliveryReason::kForeignMemory) == kTracePathForeignMemory);
static_assert(trace_value(DeliveryReason::kPeerLacks) == kTracePathPeerLacks);
static_assert(trace_value(DeliveryReason::kResend) == kTracePathResend);
static_assert(trace_value(DeliveryReason::kLinkLacks) == kTracePathLinkLacks);
static_assert(trace_value(DeliveryReason::kOpKind) == kTracePathOpKind);
static_assert(trace_value(DeliveryReason::kNoKey) == kTracePathNoKey);
static_assert(trace_value(DeliveryReason::kRetryInline) == kTracePathRetryInline);
static_assert(trace_value(DeliveryReason::kDamaged) == kTracePathDamaged);

static_assert(trace_value(WaitReason::kMap) == kTraceWaitMap);
static_assert(trace_value(WaitReason::kOsdDown) == kTraceWaitOsdDown);
static_assert(trace_value(WaitReason::kThrottle) == kTraceWaitThrottle);

static_assert(trace_value(ResendReason::kNewMap) == kTraceResendNewMap);
static_assert(trace_value(ResendReason::kSessionReset) == kTraceResendSessionReset);
static_assert(trace_value(ResendReason::kRetryInline) == kTraceResendRetryInline);

static_assert(trace_value(CancelReason::kTimeout) == kTraceCancelTimeout);
static_assert(trace_value(CancelReason::kAbort) == kTraceCancelAbort);
static_assert(trace_value(CancelReason::kShutdown) == kTraceCancelShutdown);

}  // namespace lunar::objecter
