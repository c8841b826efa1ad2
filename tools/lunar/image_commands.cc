// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/json.h"
#include "common/visible_text.h"
#include "gateway/image_directory.h"
#include "tools/lunar/command.h"
#include "tools/lunar/text_table.h"

namespace lunar::tools {
namespace {

using gateway::ImageHeader;
using gateway::ImageSpec;

constexpr JsonBounds kHeaderText{4 << 20};  // our own text

struct ImageArguments {
  std::string spec;
  std::string pool;
  std::string instance;
  std::string name;
  uint64_t size = 0;
  uint64_t object_size = 0;
  uint64_t stripe_unit = 0;
  uint32_t stripe_count = 0;
  bool allows_shrink = false;
  bool wants_long = false;
};

std::string resizer_text(const std::string& spec, const ImageHeader& header) {
  const bool is_cut = header.size == header.resize_to;  // there is no way back
  const bool is_shrink = !is_cut && header.state == gateway::ImageState::kShrinking;
  std::string repeat = "finish it with 'lunar resize " + spec + " --size " +
                       std::to_string(header.resize_to) + (is_shrink ? " --allow-shrink" : "") +
                       "'";
  repeat += is_cut ? "; what was beyond is gone" : ", or give the old size to undo it";
  if (!header.resizer) return ", and that was interrupted: " + repeat;
  return " by " + header.resizer->entity + " at " + header.resizer->instance +
         "; if that was interrupted, " + repeat;
}

// `spec` is POOL/IMAGE, by whichever of its two names.
std::string renaming_text(const std::string& spec, const ImageHeader& header) {
  return "'" + header.name + "' to '" + header.rename_to +
         "'; if that was interrupted, finish with 'lunar mv " + spec.substr(0, spec.find('/')) +
         "/" + header.name + " " + header.rename_to + "'";
}

void print_header(const CommandContext& context, const std::string& spec,
                  const ImageHeader& header) {
  if (context.wants_json()) {
    const auto json = parse_json_or_null<nlohmann::ordered_json>(encode(header), kHeaderText);
    print_visible(stdout, "%s\n", json_text(with_text_ids(json)).c_str());
    return;
  }
  print_visible(stdout, "image %s\n", spec.c_str());
  print_visible(stdout, "  id            %s\n", gateway::image_id_text(header.id).c_str());
  print_visible(stdout, "  uuid          %s\n", header.uuid.to_string().c_str());
  print_visible(stdout, "  size          %s (%llu bytes, %llu objects)\n",
                size_text(header.size).c_str(), static_cast<unsigned long long>(header.size),
                static_cast<unsigned long long>(header.layout.object_count(header.size)));
  print_visible(stdout, "  object size   %s\n", size_text(header.layout.object_size).c_str());
  print_visible(stdout, "  striping      %u objects of %s units\n", header.layout.stripe_count,
                size_text(header.layout.stripe_unit).c_str());
  if (header.state == gateway::ImageState::kRemoving)
    print_visible(stdout, "%s\n", "  being removed");
  if (header.state == gateway::ImageState::kImporting) {
    print_visible(stdout, "%s\n",
                  "  being imported; if that was interrupted, its content is not whole");
  }
  if (header.is_resizing()) {
    print_visible(stdout, "  %s      to %s (%llu bytes)%s\n", image_state_name(header.state),
                  size_text(header.resize_to).c_str(),
                  static_cast<unsigned long long>(header.resize_to),
                  resizer_text(spec, header).c_str());
  }
  if (header.is_renaming())
    print_visible(stdout, "  renaming      %s\n", renaming_text(spec, header).c_str());
  for (const auto& each : header.registrations) {
    print_visible(stdout, "  open by       %s at %s, %s\n", each.entity.c_str(),
                  each.instance.c_str(), gateway::lock_mode_name(each.lock));
  }
}

Outcome<void> create(CommandContext& context, const ImageArguments& arguments) {
  const auto spec = ImageSpec::parse(arguments.spec);
  if (!spec) return failure(spec.error());
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  gateway::Client& client = (*cluster)->client();
  gateway::CreateOptions options;
  options.size = arguments.size;
  options.layout = gateway::layout_with_defaults(client, spec->pool, arguments.object_size,
                                                 arguments.stripe_unit, arguments.stripe_count);
  const auto header = (*cluster)->wait<ImageHeader>(
      [&](auto done) { gateway::create_image(client, *spec, options, std::move(done)); });
  if (!header) return failure(header.error());
  if (context.wants_json()) print_header(context, arguments.spec, *header);
  return {};
}

// As much of the image as `rbd ls -l` shows; null if it is gone by now.
struct ListedImage {
  std::string name;
  Outcome<gateway::VersionedHeader> found;
};

// The headers of all of them, some at a time.
std::vector<ListedImage> find_all(ClusterHandle& cluster, const std::string& pool,
                                  const gateway::ImageList& list) {
  constexpr std::size_t kInFlight = 32;
  std::vector<ListedImage> images(list.images.size());
  std::size_t in_flight = 0;
  for (std::size_t i = 0; i < images.size(); ++i) {
    cluster.run_until([&in_flight] { return in_flight < kInFlight; });
    images[i].name = list.images[i].name;
    ++in_flight;
    gateway::find_image(cluster.client(), {pool, images[i].name},
                        [&in_flight, to = &images[i].found](auto found) {
                          *to = std::move(found);
                          --in_flight;
                        });
  }
  cluster.run_until([&in_flight] { return in_flight == 0; });
  std::erase_if(images, [](const ListedImage& each) {
    return !each.found && each.found.error().code == objecter::OsdErrc::kNoSuchObject;
  });
  return images;
}

const char* lock_of(const ImageHeader& header) {
  if (header.registrations.empty()) return "";
  return gateway::lock_mode_name(header.registrations.front().lock);
}

Outcome<void> print_long_list(CommandContext& context, ClusterHandle& cluster,
                              const std::string& pool, const gateway::ImageList& list) {
  auto json = nlohmann::ordered_json::array();
  TextTable table({"NAME", ">SIZE", "STATE", "LOCK"});
  Outcome<void> result;
  for (const ListedImage& each : find_all(cluster, pool, list)) {
    if (!each.found) {
      if (result) result = failure(each.found.error());
      table.add({each.name, "-", "unknown", ""});
      json.push_back({{"name", each.name}, {"state", "unknown"}});
      continue;
    }
    const ImageHeader& header = each.found->header;
    const char* state = image_state_name(header.state);
    table.add({each.name, size_text(header.size), state, lock_of(header)});
    json.push_back({{"name", each.name},
                    {"id", gateway::image_id_text(header.id)},
                    {"size", header.size},
                    {"state", state},
                    {"lock", lock_of(header)}});
  }
  const std::string text = context.wants_json() ? json_text(json) + "\n" : table.text();
  print_visible(stdout, "%s", text.c_str());
  return result;
}

void print_names(const CommandContext& context, const gateway::ImageList& list) {
  auto names = nlohmann::json::array();
  for (const auto& image : list.images) {
    if (context.wants_json()) {
      const std::string id = image.id == 0 ? "" : gateway::image_id_text(image.id);
      names.push_back({{"name", image.name}, {"id", id}});
    } else {
      print_visible(stdout, "%s\n", image.name.c_str());
    }
  }
  if (context.wants_json()) print_visible(stdout, "%s\n", names.dump(1).c_str());
}

Outcome<void> list(CommandContext& context, const ImageArguments& arguments) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  const bool wants_ids = context.wants_json() && !arguments.wants_long;
  const auto list = (*cluster)->wait<gateway::ImageList>([&](auto done) {
    gateway::list_images((*cluster)->client(), arguments.pool, {.wants_ids = wants_ids},
                         std::move(done));
  });
  if (!list) return failure(list.error());
  Outcome<void> result;
  if (arguments.wants_long) {
    result = print_long_list(context, **cluster, arguments.pool, *list);
  } else {
    print_names(context, *list);
  }
  std::fflush(stdout);
  if (!list->missing.empty()) return failure(gateway::missing_error(*list));
  return result;
}

Outcome<void> info(CommandContext& context, const ImageArguments& arguments) {
  const auto spec = ImageSpec::parse(arguments.spec);
  if (!spec) return failure(spec.error());
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  const auto found = (*cluster)->wait<gateway::VersionedHeader>(
      [&](auto done) { gateway::find_image((*cluster)->client(), *spec, std::move(done)); });
  if (!found) return failure(found.error());
  print_header(context, arguments.spec, found->header);
  return {};
}

// Runs `start(client, spec, on_progress, done)`.
template <typename Start>
Outcome<void> change(CommandContext& context, const std::string& text, const char* verb,
                     Start start) {
  const auto spec = ImageSpec::parse(text);
  if (!spec) return failure(spec.error());
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  ProgressLine line(verb, context.shows_progress());
  const auto on_progress = [&line, cluster = *cluster](uint64_t at, uint64_t total) {
    cluster->end_of_lock_wait();
    line.show(at, total);
  };
  (*cluster)->begin_lock_wait(text);
  const auto result = (*cluster)->wait<void>(
      [&](auto done) { start((*cluster)->client(), *spec, on_progress, std::move(done)); });
  (*cluster)->end_of_lock_wait();
  return result;
}

// As `rbd mv`, whose second argument may name the pool again.
Outcome<void> rename(CommandContext& context, const ImageArguments& arguments) {
  const auto spec = ImageSpec::parse(arguments.spec);
  if (!spec) return failure(spec.error());
  const bool has_pool = arguments.name.find('/') != std::string::npos;
  const auto to = ImageSpec::parse(has_pool ? arguments.name : spec->pool + "/" + arguments.name);
  if (!to) return failure(to.error());
  if (to->pool != spec->pool) {
    return failure(std::errc::invalid_argument,
                   "an image stays in its pool, which is '" + spec->pool +
                       "': export it, and import it as '" + arguments.name + "'");
  }
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  return (*cluster)->wait<void>([&](auto done) {
    gateway::rename_image((*cluster)->client(), *spec, to->image, std::move(done));
  });
}

Outcome<void> unregister(CommandContext& context, const ImageArguments& arguments) {
  const auto spec = ImageSpec::parse(arguments.spec);
  if (!spec) return failure(spec.error());
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  return (*cluster)->wait<void>([&](auto done) {
    gateway::unregister((*cluster)->client(), *spec, arguments.instance, std::move(done));
  });
}

const char* state_of(const gateway::Holder& holder) {
  if (holder.is_dead) return "dead";
  return holder.is_connected ? "connected" : "no connection";
}

nlohmann::json json_of(const gateway::Holder& holder) {
  const gateway::Registration& who = holder.registration;
  return {{"entity", who.entity},
          {"instance", who.instance},
          {"nonce", std::to_string(who.nonce)},
          {"cookie", gateway::image_id_text(who.cookie)},
          {"lock", holder.is_reader ? "none" : gateway::lock_mode_name(who.lock)},
          {"state", state_of(holder)},
          {"silent_seconds", std::chrono::duration<double>(holder.silent_for).count()}};
}

// All who have it open, or those only that may write.
Outcome<void> show_holders(CommandContext& context, const std::string& text, bool is_of_locks) {
  const auto spec = ImageSpec::parse(text);
  if (!spec) return failure(spec.error());
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  auto status = (*cluster)->wait<gateway::ImageStatus>(
      [&](auto done) { gateway::image_status((*cluster)->client(), *spec, std::move(done)); });
  if (!status) return failure(status.error());
  if (is_of_locks) {
    std::erase_if(status->holders, [](const gateway::Holder& each) { return each.is_reader; });
  }
  auto json = nlohmann::json::array();
  for (const gateway::Holder& each : status->holders) json.push_back(json_of(each));
  if (context.wants_json()) {
    print_visible(stdout, "%s\n", json.dump(1).c_str());
    return {};
  }
  if (status->header.is_renaming()) {
    print_visible(stdout, "renaming   %s\n", renaming_text(text, status->header).c_str());
  }
  if (status->holders.empty())
    print_visible(stdout, "%s\n", is_of_locks ? "no lock" : "no watchers");
  for (const gateway::Holder& each : status->holders) {
    const gateway::Registration& who = each.registration;
    print_visible(stdout, "%-10s %s at %s, nonce %llu, cookie %s, %s\n",
                  each.is_reader ? "read-only" : gateway::lock_mode_name(who.lock),
                  who.entity.c_str(), who.instance.c_str(),
                  static_cast<unsigned long long>(who.nonce),
                  gateway::image_id_text(who.cookie).c_str(), state_of(each));
  }
  return {};
}

}  // namespace

