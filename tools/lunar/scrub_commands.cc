// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/visible_text.h"
#include "gateway/pool_scrub.h"
#include "tools/lunar/command.h"

// scrub and repair: what is wrong in a pool, and the mending of what was asked for.

namespace lunar::tools {
namespace {

using gateway::ScrubFinding;
using gateway::ScrubReport;
using Json = nlohmann::ordered_json;

struct ScrubArguments {
  std::string spec;  // POOL or POOL/IMAGE
  bool skips_data = false;
  std::vector<std::string> names;  // of findings to repair
  bool wants_all = false;
  bool is_sure = false;
  gateway::HeaderGuess guess;
};

struct ScrubTarget {
  std::string pool;
  std::string image;  // empty: all
};

Outcome<ScrubTarget> target_of(const ScrubArguments& arguments) {
  if (arguments.spec.find('/') == std::string::npos) return ScrubTarget{arguments.spec, ""};
  const auto spec = gateway::ImageSpec::parse(arguments.spec);
  if (!spec) return failure(spec.error());
  return ScrubTarget{spec->pool, spec->image};
}

Json json_of(const ScrubFinding& finding) {
  return {{"name", finding.name()},
          {"kind", gateway::finding_kind_text(finding.kind)},
          {"what", finding.what},
          {"repair", finding.repair},
          {"must_be_named", finding.must_be_named}};
}

void print_finding(const ScrubFinding& finding) {
  print_visible(stdout, "%s\n  %s\n", finding.name().c_str(), finding.what.c_str());
  if (finding.repair.empty()) {
    print_visible(stdout, "%s\n", "  nothing can be repaired");
  } else {
    print_visible(stdout, "  repair%s: %s\n", finding.must_be_named ? ", if named" : "",
                  finding.repair.c_str());
  }
}

void print_report(const CommandContext& context, const ScrubReport& report) {
  if (context.wants_json()) {
    Json findings = Json::array();
    for (const auto& each : report.findings) findings.push_back(json_of(each));
    const Json json = {{"images", report.images},
                       {"objects", report.objects},
                       {"bytes_read", report.bytes_read},
                       {"findings", std::move(findings)},
                       {"unchecked", report.unchecked}};
    print_visible(stdout, "%s\n", json.dump(1).c_str());
    return;
  }
  for (const auto& each : report.findings) print_finding(each);
  for (const auto& each : report.unchecked)
    print_visible(stdout, "not looked at: %s\n", each.c_str());
  print_visible(stdout, "%llu images, %llu data objects, %s read: %zu findings\n",
                static_cast<unsigned long long>(report.images),
                static_cast<unsigned long long>(report.objects),
                size_text(report.bytes_read).c_str(), report.findings.size());
}

std::error_code needs_cleaning() { return {EUCLEAN, std::generic_category()}; }

std::string findings_text(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " finding" : " findings");
}

Outcome<ScrubReport> look(CommandContext& context, const ScrubTarget& target,
                          const gateway::ScrubOptions& options) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  ProgressLine line("reading", context.shows_progress());
  return (*cluster)->wait<ScrubReport>([&](auto done) {
    gateway::scrub_pool((*cluster)->client(), target.pool, options,
                        [&line](uint64_t at, uint64_t total) { line.show(at, total); },
                        std::move(done));
  });
}

Outcome<void> scrub(CommandContext& context, const ScrubArguments& arguments) {
  const auto target = target_of(arguments);
  if (!target) return failure(target.error());
  gateway::ScrubOptions options;
  options.image = target->image;
  options.reads_data = !arguments.skips_data;
  const auto report = look(context, *target, options);
  if (!report) return failure(report.error());
  print_report(context, *report);
  if (!report->findings.empty()) {
    return failure(needs_cleaning(), findings_text(report->findings.size()) + " in " +
                                         arguments.spec + ": 'lunar repair " + arguments.spec +
                                         " NAME' mends one, if it can be");
  }
  if (!report->unchecked.empty()) {
    return failure(objecter::OsdErrc::kUnreachable,
                   "nothing was found, but not all of " + arguments.spec + " was looked at");
  }
  return {};
}

// --- repair ---

// Which objects a repair has to read to find again what it was told to mend.
gateway::ScrubOptions what_to_look_at(const ScrubArguments& arguments, const ScrubTarget& target) {
  gateway::ScrubOptions options;
  options.image = target.image;
  options.reads_data = !arguments.skips_data;
  if (arguments.wants_all) return options;
  const std::string damaged =
      std::string(gateway::finding_kind_text(gateway::FindingKind::kDamaged)) + ":";
  for (const std::string& name : arguments.names) {
    if (name.starts_with(damaged)) options.only_objects.insert(name.substr(damaged.size()));
  }
  options.reads_data = !options.only_objects.empty();
  return options;
}

