// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/file.h"
#include "common/json.h"
#include "common/visible_text.h"
#include "gateway/image_directory.h"
#include "objecter/protocol/control.h"
#include "tools/lunar/command.h"
#include "tools/lunar/server_commands.h"

// osd, pool, map: JSON commands to the map authority, as `ceph` sends them to a monitor.

namespace lunar::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxMapBytes = objecter::kMaxCommandText;
constexpr std::chrono::seconds kMapTimeout{5};  // of each server, if the authority is away

struct ClusterArguments {
  std::string pool;
  std::string pool_again;
  std::string object;
  std::string osd;
  std::string file;
  std::string entity, instance, nonce;
  std::vector<std::string> osds, removed_pools;
  std::string ids;
  std::vector<double> weights;
  double weight = 1;
  uint32_t pg_num = 0;
  uint64_t object_size = 0;
  std::string store, rados_pool, rados_namespace;
  bool is_sure = false;
  bool overwrites = false;
  bool asks_any_server = false;
  bool fences_all = false;  // every client of the entity
};

Json pool_create_request(const ClusterArguments& arguments) {
  Json request = {{"prefix", "pool create"}, {"pool", arguments.pool}};
  if (arguments.pg_num != 0) request["pg_num"] = arguments.pg_num;
  if (arguments.object_size != 0) request["object_size"] = arguments.object_size;
  if (!arguments.store.empty()) request["store"] = arguments.store;
  if (!arguments.rados_pool.empty()) request["rados_pool"] = arguments.rados_pool;
  if (!arguments.rados_namespace.empty()) request["rados_namespace"] = arguments.rados_namespace;
  if (!arguments.osds.empty()) request["osds"] = arguments.osds;
  if (!arguments.weights.empty()) request["weights"] = arguments.weights;
  return request;
}

// What a backup is written over is an older backup of the same cluster, or is given up in so many
// words: the map of an authority that was made anew must not replace the only copy of the old one.
Outcome<void> refuse_other_file(const std::string& file, const std::string& map_text) {
  std::error_code none;
  if (!std::filesystem::exists(std::filesystem::symlink_status(file, none))) return {};
  const auto there = read_file(file, kMaxMapBytes);
  const Json was = there ? parse_json_or_null<Json>(*there, objecter::kAnswerBounds) : Json();
  const Json is = parse_json_or_null<Json>(map_text, objecter::kAnswerBounds);
  const bool is_backup = was.is_object() && is.is_object() && was.contains("fsid") &&
                         was.contains("epoch") && was["epoch"].is_number_unsigned();
  if (is_backup && was["fsid"] == is["fsid"] && was["epoch"] <= is["epoch"]) return {};
  const std::string what = !is_backup ? "is there already, and is no backup of a map."
                           : was["fsid"] != is["fsid"]
                               ? "has the map of another cluster."
                               : "has epoch " + printable_json(was["epoch"]) +
                                     " of the map, and the authority only epoch " +
                                     printable_json(is["epoch"]) +
                                     ": is it what is to be restored?";
  return failure(std::errc::file_exists,
                 file + " " + what + " Name another file, or add --overwrite");
}

// A pool in it that the map does not know may be in no other file.
Outcome<void> refuse_better_backup(const std::string& file, const std::string& map_text) {
  const auto there = read_file(file, kMaxMapBytes);
  if (!there) return {};
  const auto was = objecter::osd_map_from_json(*there);
  const auto is = objecter::osd_map_from_json(map_text);
  if (!was || !is) return {};
  for (const objecter::PoolInfo& pool : was->pools) {
    if (!is->unknown_pools.has(pool.id) && pool.id < is->next_pool_id) continue;
    return failure(std::errc::file_exists,
                   file + " knows pool " + pool.name +
                       ", and the map does not: restore it, or name another file, or add "
                       "--overwrite");
  }
  return {};
}

