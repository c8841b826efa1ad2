// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cstdio>

#include "common/json.h"
#include "common/visible_text.h"
#include "gateway/image_directory.h"
#include "tools/lunar/allocated_runs.h"
#include "tools/lunar/command.h"
#include "tools/lunar/text_table.h"

// du: how much of an image, or of all of a pool, has space on the servers.

namespace lunar::tools {
namespace {

using Json = nlohmann::ordered_json;

struct UsageArguments {
  std::string spec;
  std::string pool;
};

struct ImageUsage {
  std::string name;
  uint64_t provisioned = 0;  // bytes
  uint64_t used = 0;         // bytes
};

Outcome<ImageUsage> usage_of(CommandContext& context, ClusterHandle& cluster,
                             const std::string& spec) {
  auto image = cluster.open_image(spec, {.read_only = true});
  if (!image) return failure(image.error());
  ImageUsage usage{spec.substr(spec.find('/') + 1), (*image)->size(), 0};
  {
    ProgressLine line("looking at " + usage.name, context.shows_progress());
    const auto runs = AllocatedRuns(cluster, **image, line).find(usage.provisioned);
    if (!runs) {
      static_cast<void>(cluster.close_image(std::move(*image)));
      return failure(runs.error());
    }
    for (const AllocatedRun& run : *runs) usage.used += run.length;
  }
  if (auto closed = cluster.close_image(std::move(*image)); !closed) return failure(closed.error());
  return usage;
}

Outcome<std::vector<std::string>> specs_of(ClusterHandle& cluster, const std::string& pool) {
  const auto list = cluster.wait<gateway::ImageList>(
      [&](auto done) { gateway::list_images(cluster.client(), pool, {}, std::move(done)); });
  if (!list) return failure(list.error());
  if (!list->missing.empty()) return failure(gateway::missing_error(*list));
  std::vector<std::string> specs;
  for (const auto& image : list->images) specs.push_back(pool + "/" + image.name);
  return specs;
}

void print_usages(const CommandContext& context, const std::vector<ImageUsage>& usages,
                  const ImageUsage& total, bool wants_total) {
  Json images = Json::array();
  TextTable table({"NAME", ">PROVISIONED", ">USED"});
  const auto add = [&table](const ImageUsage& usage) {
    table.add({usage.name, size_text(usage.provisioned), size_text(usage.used)});
  };
  for (const ImageUsage& each : usages) {
    add(each);
    images.push_back(
        {{"name", each.name}, {"provisioned_size", each.provisioned}, {"used_size", each.used}});
  }
  if (wants_total) add(total);
  if (!context.wants_json()) {
    print_visible(stdout, "%s", table.text().c_str());
    return;
  }
  const Json json = {{"images", images},
                     {"total_provisioned_size", total.provisioned},
                     {"total_used_size", total.used}};
  print_visible(stdout, "%s\n", json_text(json).c_str());
}

// An image that cannot be looked at is said, and left out of the total; the first error counts.
Outcome<void> show_usage(CommandContext& context, const UsageArguments& arguments) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  std::vector<std::string> specs = {arguments.spec};
  const bool is_pool = arguments.spec.empty();
  if (is_pool) {
    auto all = specs_of(**cluster, arguments.pool);
    if (!all) return failure(all.error());
    specs = std::move(*all);
  }
  std::vector<ImageUsage> usages;
  ImageUsage total{"<TOTAL>"};
  Outcome<void> result;
  for (const std::string& spec : specs) {
    auto usage = usage_of(context, **cluster, spec);
    if (!usage) {
      if (result) result = failure(usage.error());
      continue;
    }
    total.provisioned += usage->provisioned;
    total.used += usage->used;
    usages.push_back(std::move(*usage));
  }
  print_usages(context, usages, total, is_pool);
  std::fflush(stdout);
  return result;
}

}  // namespace

void add_usage_commands(CLI::App& app, CommandContext& context) {
  const auto arguments = std::make_shared<UsageArguments>();
  auto* used = context.add(app, "du", "show how much space an image has, or each of a pool",
                           [&context, arguments] { return show_usage(context, *arguments); });
  used->alias("disk-usage");
  context
      .add_image_option(*used, arguments->spec,
                        "image to look at, as [POOL/]IMAGE; without it, all of the pool (--pool)")
      ->required(false);
  context.add_default_pool(arguments->pool);
}

}  // namespace lunar::tools
