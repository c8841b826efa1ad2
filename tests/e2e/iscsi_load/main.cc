// SPDX-License-Identifier: LGPL-2.1-or-later
// lunar-iscsi-load: verified load, benchmarks and single commands over iSCSI.
#include <malloc.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/e2e/iscsi_load/bench.h"
#include "tests/e2e/iscsi_load/commands.h"
#include "tests/e2e/iscsi_load/record.h"
#include "tests/e2e/iscsi_load/verify.h"

namespace lunar::iscsi_load {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::vector<std::string> urls;
  uint32_t connections = 1;
  int64_t retry_seconds = 0;
  int64_t timeout_seconds = 60;
  int64_t abort_timeout_seconds = 20;
  bool json = false;
  std::string initiator = Endpoint{}.initiator;
};

int complain(const std::string& text) {
  std::fprintf(stderr, "lunar-iscsi-load: %s\n", text.c_str());
  return static_cast<int>(Verdict::kUnusable);
}

SessionOptions session_options(const Arguments& arguments) {
  return {.command_timeout = std::chrono::seconds(arguments.timeout_seconds),
          .abort_timeout = std::chrono::seconds(arguments.abort_timeout_seconds)};
}

std::vector<LunOptions> lun_options(const Arguments& arguments) {
  std::vector<LunOptions> luns;
  for (const std::string& url : arguments.urls) {
    LunOptions options;
    options.endpoint = parse_url(url);
    options.endpoint.initiator = arguments.initiator;
    options.num_connections = arguments.connections;
    options.retry = std::chrono::seconds(arguments.retry_seconds);
    options.session = session_options(arguments);
    luns.push_back(options);
  }
  return luns;
}

// Opens every LUN, runs one Run on each at the same time, closes them. Empty string for success.
template <typename Run, typename MakeRun>
std::string run_on_all(const Arguments& arguments, std::vector<std::unique_ptr<Lun>>& luns,
                       std::vector<std::unique_ptr<Run>>& runs, PollLoop& loop, MakeRun make_run) {
  std::string problem;
  size_t outstanding = 0;
  auto wait = [&] { loop.run_until([&] { return outstanding == 0; }); };
  for (const LunOptions& options : lun_options(arguments)) {
    luns.push_back(std::make_unique<Lun>(loop, options));
    ++outstanding;
    luns.back()->open([&, url = arguments.urls[luns.size() - 1]](const std::string& why) {
      if (!why.empty() && problem.empty()) problem = url + ": " + why;
      --outstanding;
    });
  }
  wait();
  if (!problem.empty()) return problem;
  for (auto& lun : luns) {
    runs.push_back(make_run(*lun, runs.size()));
    ++outstanding;
    runs.back()->start([&] { --outstanding; });
  }
  wait();
  outstanding = luns.size();
  for (auto& lun : luns) lun->close([&] { --outstanding; });
  wait();
  return "";
}

double megabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }
double micros(std::chrono::nanoseconds time) { return static_cast<double>(time.count()) / 1e3; }

Json to_json(const VerifyReport& report, const Lun& lun, uint64_t seed) {
  Json ops, unsupported = Json::array(), retries = Json::object();
  for (size_t i = 0; i < kNumOpKinds; ++i) ops[name_of(static_cast<OpKind>(i))] = report.ops[i];
  for (OpKind kind : report.unsupported) unsupported.push_back(name_of(kind));
  for (const auto& [reason, count] : lun.retries()) retries[reason] = count;
  static constexpr const char* kVerdicts[] = {"clean", "mismatch", "unusable", "command failed",
                                              "unsupported"};
  return {{"verdict", kVerdicts[static_cast<int>(report.verdict)]},
          {"problem", report.problem},
          {"seed", seed},
          {"ops", ops},
          {"bytes_read", report.bytes_read},
          {"bytes_written", report.bytes_written},
          {"bytes_read_back", report.bytes_read_back},
          {"failed_ops", report.failed_ops},
          {"uncertain_blocks", report.uncertain_blocks},
          {"retries", retries},
          {"unsupported", unsupported},
          {"seconds", report.seconds}};
}

