// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/result.h"
#include "tracing/analysis/event.h"
#include "tracing/analysis/io_record.h"

namespace lunar::tracing {

// Which IOs a report is about: those that fulfil everything that is set. A value.
struct IoFilter {
  // With initializers, so that some of them can be named: {.image = "disk1"}.
  std::string image = {};    // name of the image, or its id as 16 hex digits
  std::string process = {};  // "tgtd[4711]", "tgtd", "4711", or "osd.1": IOs with an op there
  std::optional<int64_t> type = {};  // LunarTraceIoType
  // Under way then; seconds after the trace's first event.
  std::optional<double> from_s = {}, until_s = {};

  bool is_set() const noexcept;
  // `begin`: the time of the trace's first event.
  bool accepts(const IoRecord& io, const Processes& processes, int64_t begin) const;
  // "write IOs of disk1 from 1 s until 2.5 s". REQUIRES: is_set().
  std::string words() const;
};

// Of "write". The error is a sentence with the names that there are.
Outcome<int64_t> io_type_of(const std::string& name);

}  // namespace lunar::tracing
