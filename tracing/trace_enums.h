/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Values of the enumerated fields of our events, as they are recorded. Plain C: the probes are C,
 * the call sites C++. Values are never reused; their names in a trace are in the providers, and
 * README.md says what they mean. Immutable. */

enum LunarTraceIoType {
  kTraceIoRead = 0,
  kTraceIoWrite = 1,
  kTraceIoDiscard = 2,
  kTraceIoWriteZeroes = 3,
  kTraceIoWriteSame = 4,
  kTraceIoCompareAndWrite = 5,
  kTraceIoOrWrite = 6,
  kTraceIoFlush = 7,
};

enum LunarTraceSplitReason {
  kTraceSplitNone = 0,
  kTraceSplitObjectBoundary = 1,
  kTraceSplitStripe = 2,
  kTraceSplitFragment = 3,
};

enum LunarTracePath {
  kTracePathInline = 0,
  kTracePathOneSided = 1,
};

enum LunarTracePathReason {
  kTracePathEligible = 0,
  kTracePathBelowThreshold = 1,
  kTracePathNotRegistered = 2,
  kTracePathForeignMemory = 3,
  kTracePathSecureMode = 4,
  kTracePathPeerLacks = 5,
  kTracePathResend = 6,
  kTracePathLinkLacks = 7,
  kTracePathOpKind = 8,
  kTracePathNoKey = 9,
  kTracePathRetryInline = 10,
  kTracePathDamaged = 11,
};

enum LunarTraceWaitReason {
  kTraceWaitMap = 0,
  kTraceWaitOsdDown = 1,
  kTraceWaitThrottle = 2,
};

enum LunarTraceResendReason {
  kTraceResendNewMap = 0,
  kTraceResendSessionReset = 1,
  kTraceResendRetryInline = 2,
};

enum LunarTraceCancelReason {
  kTraceCancelTimeout = 0,
  kTraceCancelAbort = 1,
  kTraceCancelShutdown = 2,
};

enum LunarTraceStoreKind {
  kTraceStoreRead = 0,
  kTraceStoreWrite = 1,
  kTraceStoreZero = 2,
  kTraceStoreDelete = 3,
  kTraceStoreTruncate = 4,
  kTraceStoreFlush = 5,
  kTraceStoreStat = 6,
  kTraceStoreCompare = 7,
  kTraceStoreXattr = 8,
  kTraceStoreList = 9,
  kTraceStoreVector = 10, /* a vector of several ops */
};