void print_text(const std::string& url, const Json& report) {
  std::printf("%s: %s, seed %llu\n", url.c_str(), report["verdict"].get<std::string>().c_str(),
              report["seed"].get<unsigned long long>());
  if (!report["problem"].get<std::string>().empty()) {
    std::printf("  %s\n", report["problem"].get<std::string>().c_str());
  }
  std::printf("  read %.1f MB, written %.1f MB, read back %.1f MB in %.1f s\n",
              megabytes(report["bytes_read"]), megabytes(report["bytes_written"]),
              megabytes(report["bytes_read_back"]), report["seconds"].get<double>());
  std::printf("  ops %s retries %s unsupported %s\n", report["ops"].dump().c_str(),
              report["retries"].dump().c_str(), report["unsupported"].dump().c_str());
}

int run_verify(const Arguments& arguments, const VerifyOptions& options) {
  std::fprintf(stderr, "lunar-iscsi-load: seed %llu\n",
               static_cast<unsigned long long>(options.seed));
  PollLoop loop;
  std::vector<std::unique_ptr<Lun>> luns;
  std::vector<std::unique_ptr<VerifyRun>> runs;
  auto seed_of = [&](size_t index) { return options.seed + index; };
  std::string problem = run_on_all(arguments, luns, runs, loop, [&](Lun& lun, size_t index) {
    VerifyOptions own = options;
    own.seed = seed_of(index);
    return std::make_unique<VerifyRun>(loop, lun, own);
  });
  if (!problem.empty()) return complain(problem);
  int code = 0;
  Json all = Json::array();
  for (size_t i = 0; i < runs.size(); ++i) {
    Json report = to_json(runs[i]->report(), *luns[i], seed_of(i));
    report["url"] = arguments.urls[i];
    if (!arguments.json) print_text(arguments.urls[i], report);
    all.push_back(std::move(report));
    code = std::max(code, static_cast<int>(runs[i]->report().verdict));
  }
  if (arguments.json) std::printf("%s\n", all.dump().c_str());
  return code;
}

int run_record(const Arguments& arguments, const RecordOptions& options) {
  if (arguments.urls.size() != 1) return complain("a history is of one LUN: give one --url");
  std::fprintf(stderr, "lunar-iscsi-load: seed %llu\n",
               static_cast<unsigned long long>(options.seed));
  auto log = test::HistoryLog::create(options.history);
  if (!log) return complain(log.error().message);
  Recorder recorder(**log, options.client);
  PollLoop loop;
  std::vector<std::unique_ptr<Lun>> luns;
  std::vector<std::unique_ptr<RecordRun>> runs;
  const std::string problem = run_on_all(arguments, luns, runs, loop, [&](Lun& lun, size_t) {
    lun.record_to(recorder);
    return std::make_unique<RecordRun>(loop, lun, recorder, options);
  });
  if (!problem.empty()) return complain(problem);
  const RecordReport& report = runs[0]->report();
  if (!report.problem.empty()) return complain(report.problem);
  Json commands, outcomes, retries = Json::object();
  for (size_t i = 0; i < report.commands.size(); ++i) {
    commands[test::name_of(static_cast<test::HistoryCommand>(i))] = report.commands[i];
  }
  for (size_t i = 0; i < recorder.outcomes().size(); ++i) {
    outcomes[test::name_of(static_cast<test::HistoryOutcome>(i))] = recorder.outcomes()[i];
  }
  for (const auto& [reason, count] : luns[0]->retries()) retries[reason] = count;
  const Json all = Json::array({{{"url", arguments.urls[0]},
                                 {"seed", options.seed},
                                 {"commands", commands},
                                 {"outcomes", outcomes},
                                 {"retries", retries},
                                 {"resets", report.resets},
                                 {"seconds", report.seconds}}});
  std::printf("%s\n", arguments.json ? all.dump().c_str() : all.dump(2).c_str());
  return 0;
}

