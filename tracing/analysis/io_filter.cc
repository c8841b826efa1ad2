// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tracing/analysis/io_filter.h"

#include <algorithm>
#include <cstdio>

#include "tracing/trace_enums.h"

namespace lunar::tracing {
namespace {

bool is_of_image(const IoRecord& io, const std::string& image) {
  if (io.lun == image) return true;
  return std::any_of(io.ios.begin(), io.ios.end(),
                     [&](const ImageIo& each) { return image_text(each.image_id) == image; });
}

bool is_of_process(const IoRecord& io, const std::string& wanted, const Processes& processes) {
  if (io.process < processes.size()) {
    const TracedProcess& gateway = processes[io.process];
    if (wanted == gateway.name() || wanted == gateway.program ||
        wanted == std::to_string(gateway.pid)) {
      return true;
    }
  }
  return std::any_of(io.ops.begin(), io.ops.end(), [&](const OpRecord& op) {
    return op.osd() >= 0 && wanted == "osd." + std::to_string(op.osd());
  });
}

// Seconds of `at` after the first event.
double seconds_after(int64_t at, int64_t begin) {
  return (static_cast<double>(at) - static_cast<double>(begin)) / 1e9;
}

std::string seconds_text(double seconds) {
  char text[40];
  std::snprintf(text, sizeof text, "%g s", seconds);
  return text;
}

}  // namespace

bool IoFilter::is_set() const noexcept {
  return !image.empty() || !process.empty() || type || from_s || until_s;
}

bool IoFilter::accepts(const IoRecord& io, const Processes& processes, int64_t begin) const {
  if (!is_set()) return true;
  if (!io.is_io()) return false;
  if (!image.empty() && !is_of_image(io, image)) return false;
  if (!process.empty() && !is_of_process(io, process, processes)) return false;
  if (type && std::none_of(io.ios.begin(), io.ios.end(),
                           [this](const ImageIo& each) { return each.type == *type; })) {
    return false;
  }
  const int64_t ended = io.ended() == kNever ? io.last : io.ended();
  if (from_s && seconds_after(ended, begin) < *from_s) return false;
  const int64_t began = io.began() == kNever ? io.first : io.began();
  return !until_s || seconds_after(began, begin) <= *until_s;
}

std::string IoFilter::words() const {
  std::string text = type ? io_type_name(*type) + " IOs" : "IOs";
  if (!image.empty()) text += " of " + image;
  if (!process.empty()) text += " of process " + process;
  if (from_s) text += " from " + seconds_text(*from_s);
  if (until_s) text += " until " + seconds_text(*until_s);
  return text;
}

Outcome<int64_t> io_type_of(const std::string& name) {
  std::string known;
  for (int64_t type = 0; type <= kTraceIoFlush; ++type) {
    if (io_type_name(type) == name) return type;
    known += (type > 0 ? ", " : "") + io_type_name(type);
  }
  return failure(std::errc::invalid_argument, "'" + name + "' is no kind of IO: " + known);
}

}  // namespace lunar::tracing
