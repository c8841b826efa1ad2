// SPDX-License-Identifier: LGPL-2.1-or-later
// lunar-trace: records the events of Lunar with LTTng, and reports on a recording.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/visible_text.h"
#include "tools/trace/recorder.h"
#include "tracing/analysis/report_sink.h"
#include "tracing/analysis/trace_reader.h"

namespace {

using lunar::print_visible;
using lunar::tools::RecordOptions;
using lunar::tracing::IoFilter;
using lunar::tracing::ReportOutput;
using lunar::tracing::TraceReport;

constexpr std::size_t kTimelineSample = 500;  // IOs beside the slowest, in files

int complain(const std::string& sentence) {
  print_visible(stderr, "lunar-trace: %s\n", sentence.c_str());
  return 1;
}

bool is_file_with_content(const std::string& path) {
  std::error_code none;
  return std::filesystem::is_regular_file(path, none) &&
         std::filesystem::file_size(path, none) != 0;
}

struct ReportCommand {
  std::vector<std::string> folders;
  std::string io, kind;
  TraceReport::Options options;
  ReportOutput output;
  bool overwrites = false;

  void add_to(CLI::App& app) {
    CLI::App* command = app.add_subcommand("report", "Say what a recording tells");
    command->add_option("DIR", folders, "folders with traces, of one or several hosts")->required();
    command->add_option("--io", io, "show everything about the IO with this id");
    command->add_option("--slowest", options.slowest, "explain so many of the slowest IOs")
        ->capture_default_str();
    IoFilter& filter = options.filter;
    command->add_option("--image", filter.image,
                        "only IOs of the image with this name (a recording has no pools) or id");
    command->add_option("--process", filter.process,
                        "only IOs of this gateway (tgtd[4711], tgtd, 4711), or with an op for this "
                        "server (osd.1)");
    command->add_option("--kind", kind, "only such IOs: read, write, discard, ...");
    command->add_option("--from", filter.from_s,
                        "only IOs under way later than so many seconds after the recording began");
    command->add_option("--until", filter.until_s,
                        "only IOs under way earlier than so many seconds after it began");
    command->add_flag("--json", output.json, "print the report as JSON");
    command->add_option("--html", output.html,
                        "write one page with plots and a timeline, without printing");
    command->add_option(
        "--chrome", output.chrome,
        "write Trace Event Format for Perfetto (ui.perfetto.dev) or chrome://tracing");
    command->add_option("--otlp", output.otlp,
                        "write OpenTelemetry's OTLP/JSON, as collectors read it from a file");
    command
        ->add_option("--sample", options.sample,
                     "show so many IOs beside the slowest in these files")
        ->default_val(kTimelineSample);
    command->add_flag("--overwrite", overwrites, "replace files that are there already");
    command->parse_complete_callback([this] { is_chosen = true; });
  }

  int run() {
    if (!io.empty()) {
      char* end = nullptr;
      options.io_id = std::strtoull(io.c_str(), &end, 0);
      if (*end != '\0' || *options.io_id == 0) return complain("'" + io + "' is no IO id");
    }
    if (!kind.empty()) {
      const auto type = lunar::tracing::io_type_of(kind);
      if (!type) return complain(type.error().message);
      options.filter.type = *type;
    }
    if (!output.has_files()) options.sample = 0;
    for (const std::string& file : {output.html, output.chrome, output.otlp}) {
      if (!overwrites && is_file_with_content(file)) {
        return complain(file + " is there already: name another file, or add --overwrite");
      }
    }
    const auto report = lunar::tracing::read_report(folders, options);
    if (!report) return complain(report.error().message);
    const auto written = lunar::tracing::write_report(*report, options, output);
    if (!written) return complain(written.error().message);
    return 0;
  }

  bool is_chosen = false;
};

struct RecordCommand {
  RecordOptions options;

  void add_to(CLI::App& app) {
    CLI::App* command =
        app.add_subcommand("record", "Record until interrupted, or while COMMAND runs");
    command->add_option("-o,--output", options.output, "new folder that the trace is written to");
    command
        ->add_option("--events", options.events, "events to record, as lttng(1) understands them")
        ->capture_default_str();
    command->add_option("--seconds", options.seconds, "stop after so many seconds");
    command->add_flag("--snapshot", options.is_snapshot,
                      "keep only the newest events in memory, and write them at the end");
    command->add_option("--subbuf-size", options.subbuf_size, "bytes of one sub-buffer of a CPU")
        ->capture_default_str();
    command->add_option("--num-subbuf", options.num_subbuf, "number of sub-buffers per CPU")
        ->capture_default_str();
    command->add_option("COMMAND", options.command, "command to run meanwhile, after --");
    command->parse_complete_callback([this] { is_chosen = true; });
  }

  int run() {
    const auto code = lunar::tools::record(options);
    if (!code) return complain(code.error().message);
    return *code;
  }

  bool is_chosen = false;
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Records the events of Lunar with LTTng, and reports on a recording.",
               "lunar-trace");
  app.require_subcommand(1);
  RecordCommand record;
  ReportCommand report;
  record.add_to(app);
  report.add_to(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return record.is_chosen ? record.run() : report.run();
}