Outcome<void> show_image_status(CommandContext& context, const std::string& spec) {
  return show_holders(context, spec, false);
}

void add_image_commands(CLI::App& app, CommandContext& context) {
  const auto arguments = std::make_shared<ImageArguments>();
  const auto with_spec = [&context, arguments](CLI::App* command) {
    context.add_image_option(*command, arguments->spec, "name of the image, as [POOL/]IMAGE");
    return command;
  };
  auto* created =
      with_spec(context.add(app, "create", "make a new, empty image",
                            [&context, arguments] { return create(context, *arguments); }));
  add_size_option(*created, "--size,-s", arguments->size,
                  "size of the new disk: 10G, or bytes (a plain number is MiB for rbd)")
      ->required();
  add_size_option(*created, "--object-size", arguments->object_size,
                  "bytes of a data object; without it, what the pool says");
  add_size_option(*created, "--stripe-unit", arguments->stripe_unit,
                  "bytes that go to one object before the next; without it, the object size");
  created->add_option("--stripe-count", arguments->stripe_count,
                      "number of objects that are written side by side");

  auto* listed = context.add(app, "ls", "list the images of a pool",
                             [&context, arguments] { return list(context, *arguments); });
  context.add_pool_option(*listed, arguments->pool);
  listed->add_flag("-l,--long", arguments->wants_long, "show size, state and lock of each as well");

  with_spec(context.add(app, "info", "show an image's layout and who has it open",
                        [&context, arguments] { return info(context, *arguments); }));

  auto* resized = with_spec(context.add(
      app, "resize", "grow or shrink an image, also while it is open", [&context, arguments] {
        return change(
            context, arguments->spec, "resizing",
            [&](auto& client, const auto& spec, auto progress, auto done) {
              const gateway::ResizeOptions options{arguments->size, arguments->allows_shrink};
              gateway::resize_image(client, spec, options, std::move(progress), std::move(done));
            });
      }));
  add_size_option(*resized, "--size,-s", arguments->size,
                  "size that the image gets: 10G, or bytes (a plain number is MiB for rbd)")
      ->required();
  resized->add_flag("--allow-shrink", arguments->allows_shrink,
                    "make the image smaller, which destroys the data at its end");

  auto* renamed =
      with_spec(context.add(app, "mv", "give an image another name, also while it is open",
                            [&context, arguments] { return rename(context, *arguments); }));
  renamed->alias("rename");
  renamed->add_option("name", arguments->name, "new name: NAME, or POOL/NAME in the same pool")
      ->required();

  with_spec(context.add(app, "rm", "remove an image and its data", [&context, arguments] {
    return change(context, arguments->spec, "removing",
                  [&](auto& client, const auto& spec, auto progress, auto done) {
                    gateway::remove_image(client, spec, std::move(progress), std::move(done));
                  });
  }));

  auto* struck = with_spec(
      context.add(app, "unregister", "fence a gateway that is gone and strike it from an image",
                  [&context, arguments] { return unregister(context, *arguments); }));
  struck
      ->add_option("instance", arguments->instance,
                   "instance of the gateway, as 'lunar info' shows it")
      ->required();

  CLI::App* lock = app.add_subcommand("lock", "show who may write an image")->require_subcommand(1);
  with_spec(
      context.add(*lock, "ls", "list who has the lock of an image, dead or alive",
                  [&context, arguments] { return show_holders(context, arguments->spec, true); }));
}

}  // namespace lunar::tools
