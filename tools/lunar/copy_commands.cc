// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "tools/lunar/allocated_runs.h"
#include "tools/lunar/command.h"
#include "tools/lunar/new_image.h"
#include "tools/lunar/sparse.h"
#include "tools/lunar/stop_signals.h"

// cp and sparsify: both read what is allocated, extent by extent, and ask nothing of the rest.

namespace lunar::tools {
namespace {

constexpr uint64_t kReadBytes = 4u << 20;
constexpr std::size_t kReadsInFlight = 8;
constexpr std::size_t kCopyGrain = 4096;  // zeroes of a copy that are shorter are written

struct CopyArguments {
  std::string from;
  std::string to;
  uint64_t object_size = 0;
  uint64_t stripe_unit = 0;
  uint32_t stripe_count = 0;
  std::string sparse;
  uint64_t sparse_size = 4096;
};

// Reads the allocated runs of an image, several at a time, and does something with each extent that
// was read. Borrows everything; run() once. Single-threaded.
class RunReader {
 public:
  struct ReadExtent {
    uint64_t offset = 0;
    std::vector<std::byte> data;
    int num_open = 1;  // what is still done with it, and the look at it itself
  };
  // Starts IOs for an extent; each calls finished(extent, result) at its end, and was counted in
  // num_open before it began.
  using Look = std::function<void(RunReader&, const std::shared_ptr<ReadExtent>&)>;

  RunReader(ClusterHandle& cluster, gateway::Image& source, ProgressLine& line, Look look)
      : cluster_(cluster), source_(source), line_(line), look_(std::move(look)) {}

  std::error_code run(const std::vector<AllocatedRun>& runs) {
    for (const AllocatedRun& run : runs) total_ += run.length;
    for (const AllocatedRun& run : runs) {
      for (uint64_t at = 0; at < run.length && !error_; at += kReadBytes) {
        cluster_.run_until([this] { return in_flight_ < kReadsInFlight || error_; });
        if (StopSignals::has_received() && !error_) error_ = StopSignals::error().code;
        if (!error_) start(run.offset + at, std::min(kReadBytes, run.length - at));
      }
    }
    cluster_.run_until([this] { return in_flight_ == 0; });
    return error_;
  }

  void finished(ReadExtent& extent, std::error_code error) {
    if (error && !error_) error_ = error;
    if (--extent.num_open != 0) return;
    --in_flight_;
    done_ += extent.data.size();
    line_.show(done_, total_);
  }

 private:
  void start(uint64_t offset, uint64_t length) {
    auto extent = std::make_shared<ReadExtent>();
    extent->offset = offset;
    extent->data.resize(length);
    ++in_flight_;
    source_.read(offset, extent->data, {}, [this, extent](const gateway::IoResult& result) {
      if (!result.error && !error_) look_(*this, extent);
      finished(*extent, result.error);
    });
  }