// The newest map that any server has. All are asked: each may have missed the last change.
Outcome<std::string> newest_map(CommandContext& context) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  std::vector<objecter::OsdId> osds;
  for (const objecter::OsdInfo& osd : (*cluster)->client().objecter().map()->osds)
    if (osd.up) osds.push_back(osd.id);
  auto replies =
      send_to_each(context, osds, {{"prefix", "map dump"}, {"may_be_old", true}}, kMapTimeout);
  if (!replies) return failure(replies.error());
  std::string text, silent;
  objecter::Epoch epoch = 0;
  objecter::OsdId of = -1;
  for (ServerReply& reply : *replies) {
    const auto map = reply.text ? objecter::osd_map_from_json(*reply.text)
                                : Outcome<objecter::OsdMap>(failure(reply.text.error()));
    if (!map) {
      silent += "\n  osd." + std::to_string(reply.osd) + ": " + map.error().message;
      continue;
    }
    print_visible(stderr, "lunar: osd.%d has map epoch %llu, with %zu pools\n", reply.osd,
                  static_cast<unsigned long long>(map->epoch), map->pools.size());
    if (map->epoch <= epoch) continue;
    epoch = map->epoch;
    of = reply.osd;
    text = std::move(*reply.text);
  }
  if (!silent.empty()) print_visible(stderr, "lunar: without the maps of%s\n", silent.c_str());
  if (of < 0) return failure(objecter::OsdErrc::kUnreachable, "no server says which map it has");
  print_visible(stderr, "lunar: that of osd.%d is the newest one\n", of);
  return text;
}

Outcome<std::string> map_to_save(CommandContext& context, bool of_any_server) {
  if (of_any_server) return newest_map(context);
  return ask_server(context, -1, {{"prefix", "map backup"}});
}

Outcome<void> backup(CommandContext& context, const ClusterArguments& arguments) {
  const auto map = map_to_save(context, arguments.asks_any_server);
  if (!map) return failure(map.error());
  if (!arguments.overwrites) {
    if (auto free = refuse_other_file(arguments.file, *map); !free) return free;
    if (auto worse = refuse_better_backup(arguments.file, *map); !worse) return worse;
  }
  return write_file_atomically(arguments.file, as_const_bytes(*map));
}

// The images that somebody has open keep their pool, and so does what cannot be read; but not a
// server that is silent: a pool whose servers are gone for good must be removable.
Outcome<void> refuse_open_images(ClusterHandle& cluster, const std::string& pool) {
  const auto open = cluster.wait<std::optional<gateway::ImageHeader>>(
      [&](auto done) { gateway::find_open_image(cluster.client(), pool, std::move(done)); });
  if (!open) {
    return failure(open.error().code, "pool '" + pool +
                                          "' is not removed, as it is not known whether an image "
                                          "is open: " +
                                          open.error().message);
  }
  if (!*open) return {};
  const auto& user = (*open)->registrations.front();
  return failure(objecter::OsdErrc::kBusy,
                 "pool '" + pool + "' is not removed: image '" + pool + "/" + (*open)->name +
                     "' is open by " + user.entity + " at " + user.instance +
                     "; close it there, or strike a dead gateway with 'lunar unregister'");
}

Outcome<void> convert_pool(CommandContext& context, const ClusterArguments& arguments) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  gateway::Client& client = (*cluster)->client();
  ProgressLine line("converting", context.shows_progress());
  const auto conversion = (*cluster)->wait<gateway::PoolConversion>([&](auto done) {
    gateway::convert_pool(
        client, arguments.pool, [&line](uint64_t at, uint64_t total) { line.show(at, total); },
        std::move(done));
  });
  if (!conversion) return failure(conversion.error());
  if (context.wants_json()) {
    Json renamed = Json::object();
    for (const auto& [from, to] : conversion->renamed) renamed[from] = to;
    print_visible(stdout, "%s\n",
                  Json{{"converted", conversion->converted}, {"renamed", renamed}}.dump(1).c_str());
    return {};
  }
  print_visible(stdout, "%llu names converted\n",
                static_cast<unsigned long long>(conversion->converted));
  for (const auto& [from, to] : conversion->renamed) {
    print_visible(stdout, "image '%s' is now '%s': another image has its name\n", from.c_str(),
                  to.c_str());
  }
  return {};
}

