// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "osd/object_store.h"
#include "osd/ops/one_sided_counters.h"
#include "osd/ops/op_check.h"
#include "osd/records/object_versions.h"
#include "osd/records/unflushed_ledger.h"

namespace lunar::osd {

// What the runs of all ops share. Everything is borrowed, and outlives the executor.
struct OpEnvironment {
  msgr::EventCenter& center;
  ObjectStore& store;
  ObjectVersions& versions;
  UnflushedLedger& ledger;
  const OpLimits& limits;
  OneSidedCounters& one_sided;
};

}  // namespace lunar::osd
