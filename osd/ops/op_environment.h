// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "msgr/buffer.h"
#include "msgr/event_center.h"
#include "osd/durability.h"
#include "osd/object_data.h"
#include "osd/object_names.h"
#include "osd/object_vectors.h"
#include "osd/ops/one_sided_counters.h"
#include "osd/ops/op_check.h"
#include "osd/records/object_versions.h"
#include "osd/records/unflushed_ledger.h"

namespace lunar::osd {

// What ops use of a store. Borrowed, and outlives the executor. A value.
struct OpStore {
  ObjectData& data;
  ObjectNames& names;
  Durability& durability;            // for what the store does not make durable by itself
  msgr::BufferPool& buffers;         // that payload is best read into and written from
  ObjectVectors* vectors = nullptr;  // if the store applies vectors whole
};

// What the runs of all ops share. Everything is borrowed, and outlives the executor.
struct OpEnvironment {
  msgr::EventCenter& center;
  OpStore store;
  ObjectVersions& versions;
  UnflushedLedger& ledger;
  const OpLimits& limits;
  OneSidedCounters& one_sided;
};

}  // namespace lunar::osd