Outcome<void> remove_pool(CommandContext& context, const ClusterArguments& arguments) {
  if (!arguments.is_sure || arguments.pool != arguments.pool_again) {
    return failure(objecter::OsdErrc::kNotPermitted,
                   "removing pool '" + arguments.pool +
                       "' destroys every image in it for good; if that is meant, give its name "
                       "twice, followed by --yes-i-really-really-mean-it");
  }
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  if (auto free = refuse_open_images(**cluster, arguments.pool); !free) return free;
  return ask_authority(
      context,
      {{"prefix", "pool rm"}, {"pool", arguments.pool}, {"yes_i_really_really_mean_it", true}});
}

Outcome<void> restore(CommandContext& context, const ClusterArguments& arguments) {
  const auto text = read_file(arguments.file, kMaxMapBytes);
  if (!text) return failure(text.error());
  const auto map = parse_json<Json>(*text, objecter::kAnswerBounds);
  if (!map) {
    return failure(map.error().code, arguments.file + " " + map.error().message +
                                         "; give a file that 'lunar map backup' wrote");
  }
  return ask_authority(context, {{"prefix", "map restore"},
                                 {"map", *map},
                                 {"osd_lost", arguments.osds},
                                 {"pool_removed", arguments.removed_pools},
                                 {"yes_i_really_mean_it", arguments.is_sure}});
}

// To every server that the map has, at the same time, without the authority's help. The error is
// that of the first by id that has not done it; it names all of those, and those that have.
Outcome<void> send_to_all(CommandContext& context, const Json& request) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  std::vector<objecter::OsdId> all;
  for (const auto& osd : (*cluster)->client().objecter().map()->osds) all.push_back(osd.id);
  const auto replies = send_to_each(context, all, request, kAnswerTimeout);
  if (!replies) return failure(replies.error());
  std::error_code first;
  std::vector<std::pair<std::string, std::string>> failed;  // servers, and what they all say
  std::string done;
  for (const ServerReply& reply : *replies) {
    const std::string name = "osd." + std::to_string(reply.osd);
    if (reply.text) {
      done += (done.empty() ? "" : ", ") + name;
      continue;
    }
    const Error& error = reply.text.error();
    if (!first) first = error.code;
    const auto same = std::find_if(failed.begin(), failed.end(), [&error](const auto& each) {
      return each.second == error.message;
    });
    if (same != failed.end())
      same->first += ", " + name;
    else
      failed.emplace_back(name, error.message);
  }
  if (!first) return {};
  std::string sentence;
  for (const auto& [names, says] : failed) {
    const bool is_named = says.starts_with(names + " ");
    sentence += (sentence.empty() ? "" : "; ") + (is_named ? says : names + ": " + says);
  }
  sentence += "; done at " + (done.empty() ? "none" : done);
  return failure(first, std::move(sentence));
}

// Of one client, or of all of an entity, which has to be said: an instance that a script has lost
// must not fence every gateway.
Outcome<Json> fencing_request(const char* prefix, const ClusterArguments& arguments) {
  if (arguments.fences_all != arguments.instance.empty()) {
    return failure(std::errc::invalid_argument, "name the instance of one client of " +
                                                    arguments.entity +
                                                    ", or give --all for all of them");
  }
  if (arguments.fences_all && !arguments.nonce.empty()) {
    return failure(std::errc::invalid_argument,
                   "a nonce is of one client, and --all means all clients of " + arguments.entity +
                       ": give one of the two");
  }
  Json request = {{"prefix", prefix}, {"entity", arguments.entity}};
  if (!arguments.fences_all) request["instance"] = arguments.instance;
  return request;
}

Outcome<void> fence(CommandContext& context, const ClusterArguments& arguments) {
  Outcome<Json> request = fencing_request("osd fence", arguments);
  if (!request) return failure(request.error());
  if (!arguments.fences_all) {
    uint64_t nonce = 0;
    const std::string& text = arguments.nonce;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), nonce);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
      return failure(
          std::errc::invalid_argument,
          "'" + text + "' is not a nonce: give the number that 'lunar lock ls POOL/IMAGE' shows");
    }
    (*request)["nonce"] = nonce;
  }
  return send_to_all(context, *request);
}

Outcome<void> unfence(CommandContext& context, const ClusterArguments& arguments) {
  const Outcome<Json> request = fencing_request("osd unfence", arguments);
  if (!request) return failure(request.error());
  return send_to_all(context, *request);
}

}  // namespace

