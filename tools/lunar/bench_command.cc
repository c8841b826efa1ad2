// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <cstdio>

#include "common/visible_text.h"
#include "gateway/image_directory.h"
#include "tools/lunar/allocated_runs.h"
#include "tools/lunar/bench.h"
#include "tools/lunar/command.h"
#include "tools/lunar/stop_signals.h"

// `lunar bench`: like `rbd bench`, one image, a fixed size and depth.

namespace lunar::tools {
namespace {

struct BenchArguments {
  std::string spec;
  std::string type;
  std::string pattern = "seq";
  bool overwrites = false;
  uint32_t mix_percent = 50;  // reads of 100 IOs, of type readwrite
  BenchOptions options{.seed = 0};
};

// A write bench destroys what it writes over: there is nothing, or it is given up in so many words.
// Nobody else has the image open: its lock is ours.
Outcome<void> refuse_used(ClusterHandle& cluster, gateway::Image& image,
                          const BenchArguments& arguments) {
  if (arguments.overwrites) return {};
  const BenchOptions& options = arguments.options;
  const bool is_random = arguments.pattern == "rand";
  const uint64_t touched =
      is_random ? image.size() : std::min(image.size(), std::max(options.total, options.io_size));
  ProgressLine line("looking for data", false);
  const auto used = AllocatedRuns(cluster, image, line).find(touched, /*is_one_enough=*/true);
  if (!used) return failure(used.error());
  if (used->empty()) return {};
  return failure(objecter::OsdErrc::kNotPermitted,
                 "image '" + arguments.spec +
                     "' has data where the bench would write, and it would be destroyed; if that "
                     "is meant, repeat with --overwrite");
}

Outcome<void> bench(CommandContext& context, const BenchArguments& arguments) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  BenchOptions options = arguments.options;
  options.read_percent = arguments.mix_percent;
  if (arguments.type == "read") options.read_percent = 100;
  if (arguments.type == "write") options.read_percent = 0;
  const StopSignals stop_signals;  // a lock that nobody gives up would be waited for
  auto image = (*cluster)->open_image(arguments.spec, {.read_only = options.is_reading()});
  if (!image) return failure(image.error());
  if (options.io_size == 0 || options.io_size > (*image)->size()) {
    static_cast<void>((*cluster)->close_image(std::move(*image)));
    return failure(std::errc::invalid_argument,
                   "--io-size must be from 1 byte to the image's size");
  }
  if (!options.is_reading()) {
    if (const auto free = refuse_used(**cluster, **image, arguments); !free) {
      static_cast<void>((*cluster)->close_image(std::move(*image)));
      return free;
    }
  }
  options.is_random = arguments.pattern == "rand";
  if (options.seed == 0) options.seed = random_u64();
  if (!context.wants_json()) {
    print_visible(stdout, "bench type %s io_size %llu depth %u total %s pattern %s seed %llu\n",
                  arguments.type.c_str(), static_cast<unsigned long long>(options.io_size),
                  options.depth, size_text(options.total).c_str(), arguments.pattern.c_str(),
                  static_cast<unsigned long long>(options.seed));
  }
  std::error_code error;
  {
    ProgressLine line("measuring", context.shows_progress(), ProgressUnit::kBytes);
    Bench run(**cluster, **image, options, context.program().perf(), line);
    run.prepare();
    error = run.run();
    if (!error)
      print_visible(stdout, "%s\n",
                    context.wants_json() ? run.report().dump(1).c_str() : run.text().c_str());
  }
  const auto closed = (*cluster)->close_image(std::move(*image));
  if (error) return failure(error, "an IO failed: " + error.message());
  if (StopSignals::has_received()) return failure(StopSignals::error());
  return closed;
}

}  // namespace

void add_bench_command(CLI::App& app, CommandContext& context) {
  const auto arguments = std::make_shared<BenchArguments>();
  auto* command = context.add(app, "bench", "measure IO on an image that nobody else has open",
                              [&context, arguments] { return bench(context, *arguments); });
  context.add_image_option(*command, arguments->spec, "name of the image, as [POOL/]IMAGE");
  command->add_option("--io-type", arguments->type, "what the IOs do: read, write, readwrite or rw")
      ->required()
      ->check(CLI::IsMember({"read", "write", "readwrite", "rw"}));
  command
      ->add_option("--rw-mix-read", arguments->mix_percent,
                   "how many of 100 IOs read, of type readwrite")
      ->check(CLI::Range(1, 99));
  command
      ->add_option("--io-pattern", arguments->pattern,
                   "where the IOs go: seq (one after the other) or rand")
      ->check(CLI::IsMember({"seq", "rand"}));
  command->add_flag("--overwrite", arguments->overwrites,
                    "let a write bench destroy data that is in the image");
  BenchOptions& options = arguments->options;
  add_size_option(*command, "--io-size", options.io_size, "size of one IO");
  add_size_option(*command, "--io-total", options.total, "bytes of all IOs together");
  command->add_option("--io-depth,--io-threads", options.depth, "number of IOs in flight at a time")
      ->check(CLI::Range(1, 1024));
  command->add_option("--seed", options.seed,
                      "seed that random offsets follow from; 0 takes one and prints it");
}

}  // namespace lunar::tools