  ClusterHandle& cluster_;
  gateway::Image& source_;
  ProgressLine& line_;
  const Look look_;
  std::size_t in_flight_ = 0;
  uint64_t done_ = 0, total_ = 0;  // bytes
  std::error_code error_;
};

Outcome<void> copy_data(ClusterHandle& cluster, gateway::Image& from, gateway::Image& to,
                        bool shows_progress) {
  std::optional<ProgressLine> line(std::in_place, "looking for data", shows_progress);
  const auto runs = AllocatedRuns(cluster, from, *line).find(from.size());
  if (!runs) return failure(runs.error());
  line.emplace("copying", shows_progress, ProgressUnit::kBytes);
  RunReader work(cluster, from, *line, [&to](RunReader& each, const auto& extent) {
    for_each_nonzero_run(extent->data, kCopyGrain, [&](std::size_t at, std::size_t length) {
      ++extent->num_open;
      to.write(extent->offset + at, ConstBytes(extent->data).subspan(at, length), {},
               [&each, extent](const gateway::IoResult& result) {
                 each.finished(*extent, result.error);
               });
    });
  });
  std::error_code error = work.run(*runs);
  if (!error) error = flush_image(cluster, to);
  if (error) return failure(StopSignals::error_of("copy", error));
  return {};
}

Outcome<void> copy(CommandContext& context, const CopyArguments& arguments) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  auto from = (*cluster)->open_image(arguments.from, {.read_only = true});
  if (!from) return failure(from.error());
  gateway::CreateOptions options;
  options.size = (*from)->size();
  options.layout = (*from)->layout();
  if (arguments.object_size != 0) options.layout.object_size = arguments.object_size;
  // Of objects of another size it would be another striping, or none that is possible.
  if (arguments.object_size != 0 && options.layout.stripe_count == 1) {
    options.layout.stripe_unit = arguments.object_size;
  }
  if (arguments.stripe_unit != 0) options.layout.stripe_unit = arguments.stripe_unit;
  if (arguments.stripe_count != 0) options.layout.stripe_count = arguments.stripe_count;
  const auto made = make_filled_image(**cluster, arguments.to, options, [&](gateway::Image& to) {
    return copy_data(**cluster, **from, to, context.shows_progress());
  });
  const auto closed = (*cluster)->close_image(std::move(*from));
  return made ? closed : made;
}

// The blocks of `grain` bytes that are all zeroes, as runs: places in `data`.
template <typename Sink>
void for_each_zero_run(ConstBytes data, std::size_t grain, Sink&& sink) {
  std::size_t zero_from = 0;
  const auto end_at = [&](std::size_t end) {
    if (end > zero_from) sink(zero_from, end - zero_from);
  };
  for_each_nonzero_run(data, grain, [&](std::size_t at, std::size_t length) {
    end_at(at);
    zero_from = at + length;
  });
  end_at(data.size());
}

Outcome<uint64_t> free_zeroes(ClusterHandle& cluster, gateway::Image& image, uint64_t grain,
                              bool shows_progress) {
  std::optional<ProgressLine> line(std::in_place, "looking for data", shows_progress);
  const auto runs = AllocatedRuns(cluster, image, *line).find(image.size());
  if (!runs) return failure(runs.error());
  uint64_t freed = 0;
  line.emplace("looking for zeroes", shows_progress, ProgressUnit::kBytes);
  RunReader work(cluster, image, *line, [&](RunReader& each, const auto& extent) {
    for_each_zero_run(extent->data, grain, [&](std::size_t at, std::size_t length) {
      ++extent->num_open;
      freed += length;
      image.discard(extent->offset + at, length, {},
                    [&each, extent](const auto& result) { each.finished(*extent, result.error); });
    });
  });
  std::error_code error = work.run(*runs);
  if (!error) error = flush_image(cluster, image);
  if (error) return failure(StopSignals::error_of("sparsify", error));
  return freed;
}

// With the image's lock: what somebody writes between the read and the discard would be lost.
Outcome<void> sparsify(CommandContext& context, const CopyArguments& arguments) {
  const uint64_t grain = arguments.sparse_size;
  if (grain < 4096 || grain > kReadBytes || (grain & (grain - 1)) != 0) {
    return failure(std::errc::invalid_argument,
                   "--sparse-size must be a power of two from 4K to 4M");
  }
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  const StopSignals stop_signals;
  auto image = (*cluster)->open_image(arguments.sparse, {});
  if (!image) return failure(image.error());
  const auto freed = free_zeroes(**cluster, **image, grain, context.shows_progress());
  const auto closed = (*cluster)->close_image(std::move(*image));
  if (!freed) return failure(freed.error());
  nlohmann::ordered_json json = {{"zeroes_freed", *freed}};
  if (!context.wants_json()) json["zeroes_freed"] = size_text(*freed);
  print_json(context, json);
  return closed;
}

}  // namespace

void add_copy_commands(CLI::App& app, CommandContext& context) {
  const auto arguments = std::make_shared<CopyArguments>();
  auto* copied = context.add(app, "cp", "make an image that has the content of another one",
                             [&context, arguments] { return copy(context, *arguments); });
  copied->alias("copy");
  context.add_image_option(*copied, arguments->from,
                           "image to read, as [POOL/]IMAGE; nobody should write to it meanwhile");
  context.add_image_option(*copied, arguments->to, "image to make, as [POOL/]IMAGE", "to");
  add_size_option(*copied, "--object-size", arguments->object_size,
                  "bytes of a data object; without it, as the other image has it");
  add_size_option(*copied, "--stripe-unit", arguments->stripe_unit,
                  "bytes that go to one object before the next; without it, as the other has it");
  copied->add_option("--stripe-count", arguments->stripe_count,
                     "number of objects that are written side by side");

  auto* freed = context.add(app, "sparsify", "free the space of an image's zeroes",
                            [&context, arguments] { return sparsify(context, *arguments); });
  context.add_image_option(*freed, arguments->sparse,
                           "name of the image, as [POOL/]IMAGE; nobody else may have it open");
  add_size_option(*freed, "--sparse-size", arguments->sparse_size,
                  "zeroes are freed in blocks of this size (4K)");
}

}  // namespace lunar::tools