void add_cluster_commands(CLI::App& app, CommandContext& context) {
  const auto arguments = std::make_shared<ClusterArguments>();
  const auto simple = [&context](CLI::App& parent, const char* name, const char* help,
                                 const char* prefix) {
    context.add(parent, name, help, [&context, prefix] {
      return ask_any_server(context, {{"prefix", prefix}});
    });
  };
  CLI::App* osd =
      app.add_subcommand("osd", "show and change the object servers")->require_subcommand(1);
  simple(*osd, "tree", "list the servers, up or down, with their pools", "osd tree");
  simple(*osd, "ls", "list the ids of all OSDs", "osd ls");
  simple(*osd, "dump", "print all that the cluster map says of OSDs", "osd dump");
  for (const auto& [verb, help] :
       {std::pair("down", "mark a server as down"),
        std::pair("out", "give a server's PGs of pools in RADOS to the other servers"),
        std::pair("rm", "forget a server that no pool uses")}) {
    auto* command = context.add(*osd, verb, help, [&context, arguments, verb = verb] {
      return ask_authority(context, {{"prefix", std::string("osd ") + verb},
                                     {"osd", arguments->osd},
                                     {"yes_i_really_mean_it", arguments->is_sure}});
    });
    command->add_option("osd", arguments->osd, "id of the server")->required();
    if (std::string(verb) == "out")
      command->add_flag("--yes-i-really-mean-it", arguments->is_sure,
                        "confirm that the process of a server that is down has ended");
  }
  auto* let_have_pgs = context.add(
      *osd, "in", "give a server that is out PGs of pools in RADOS again", [&context, arguments] {
        return ask_authority(
            context,
            {{"prefix", "osd in"}, {"osd", arguments->osd}, {"weight", arguments->weight}});
      });
  let_have_pgs->add_option("osd", arguments->osd, "id of the server")->required();
  let_have_pgs->add_option("--weight", arguments->weight,
                           "the server's share, beside the weights of the others (default 1)");
  auto* replaced =
      context.add(*osd, "replace", "accept a new store for a server whose store is lost",
                  [&context, arguments] {
                    return ask_authority(context, {{"prefix", "osd replace"},
                                                   {"osd", arguments->osd},
                                                   {"store", arguments->store},
                                                   {"yes_i_really_mean_it", arguments->is_sure}});
                  });
  replaced->add_option("osd", arguments->osd, "id of the server")->required();
  replaced->add_option("store", arguments->store, "UUID of the new store")->required();
  replaced->add_flag("--yes-i-really-mean-it", arguments->is_sure,
                     "confirm that all objects on the old store are lost");
  auto* mapped = context.add(
      *osd, "map", "show the PG and the server of an object, whether it exists or not",
      [&context, arguments] {
        return ask_any_server(
            context,
            {{"prefix", "osd map"}, {"pool", arguments->pool}, {"object", arguments->object}});
      });
  mapped->add_option("pool", arguments->pool, "name of the pool")->required();
  mapped
      ->add_option("object", arguments->object,
                   "name of the object: ID.header, or ID.NUMBER in 16 hex digits")
      ->required();
  auto* let_in =
      context.add(*osd, "unfence", "let a gateway or an entity in again that 'osd fence' shut out",
                  [&context, arguments] { return unfence(context, *arguments); });
  let_in->add_option("entity", arguments->entity, "entity of the gateway, as client.ID")
      ->required();
  let_in->add_option("instance", arguments->instance,
                     "instance of the gateway, as 'lunar info' shows it");
  let_in->add_flag("--all", arguments->fences_all, "lift the fence of the whole entity");
  auto* fenced =
      context.add(*osd, "fence", "refuse the ops of a gateway, or of an entity, on every server",
                  [&context, arguments] { return fence(context, *arguments); });
  fenced->add_option("entity", arguments->entity, "entity of the gateway, as client.ID")
      ->required();
  fenced->add_option("instance", arguments->instance,
                     "instance of the gateway, as 'lunar info' shows it");
  fenced->add_option("nonce", arguments->nonce,
                     "nonce of the last start of the gateway that is fenced");
  fenced->add_flag("--all", arguments->fences_all,
                   "fence all clients of the entity, those that start later too");

  CLI::App* pool = app.add_subcommand("pool", "show and change the pools")->require_subcommand(1);
  simple(*pool, "ls", "list the names of all pools", "pool ls");
  auto* created = context.add(
      *pool, "create", "make a pool; its servers are fixed from then on",
      [&context, arguments] { return ask_authority(context, pool_create_request(*arguments)); });
  created->add_option("pool", arguments->pool, "name of the pool")->required();
  created->add_option("--pg-num", arguments->pg_num, "number of placement groups");
  add_size_option(*created, "--object-size", arguments->object_size,
                  "object size of images that are created without one");
  created->add_option("--store", arguments->store,
                      "where servers keep the objects: file, mem or rados");
  created->add_option("--rados-pool", arguments->rados_pool,
                      "pool of Ceph that keeps the objects, with --store rados");
  created->add_option(
      "--rados-namespace", arguments->rados_namespace,
      "namespace in that pool, which nobody else uses; without it, the pool's name");
  created
      ->add_option("--osds", arguments->osds,
                   "ids of the servers that get objects; without it, every server")
      ->delimiter(',');
  created
      ->add_option("--weights", arguments->weights,
                   "weights of the servers, one for each of --osds")
      ->delimiter(',');
  auto* converted =
      context.add(*pool, "convert", "give each image name of an older pool an object",
                  [&context, arguments] { return convert_pool(context, *arguments); });
  converted->add_option("pool", arguments->pool, "name of the pool")->required();
  auto* got = context.add(*pool, "get", "show the settings of a pool", [&context, arguments] {
    return ask_any_server(context, {{"prefix", "pool get"}, {"pool", arguments->pool}});
  });
  got->add_option("pool", arguments->pool, "name of the pool")->required();
  auto* removed = context.add(*pool, "rm", "remove a pool with all its images",
                              [&context, arguments] { return remove_pool(context, *arguments); });
  removed->add_option("pool", arguments->pool, "name of the pool")->required();
  removed->add_option("again", arguments->pool_again, "name of the pool once more, to be sure");
  removed->add_flag("--yes-i-really-really-mean-it", arguments->is_sure,
                    "confirm that all images of the pool are lost");

  auto* purged = context.add(
      *pool, "purge-unknown", "delete what is left of pools that a restored map does not know",
      [&context, arguments] {
        return ask_authority(context, {{"prefix", "pool purge-unknown"},
                                       {"ids", arguments->ids},
                                       {"yes_i_really_really_mean_it", arguments->is_sure}});
      });
  purged->add_option("ids", arguments->ids, "ids of the pools, as 'lunar status' shows them");
  purged->add_flag("--yes-i-really-really-mean-it", arguments->is_sure,
                   "confirm that all images of those pools are lost");

  CLI::App* map =
      app.add_subcommand("map", "show, save and restore the cluster map")->require_subcommand(1);
  simple(*map, "dump", "print the cluster map", "map dump");
  auto* saved = context.add(*map, "backup", "save the cluster map to a file",
                            [&context, arguments] { return backup(context, *arguments); });
  saved->add_option("file", arguments->file, "file to write the map to")->required();
  saved->add_flag("--overwrite", arguments->overwrites,
                  "replace a file that is not an older backup of this cluster's map");
  saved->add_flag("--any-server", arguments->asks_any_server,
                  "if the map authority is away, save the newest map that a server has");
  auto* restored = context.add(*map, "restore", "put a saved map back",
                               [&context, arguments] { return restore(context, *arguments); });
  restored->add_option("file", arguments->file, "file that 'map backup' has written")->required();
  restored
      ->add_option("--osd-lost", arguments->osds,
                   "ids of servers whose store is another one now, and the old one lost")
      ->delimiter(',');
  restored
      ->add_option("--pool-removed", arguments->removed_pools,
                   "pools that were removed since, of which what is left is to be brought back")
      ->delimiter(',');
  restored->add_flag("--yes-i-really-mean-it", arguments->is_sure,
                     "confirm that the map in use is replaced");
}

}  // namespace lunar::tools
