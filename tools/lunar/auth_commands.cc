// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fmt/core.h>

#include "common/json.h"
#include "gateway/image_directory.h"
#include "objecter/protocol/capabilities.h"
#include "tools/lunar/command.h"

// auth: what entities may do, as `ceph auth`. Keys are in keyrings: `lunar keyring`.

namespace lunar::tools {
namespace {

using Json = nlohmann::ordered_json;

struct AuthArguments {
  std::string entity;
  std::string caps;
  bool is_sure = false;
};

// The ids of images that are named: servers know images by their ids alone.
Outcome<void> find_images(CommandContext& context, objecter::Capabilities& capabilities) {
  for (objecter::Grant& grant : capabilities.grants) {
    if (grant.image.empty() || grant.image_id != 0) continue;
    auto cluster = context.cluster();
    if (!cluster) return failure(cluster.error());
    const gateway::ImageSpec spec{grant.pool, grant.image};
    const auto found = (*cluster)->wait<gateway::VersionedHeader>(
        [&](auto done) { gateway::find_image((*cluster)->client(), spec, std::move(done)); });
    if (!found) return failure(found.error());
    grant.image_id = found->header.id;
  }
  return {};
}

Outcome<void> give(CommandContext& context, const AuthArguments& arguments) {
  auto capabilities = objecter::parse_capabilities(arguments.caps);
  if (!capabilities) return failure(capabilities.error());
  if (auto found = find_images(context, *capabilities); !found) return found;
  return ask_authority(
      context,
      {{"prefix", "auth caps"}, {"entity", arguments.entity}, {"caps", to_string(*capabilities)}});
}

}  // namespace

void add_auth_commands(CLI::App& app, CommandContext& context) {
  const auto arguments = std::make_shared<AuthArguments>();
  CLI::App* auth =
      app.add_subcommand("auth", "show and change what entities may do")->require_subcommand(1);
  context.add(*auth, "ls", "list all entities and their capabilities", [&context] {
    return ask_any_server(context, {{"prefix", "auth ls"}});
  });
  for (const auto& [verb, help] :
       {std::pair("get", "show what an entity may do"),
        std::pair("rm", "remove an entity's capabilities, so that it is permitted nothing")}) {
    auto* command = context.add(*auth, verb, help, [&context, arguments, verb = std::string(verb)] {
      const auto ask = verb == "get" ? ask_any_server : ask_authority;
      return ask(context, {{"prefix", "auth " + verb}, {"entity", arguments->entity}});
    });
    command->add_option("entity", arguments->entity, "name of the entity, as client.ID")
        ->required();
  }
  auto* given = context.add(*auth, "caps", "set all that an entity may do",
                            [&context, arguments] { return give(context, *arguments); });
  given->add_option("entity", arguments->entity, "name of the entity, as client.ID")->required();
  given
      ->add_option("caps", arguments->caps,
                   "capabilities, such as 'profile gateway pool=rbd image=disk1' or "
                   "'allow r pool=rbd, allow x'; '' permits nothing")
      ->required();
  auto* enforced = context.add(
      *auth, "enforce", "enforce capabilities in a cluster that was made before they existed",
      [&context, arguments] {
        return ask_authority(
            context, {{"prefix", "auth enforce"}, {"yes_i_really_mean_it", arguments->is_sure}});
      });
  enforced->add_flag("--yes-i-really-mean-it", arguments->is_sure,
                     "confirm that every entity in use has capabilities");
}

}  // namespace lunar::tools