Json to_json(const BenchReport& report) {
  double seconds = report.seconds > 0 ? report.seconds : 1;
  return {{"problem", report.problem},
          {"ops", report.ops},
          {"seconds", report.seconds},
          {"iops", static_cast<double>(report.ops) / seconds},
          {"mb_per_s", megabytes(report.bytes) / seconds},
          {"latency_us",
           {{"mean", micros(report.latency.mean())},
            {"p50", micros(report.latency.percentile(0.50))},
            {"p95", micros(report.latency.percentile(0.95))},
            {"p99", micros(report.latency.percentile(0.99))},
            {"max", micros(report.latency.max())}}}};
}

int run_bench(const Arguments& arguments, const BenchOptions& options, const std::string& access) {
  PollLoop loop;
  std::vector<std::unique_ptr<Lun>> luns;
  std::vector<std::unique_ptr<BenchRun>> runs;
  std::string problem = run_on_all(arguments, luns, runs, loop, [&](Lun& lun, size_t index) {
    BenchOptions own = options;
    own.seed += index;
    return std::make_unique<BenchRun>(loop, lun, own);
  });
  if (!problem.empty()) return complain(problem);
  int code = 0;
  Json all = Json::array();
  for (size_t i = 0; i < runs.size(); ++i) {
    const BenchReport& report = runs[i]->report();
    Json json = to_json(report);
    json["url"] = arguments.urls[i];
    json["access"] = access;
    json["op_bytes"] = options.op_bytes;
    json["depth"] = options.depth;
    if (!report.problem.empty()) code = complain(arguments.urls[i] + ": " + report.problem);
    if (!arguments.json) {
      const Json& latency = json["latency_us"];
      std::printf("%s: %s %llu B depth %u: %.0f IOPS, %.1f MB/s, p50 %.0f p95 %.0f p99 %.0f us\n",
                  arguments.urls[i].c_str(), access.c_str(),
                  static_cast<unsigned long long>(options.op_bytes), options.depth,
                  json["iops"].get<double>(), json["mb_per_s"].get<double>(),
                  latency["p50"].get<double>(), latency["p95"].get<double>(),
                  latency["p99"].get<double>());
    }
    all.push_back(std::move(json));
  }
  if (arguments.json) std::printf("%s\n", all.dump().c_str());
  return code;
}

CLI::Option* add_bytes(CLI::App* app, const std::string& name, uint64_t& value,
                       const std::string& description) {
  return app->add_option(name, value, description)
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
}

void add_verify_options(CLI::App* app, VerifyOptions& options) {
  app->add_option("--seed", options.seed, "Replays the same sequence; default: a random one");
  add_bytes(app, "--bytes", options.total_bytes, "Payload to move in all, such as 2G");
  app->add_option("--depth", options.depth, "Commands in flight")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app->add_option("--read-percent", options.read_percent)->check(CLI::Range(0, 100));
  add_bytes(app, "--max-op", options.max_op_bytes, "Longest read or write")
      ->check(CLI::Range(uint64_t{512}, uint64_t{64} << 20));
  add_bytes(app, "--boundary", options.boundary_bytes, "Sit astride multiples of this often")
      ->check(CLI::PositiveNumber);
  add_bytes(app, "--offset", options.span_offset_bytes, "Where on the LUN to begin");
  add_bytes(app, "--span", options.span_bytes, "How much of the LUN to use; 0: all");
  app->add_flag("--initially-anything", options.initially_anything,
                "The LUN is not fresh: do not expect zeroes where nothing was written");
  app->add_flag("--tolerate-failures", options.tolerate_failures,
                "A failed command is counted, and does not end the run");
  app->add_flag("!--no-final-pass", options.final_pass, "Do not read all back at the end");
  app->add_option("--require", options.required,
                  "unmap, write_same, compare_and_write, sync: fail if the LUN lacks it")
      ->allow_extra_args(false)
      ->delimiter(',');
  app->add_option("--save-state", options.save_state, "Keep the history of every block in a file");
  app->add_option("--load-state", options.load_state,
                  "Only check the LUN against a kept history (same --seed)");
}