Outcome<std::vector<ScrubFinding>> chosen_of(const ScrubReport& report,
                                             const ScrubArguments& arguments) {
  std::vector<ScrubFinding> chosen;
  for (const std::string& name : arguments.names) {
    const auto found = std::find_if(report.findings.begin(), report.findings.end(),
                                    [&](const auto& each) { return each.name() == name; });
    if (found == report.findings.end()) {
      return failure(
          std::errc::invalid_argument,
          "there is no finding '" + name + "': 'lunar scrub " + arguments.spec + "' lists them");
    }
    if (found->repair.empty()) {
      return failure(std::errc::invalid_argument, name + ": nothing can be repaired");
    }
    chosen.push_back(*found);
  }
  if (!arguments.wants_all) return chosen;
  for (const auto& each : report.findings) {
    if (!each.repair.empty() && (!each.must_be_named || arguments.is_sure)) chosen.push_back(each);
  }
  return chosen;
}

// Mends them one after the other, and says before each what it does. How many were mended.
Outcome<std::size_t> mend(CommandContext& context, const std::string& pool,
                          const std::vector<ScrubFinding>& chosen,
                          const ScrubArguments& arguments) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  Json answers = Json::array();
  std::size_t mended = 0;
  Outcome<std::size_t> result;
  for (const ScrubFinding& finding : chosen) {
    if (!context.wants_json()) {
      print_visible(stdout, "%s: %s\n", finding.name().c_str(), finding.repair.c_str());
      std::fflush(stdout);
    }
    const auto done = (*cluster)->wait<std::string>([&](auto then) {
      gateway::repair_finding((*cluster)->client(), pool, finding, arguments.guess,
                              std::move(then));
    });
    Json answer = {{"name", finding.name()}, {"is_mended", done.has_value()}};
    answer["said"] = done ? *done : done.error().message;
    answers.push_back(std::move(answer));
    if (!context.wants_json()) {
      print_visible(stdout, "  %s%s\n",
                    done ? "" : "failed: ", (done ? *done : done.error().message).c_str());
    }
    mended += done ? 1 : 0;
    if (!done && result) {
      result = failure(done.error().code, finding.name() + ": " + done.error().message);
    }
  }
  if (context.wants_json()) print_visible(stdout, "%s\n", answers.dump(1).c_str());
  if (result) result = mended;
  return result;
}

Outcome<void> repair(CommandContext& context, const ScrubArguments& arguments) {
  const auto target = target_of(arguments);
  if (!target) return failure(target.error());
  const bool is_told = arguments.wants_all || !arguments.names.empty();
  if (!is_told) {
    return failure(std::errc::invalid_argument, "say what to repair: the names that 'lunar scrub " +
                                                    arguments.spec + "' shows, or --all");
  }
  const auto report = look(context, *target, what_to_look_at(arguments, *target));
  if (!report) return failure(report.error());
  const auto chosen = chosen_of(*report, arguments);
  if (!chosen) return failure(chosen.error());
  const auto mended = mend(context, target->pool, *chosen, arguments);
  if (!mended) return failure(mended.error());
  const std::size_t left = arguments.wants_all ? report->findings.size() - *mended : 0;
  if (left == 0) return {};
  return failure(needs_cleaning(), findings_text(left) +
                                       " left: their repair gives up data or rests on a guess, and "
                                       "is made if it is named, or with --all "
                                       "--yes-i-really-mean-it; or there is none");
}

}  // namespace

void add_scrub_commands(CLI::App& app, CommandContext& context) {
  const auto arguments = std::make_shared<ScrubArguments>();
  auto* scrubbed = context.add(app, "scrub", "find what is damaged, lost or left over in a pool",
                               [&context, arguments] { return scrub(context, *arguments); });
  auto* repaired = context.add(app, "repair", "mend what 'lunar scrub' has found",
                               [&context, arguments] { return repair(context, *arguments); });
  for (CLI::App* command : {scrubbed, repaired}) {
    command->add_option("what", arguments->spec, "pool, or one image of it as POOL/IMAGE")
        ->required();
    command->add_flag("--no-read", arguments->skips_data,
                      "look only at what the servers know already, and do not read the data");
  }
  repaired->add_option("finding", arguments->names,
                       "names of findings, as 'lunar scrub' shows them");
  repaired->add_flag("--all", arguments->wants_all,
                     "make all repairs that neither give up data nor rest on a guess");
  repaired->add_flag("--yes-i-really-mean-it", arguments->is_sure,
                     "let --all also make repairs that give up data or rest on a guess");
  gateway::HeaderGuess& guess = arguments->guess;
  add_size_option(*repaired, "--size", guess.size, "size of an image whose header is made anew");
  add_size_option(*repaired, "--object-size", guess.object_size,
                  "object size of the image whose header is made anew");
  add_size_option(*repaired, "--stripe-unit", guess.stripe_unit,
                  "stripe unit of the image whose header is made anew");
  repaired->add_option("--stripe-count", guess.stripe_count,
                       "stripe count of the image whose header is made anew");
}

}  // namespace lunar::tools
