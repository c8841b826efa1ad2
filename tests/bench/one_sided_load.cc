// SPDX-License-Identifier: LGPL-2.1-or-later
// Random IO to one image, controlled by lines on stdin, so that tests/vm/guest/one_sided_table.py
// can count the instructions of each step.
//
//   one_sided_load POOL/IMAGE [common options]
//   > prepare read|write IO_SIZE DEPTH OPS    < ready
//   > run                                     < done
//   > report                                  < {"ops": …}

#include <cstdio>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>

#include "common/program.h"
#include "tools/lunar/bench.h"

namespace {

using lunar::Outcome;
using lunar::tools::Bench;
using lunar::tools::BenchOptions;
using lunar::tools::ClusterHandle;

void answer(const std::string& text) {
  std::puts(text.c_str());
  std::fflush(stdout);
}

Outcome<void> serve(ClusterHandle& cluster, lunar::gateway::Image& image,
                    const lunar::PerfRegistry& perf) {
  lunar::tools::ProgressLine silent("", false);
  std::unique_ptr<Bench> bench;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string step;
    words >> step;
    if (step == "prepare") {
      BenchOptions options;
      std::string type;
      uint64_t ops = 0;
      words >> type >> options.io_size >> options.depth >> ops;
      if (!words || options.io_size == 0 || options.io_size > image.size()) {
        return lunar::failure(std::errc::invalid_argument, "cannot prepare: " + line);
      }
      options.read_percent = type == "read" ? 100 : 0;
      options.is_random = true;
      options.total = options.io_size * ops;
      bench.reset();  // frees its memory first
      bench = std::make_unique<Bench>(cluster, image, options, perf, silent);
      bench->prepare();
      answer("ready");
    } else if (step == "run" && bench != nullptr) {
      if (const auto error = bench->run()) return lunar::failure(error, "an IO failed");
      answer("done");
    } else if (step == "report" && bench != nullptr) {
      answer(bench->report().dump());
    } else {
      return lunar::failure(std::errc::invalid_argument, "not known here: " + line);
    }
  }
  return {};
}

Outcome<void> run(int argc, char** argv) {
  auto program = lunar::Program::start(argc, argv, {.name = "one_sided_load"});
  if (!program) return lunar::failure(program.error());
  if ((*program)->arguments().size() != 1) {
    return lunar::failure(std::errc::invalid_argument, "usage: one_sided_load POOL/IMAGE");
  }
  auto cluster = ClusterHandle::open((*program)->config(), (*program)->perf());
  if (!cluster) return lunar::failure(cluster.error());
  auto image = (*cluster)->open_image((*program)->arguments().front(),
                                      {.lock = lunar::gateway::OpenLock::kShared});
  if (!image) return lunar::failure(image.error());
  auto served = serve(**cluster, **image, (*program)->perf());
  auto closed = (*cluster)->close_image(std::move(*image));
  return served ? closed : served;
}

}  // namespace

int main(int argc, char** argv) {
  const Outcome<void> ended = run(argc, argv);
  if (ended) return 0;
  std::fprintf(stderr, "one_sided_load: %s\n", ended.error().message.c_str());
  return 1;
}