void add_command_options(CLI::App* app, CommandOptions& options) {
  app->add_option("name", options.name, command_names())->required();
  app->add_option("arguments", options.arguments);
  app->add_option("--lba", options.lba);
  app->add_option("--blocks", options.num_blocks)->check(CLI::Range(0u, 0xffffffffu));
  app->add_option("--block-bytes", options.block_bytes)->check(CLI::Range(512u, 65536u));
  app->add_option("--pattern", options.pattern, "A byte, zero, or gen:SEED:GENERATION");
  app->add_option("--expect", options.expect, "caw: what to compare with");
  app->add_option("--in", options.in_file, "Data to send");
  app->add_option("--out", options.out_file, "Where to put the data that comes");
  app->add_option("--in-bytes", options.in_bytes, "raw: how much to read")
      ->check(CLI::Range(uint64_t{1}, uint64_t{64} << 20));
  app->add_flag("--fua", options.fua);
  app->add_flag("--unmap-bit", options.unmap_bit, "writesame: set UNMAP");
}

void add_record_options(CLI::App* app, RecordOptions& options, double& seconds,
                        double& reset_seconds) {
  app->add_option("--history", options.history, "The file; appended to")->required();
  app->add_option("--client", options.client, "A number of its own for each run at a time")
      ->check(CLI::Range(1, 255));
  app->add_option("--seed", options.seed, "Of the choices; default: a random one");
  app->add_option("--seconds", seconds, "How long to send random commands")
      ->check(CLI::Range(0.0, 86400.0));
  app->add_option("--depth", options.depth, "Commands in flight")->check(CLI::Range(1, 60));
  add_bytes(app, "--span", options.span_bytes, "How much of the LUN to use");
  add_bytes(app, "--max-op", options.max_op_bytes, "Longest read or write")
      ->check(CLI::Range(uint64_t{512}, uint64_t{1} << 20));
  add_bytes(app, "--boundary", options.boundary_bytes, "A third of the commands is near there");
  app->add_option("--flush-percent", options.flush_percent)->check(CLI::Range(0, 40));
  app->add_option("--reset-seconds", reset_seconds, "Send LUN RESETs about so often; 0: never")
      ->check(CLI::Range(0.0, 3600.0));
  app->add_flag("!--no-discards", options.discards, "Send no UNMAPs");
  add_bytes(app, "--first-discard", options.discard_from_bytes,
            "Before all, UNMAP the span from this offset on");
  app->add_flag("!--no-final-pass", options.final_pass, "Do not read all back at the end");
}

void add_common_options(CLI::App* app, Arguments& arguments) {
  app->add_option("--url", arguments.urls, "iscsi://HOST:PORT/TARGET/LUN; several: all at once")
      ->required()
      ->allow_extra_args(false)
      ->check([](const std::string& url) -> std::string {
        return parse_url(url).target.empty() ? "'" + url + "' is not an iSCSI URL" : "";
      });
  app->add_option("--connections", arguments.connections, "Sessions per LUN")
      ->check(CLI::Range(1, 64));
  app->add_option("--retry-seconds", arguments.retry_seconds,
                  "Reconnect and repeat failed commands for this long")
      ->check(CLI::Range(0, 86400));
  app->add_option("--timeout", arguments.timeout_seconds, "Seconds until a command is aborted")
      ->check(CLI::Range(1, 3600));
  app->add_option("--abort-timeout", arguments.abort_timeout_seconds,
                  "Seconds from there until the connection is dropped")
      ->check(CLI::Range(1, 3600));
  app->add_option("--initiator", arguments.initiator, "Initiator name");
  app->add_flag("--json", arguments.json, "Report as JSON");
}

