// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cstdio>

#include "tools/lunar/bench.h"
#include "tools/lunar/command.h"

// `lunar bench`: like `rbd bench`, one image, a fixed size and depth.

namespace lunar::tools {
namespace {

struct BenchArguments {
  std::string spec;
  std::string type = "write";
  std::string pattern = "seq";
  BenchOptions options{.seed = 0};
};

Outcome<void> bench(CommandContext& context, const BenchArguments& arguments) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  auto image = (*cluster)->open_image(arguments.spec, false);
  if (!image) return failure(image.error());
  BenchOptions options = arguments.options;
  if (options.io_size == 0 || options.io_size > (*image)->size()) {
    static_cast<void>((*cluster)->close_image(std::move(*image)));
    return failure(std::errc::invalid_argument,
                   "--io-size must be from 1 byte to the image's size");
  }
  options.is_read = arguments.type == "read";
  options.is_random = arguments.pattern == "rand";
  if (options.seed == 0) options.seed = random_u64();
  if (!context.wants_json()) {
    std::printf("bench type %s io_size %llu depth %u total %s pattern %s seed %llu\n",
                arguments.type.c_str(), static_cast<unsigned long long>(options.io_size),
                options.depth, size_text(options.total).c_str(), arguments.pattern.c_str(),
                static_cast<unsigned long long>(options.seed));
  }
  std::error_code error;
  {
    Bench run(**cluster, **image, options, context.program().perf());
    run.prepare();
    error = run.run();
    if (!error) std::puts(context.wants_json() ? run.report().dump(1).c_str() : run.text().c_str());
  }
  const auto closed = (*cluster)->close_image(std::move(*image));
  if (error) return failure(error, "an IO failed: " + error.message());
  return closed;
}

}  // namespace

void add_bench_command(CLI::App& app, CommandContext& context) {
  const auto arguments = std::make_shared<BenchArguments>();
  auto* command = context.add(app, "bench", "measure IO on an image (a write bench overwrites it)",
                              [&context, arguments] { return bench(context, *arguments); });
  command->add_option("image", arguments->spec, "POOL/IMAGE")->required();
  command->add_option("--io-type", arguments->type, "read or write")
      ->check(CLI::IsMember({"read", "write"}));
  command->add_option("--io-pattern", arguments->pattern, "seq or rand")
      ->check(CLI::IsMember({"seq", "rand"}));
  BenchOptions& options = arguments->options;
  add_size_option(*command, "--io-size", options.io_size, "bytes of one IO");
  add_size_option(*command, "--io-total", options.total, "bytes in all");
  command->add_option("--io-depth", options.depth, "IOs in flight")->check(CLI::Range(1, 1024));
  command->add_option("--seed", options.seed, "of the random places; 0 takes one and prints it");
}

}  // namespace lunar::tools