int run(int argc, char** argv) {
  CLI::App app("Verified load, benchmarks and single commands over iSCSI");
  app.require_subcommand(1);
  Arguments arguments;
  VerifyOptions verify;
  verify.seed = std::random_device{}();
  BenchOptions bench;
  std::string access = "randread";
  std::string mix = "rw";
  double seconds = 0;
  CommandOptions command;

  CLI::App* verify_app = app.add_subcommand("verify", "Random operations, every read checked");
  add_common_options(verify_app, arguments);
  add_verify_options(verify_app, verify);
  verify_app->add_option("--mix", mix, "rw, or full: UNMAP, WRITE SAME, CAW, SYNC and FUA too")
      ->check(CLI::IsMember({"rw", "full"}));

  RecordOptions record;
  record.seed = std::random_device{}();
  double reset_seconds = 0;
  CLI::App* record_app =
      app.add_subcommand("record", "Random overlapping operations, all in a history");
  add_common_options(record_app, arguments);
  add_record_options(record_app, record, seconds, reset_seconds);

  CLI::App* bench_app = app.add_subcommand("bench", "One size, one depth, one access pattern");
  add_common_options(bench_app, arguments);
  bench_app->add_option("--access", access)
      ->check(CLI::IsMember({"read", "write", "randread", "randwrite"}))
      ->capture_default_str();
  add_bytes(bench_app, "--size", bench.op_bytes, "Bytes per operation")->check(CLI::PositiveNumber);
  bench_app->add_option("--depth", bench.depth)->check(CLI::Range(1, 1024))->capture_default_str();
  bench_app->add_option("--seconds", seconds, "How long to count, after a warm-up of 0.5 s")
      ->check(CLI::Range(0.0, 86400.0));
  bench_app->add_option("--ops", bench.num_ops, "How many operations, instead of --seconds");
  add_bytes(bench_app, "--span", bench.span_bytes, "How much of the LUN to use; 0: all");
  bench_app->add_option("--seed", bench.seed);
  bench_app->add_option("--flush-every", bench.flush_every,
                        "After so many operations wait for all, and SYNCHRONIZE CACHE; 0: never");

  CLI::App* command_app = app.add_subcommand("cmd", "One SCSI command; its answer as JSON");
  add_common_options(command_app, arguments);
  add_command_options(command_app, command);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    int code = app.exit(error);
    return code == 0 ? 0 : static_cast<int>(Verdict::kUnusable);
  }
  if (*verify_app) {
    verify.full_mix = mix == "full";
    if (!verify.load_state.empty() && verify.total_bytes > 0) {
      return complain("--load-state only checks: it excludes --bytes");
    }
    return run_verify(arguments, verify);
  }
  const auto to_ms = [](double number_of_seconds) {
    return std::chrono::milliseconds(static_cast<int64_t>(number_of_seconds * 1000));
  };
  if (*record_app) {
    record.duration = to_ms(seconds);
    record.reset_every = to_ms(reset_seconds);
    return run_record(arguments, record);
  }
  if (*bench_app) {
    bench.is_write = access == "write" || access == "randwrite";
    bench.is_random = access == "randread" || access == "randwrite";
    bench.duration = to_ms(seconds);
    if (bench.duration.count() == 0 && bench.num_ops == 0) bench.duration = std::chrono::seconds(5);
    return run_bench(arguments, bench, access);
  }
  Endpoint endpoint = parse_url(arguments.urls[0]);
  endpoint.initiator = arguments.initiator;
  return run_command(endpoint, session_options(arguments), command);
}

}  // namespace
}  // namespace lunar::iscsi_load

int main(int argc, char** argv) {
  // Buffers of up to 8 MiB come and go: keep their memory instead of mapping it anew each time.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
  signal(SIGPIPE, SIG_IGN);  // libiscsi writes to connections that the target has closed
  return lunar::iscsi_load::run(argc, argv);
}
