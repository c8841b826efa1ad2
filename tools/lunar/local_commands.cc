// SPDX-License-Identifier: LGPL-2.1-or-later
#include <glob.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/admin_socket.h"
#include "common/json.h"
#include "common/keyring.h"
#include "common/visible_text.h"
#include "tools/lunar/command.h"

// What needs no cluster, or looks at why there is none: check, gateway, daemon, keyring.

namespace lunar::tools {
namespace {

using Json = nlohmann::ordered_json;

struct LocalArguments {
  std::string spec;
  std::string socket;
  std::vector<std::string> words;
  std::string file;
  std::string entity;
  std::string output;
  bool finishes = false;
};

// A member of an answer, whose type is another program's business.
std::string text_in(const Json& json, const char* name) {
  const bool is_there = json.is_object() && json.contains(name) && json[name].is_string();
  return is_there ? json[name].get<std::string>() : std::string();
}

// One line per step, so that the first one that fails says what to mend.
Outcome<void> check(CommandContext& context, const LocalArguments& arguments) {
  const Config& config = context.program().config();
  const std::string file = config.file();
  print_visible(stdout, "configuration  %s\n",
                file.empty() ? "none found; defaults" : file.c_str());
  for (const std::string& warning : config.warnings())
    print_visible(stdout, "  warning: %s\n", warning.c_str());
  print_visible(stdout, "entity         %s\n", config.name().to_string().c_str());
  print_visible(stdout, "servers        mon_host = %s\n", config.get_string("mon_host").c_str());
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  const auto map = (*cluster)->client().objecter().map();
  std::size_t up = 0;
  for (const auto& osd : map->osds) up += osd.up ? 1 : 0;
  print_visible(stdout, "cluster        %s epoch %llu, %zu of %zu servers up\n",
                map->fsid.to_string().c_str(), static_cast<unsigned long long>(map->epoch), up,
                map->osds.size());
  if (arguments.spec.empty()) return {};
  auto image = (*cluster)->open_image(arguments.spec, {.read_only = true});
  if (!image) return failure(image.error());
  print_visible(stdout, "image          %s, %s\n", arguments.spec.c_str(),
                size_text((*image)->size()).c_str());
  std::vector<std::byte> block(4096);
  const auto read = (*cluster)->wait<void>([&](auto done) {
    (*image)->read(0, block, {}, [done = std::move(done)](const gateway::IoResult& result) mutable {
      if (!result.error) return done({});
      done(failure(result.error, "reading the first block: " + result.error.message()));
    });
  });
  const auto closed = (*cluster)->close_image(std::move(*image));
  if (!read) return read;
  print_visible(stdout, "%s\n", "read           the first block can be read");
  return closed;
}

// `pattern` is glob(3)'s.
std::vector<std::string> find_paths(const std::string& pattern) {
  std::vector<std::string> out;
  glob_t found{};
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    for (std::size_t i = 0; i < found.gl_pathc; ++i) out.emplace_back(found.gl_pathv[i]);
  }
  globfree(&found);
  return out;
}

Outcome<void> last_error(CommandContext& context, const LocalArguments& arguments) {
  std::vector<std::string> sockets = {arguments.socket};
  if (arguments.socket.empty()) {
    const Config& config = context.program().config();
    sockets = find_paths(config.get_string("run_dir") + "/" + config.cluster() + "-client.*.asok");
  }
  bool answered = false;
  for (const std::string& socket : sockets) {
    const auto answer = admin_socket_request(socket, "last-error");
    if (!answer) {
      if (!arguments.socket.empty()) return failure(answer.error());
      continue;
    }
    answered = true;
    if (context.wants_json()) {
      print_visible(stdout, "%s\n", answer->c_str());
      continue;
    }
    const auto errors = parse_json<Json>(*answer, {1 << 20});
    if (!errors || !errors->is_array()) continue;
    for (const auto& each : *errors) {
      print_visible(stdout, "%s %s\n", text_in(each, "time").c_str(),
                    text_in(each, "error").c_str());
    }
  }
  if (answered) return {};
  return failure(std::errc::no_such_file_or_directory,
                 "no running gateway has an admin socket in " +
                     context.program().config().get_string("run_dir") +
                     ": name one with --socket, or look into tgtd's log");
}

// Where programs that run as this entity have their admin sockets, by the configuration file.
Outcome<std::vector<std::string>> sockets_of(const Config& config, const EntityName& entity) {
  Config theirs(entity, config.cluster());
  if (!config.file().empty()) {
    if (auto loaded = theirs.load_file(config.file()); !loaded) return failure(loaded.error());
  }
  const auto shown = theirs.show("admin_socket");
  if (!shown) return failure(shown.error());
  const std::string& text = shown->value;
  for (const std::string_view pid : {"${pid}", "$pid"}) {
    const auto at = text.find(pid);
    if (at == std::string::npos) continue;
    const std::string begin = theirs.expand(text.substr(0, at));
    const std::string end = theirs.expand(text.substr(at + pid.size()));
    std::vector<std::string> paths = find_paths(begin + "[0-9]*" + end);
    std::erase_if(paths, [&](const std::string& path) {  // "client.gw.1" is not "client.gw"
      const std::string number = path.substr(begin.size(), path.size() - begin.size() - end.size());
      return number.find_first_not_of("0123456789") != std::string::npos;
    });
    return paths;
  }
  return std::vector{theirs.expand(text)};
}

// That of the one that runs. A program that was killed leaves its own behind, which refuses
// connections.
Outcome<std::string> socket_of(const Config& config, const EntityName& entity) {
  auto sockets = sockets_of(config, entity);
  if (!sockets) return failure(sockets.error());
  if (sockets->size() > 1) {
    std::erase_if(*sockets, [](const std::string& path) {
      const auto answer = admin_socket_request(path, "version");
      return !answer && answer.error().code == std::errc::connection_refused;
    });
  }
  if (sockets->size() == 1) return std::move(sockets->front());
  if (sockets->empty()) {
    return failure(std::errc::no_such_file_or_directory,
                   "no running program has an admin socket of " + entity.to_string() +
                       ": give the path of the socket");
  }
  std::string paths;
  for (const std::string& path : *sockets) paths += " " + path;
  return failure(std::errc::invalid_argument,
                 "several programs are " + entity.to_string() + "; give the path of one:" + paths);
}

// As `ceph daemon NAME|SOCKET COMMAND…`.
Outcome<void> daemon_command(CommandContext& context, const LocalArguments& arguments) {
  std::string request;
  for (const std::string& word : arguments.words) request += (request.empty() ? "" : " ") + word;
  Outcome<std::string> socket = arguments.socket;
  std::error_code unreadable;
  const bool is_path = std::filesystem::exists(arguments.socket, unreadable);
  if (const auto entity = EntityName::parse(arguments.socket); entity && !is_path) {
    socket = socket_of(context.program().config(), *entity);
  }
  if (!socket) return failure(socket.error());
  const auto answer = admin_socket_request(*socket, request);
  if (!answer) return failure(answer.error());
  print_visible(stdout, "%s\n", answer->c_str());
  return {};
}

Outcome<void> keyring_add(const LocalArguments& arguments) {
  const auto name = EntityName::parse(arguments.entity);
  if (!name) {
    return failure(std::errc::invalid_argument,
                   "'" + arguments.entity + "' is no entity; write client.ID or osd.ID");
  }
  Keyring keyring;
  if (std::filesystem::exists(arguments.file)) {
    auto loaded = Keyring::load(arguments.file);
    if (!loaded) return failure(loaded.error());
    keyring = std::move(*loaded);
  }
  if (keyring.contains(*name)) {
    return failure(std::errc::file_exists, arguments.entity + " has a key in " + arguments.file +
                                               " already: remove it "
                                               "from the file first to make a new one");
  }
  keyring.generate(*name);
  return keyring.save(arguments.file);
}

Outcome<void> keyring_derive(const LocalArguments& arguments) {
  const auto holder = EntityName::parse(arguments.entity);
  if (!holder) {
    return failure(std::errc::invalid_argument,
                   "'" + arguments.entity + "' is no entity; write --for osd.ID or client.ID");
  }
  const auto keyring = Keyring::load(arguments.file);
  if (!keyring) return failure(keyring.error());
  if (keyring->has_derived()) {
    return failure(std::errc::invalid_argument,
                   arguments.file +
                       " is itself derived: derive from the keyring that has the "
                       "keys of all entities");
  }
  if (!keyring->contains(*holder)) {
    return failure(std::errc::invalid_argument, arguments.file + " has no key of " +
                                                    arguments.entity + ": make one with lunar " +
                                                    "keyring add " + arguments.file + " " +
                                                    arguments.entity);
  }
  // The only file with the keys of all must not become one that can be derived from it.
  const auto there = Keyring::load(arguments.output);
  if (!there && there.error().code != std::errc::no_such_file_or_directory) {
    return failure(there.error().code,
                   there.error().message + "; it is not replaced, as it may have keys that are " +
                       "nowhere else: mend it, name another file, or remove it if it has none");
  }
  if (there) {
    for (const EntityName& name : there->names()) {
      if (name == *holder || there->find(name) == nullptr) continue;
      return failure(std::errc::file_exists, arguments.output + " has the key of " +
                                                 name.to_string() + " itself: write what " +
                                                 arguments.entity + " is to hold to another file");
    }
  }
  return keyring->derived_for(*holder).save(arguments.output);
}

// The keyring of a file, which has the own key of this entity.
Outcome<Keyring> load_with_own_key(const LocalArguments& arguments) {
  const auto name = EntityName::parse(arguments.entity);
  auto keyring = Keyring::load(arguments.file);
  if (!keyring) return failure(keyring.error());
  if (!name || keyring->find(*name) == nullptr) {
    return failure(std::errc::invalid_argument,
                   arguments.file + " has no key of " + arguments.entity +
                       " itself: keys are changed where they were made");
  }
  return keyring;
}

Outcome<void> keyring_rotate(const LocalArguments& arguments) {
  auto keyring = load_with_own_key(arguments);
  if (!keyring) return failure(keyring.error());
  const EntityName name = *EntityName::parse(arguments.entity);
  if (keyring->is_rotating(name) != arguments.finishes) {
    return failure(
        std::errc::invalid_argument,
        arguments.entity + (arguments.finishes
                                ? " has no previous key in " + arguments.file
                                : " has a previous key in " + arguments.file +
                                      " already: forget that first, with rotate --finish, once it "
                                      "is not used any more"));
  }
  if (arguments.finishes) {
    keyring->finish_rotation(name);
  } else {
    keyring->begin_rotation(name);
  }
  return keyring->save(arguments.file);
}

Outcome<void> keyring_remove(const LocalArguments& arguments) {
  const auto name = EntityName::parse(arguments.entity);
  auto keyring = Keyring::load(arguments.file);
  if (!keyring) return failure(keyring.error());
  if (!name || !keyring->remove(*name)) {
    return failure(std::errc::invalid_argument,
                   arguments.file + " has no key of " + arguments.entity);
  }
  return keyring->save(arguments.file);
}

}  // namespace

void add_local_commands(CLI::App& app, CommandContext& context) {
  const auto arguments = std::make_shared<LocalArguments>();
  auto* checked = context.add(app, "check", "go through configuration, key, servers and an image",
                              [&context, arguments] { return check(context, *arguments); });
  context.add_image_option(*checked, arguments->spec, "image to look at as well, as [POOL/]IMAGE")
      ->required(false);

  CLI::App* gateway =
      app.add_subcommand("gateway", "ask the running gateways (tgtd)")->require_subcommand(1);
  auto* errors = context.add(*gateway, "last-error", "say in sentences what tgtadm shows as a code",
                             [&context, arguments] { return last_error(context, *arguments); });
  errors->add_option("--socket", arguments->socket,
                     "admin socket of the gateway; without it, all in run_dir");

  auto* daemon = context.add(app, "daemon", "send a command to an admin socket",
                             [&context, arguments] { return daemon_command(context, *arguments); });
  daemon
      ->add_option("socket", arguments->socket, "path of the admin socket, or TYPE.ID as in osd.0")
      ->required();
  daemon->add_option("command", arguments->words, "words of the command, such as: perf dump")
      ->required();

  CLI::App* keyring =
      app.add_subcommand("keyring", "make and fill key files")->require_subcommand(1);
  auto* added = context.add(*keyring, "add", "add a new random key for an entity",
                            [arguments] { return keyring_add(*arguments); });
  added
      ->add_option("file", arguments->file,
                   "keyring file, which is made with mode 0600 if it is missing")
      ->required();
  added->add_option("entity", arguments->entity, "entity that the key is for: client.ID or osd.ID")
      ->required();

  auto* derived = context.add(*keyring, "derive",
                              "make what one entity has to hold; a server cannot pose as anybody "
                              "else with it",
                              [arguments] { return keyring_derive(*arguments); });
  derived->add_option("file", arguments->file, "keyring file that has the keys of all entities")
      ->required();
  derived->add_option("--for", arguments->entity, "entity that gets it: osd.ID or client.ID")
      ->required();
  derived
      ->add_option("-o,--output", arguments->output,
                   "file that is made, or replaced, with mode 0600")
      ->required();

  auto* rotated = context.add(*keyring, "rotate", "give an entity a new key beside the one it has",
                              [arguments] { return keyring_rotate(*arguments); });
  rotated->add_option("file", arguments->file, "keyring file that has the keys of all entities")
      ->required();
  rotated->add_option("entity", arguments->entity, "name of the entity: client.ID or osd.ID")
      ->required();
  rotated->add_flag("--finish", arguments->finishes, "forget the previous key instead");

  auto* removed = context.add(*keyring, "rm", "take the key of an entity out",
                              [arguments] { return keyring_remove(*arguments); });
  removed->add_option("file", arguments->file, "keyring file that has the key")->required();
  removed->add_option("entity", arguments->entity, "name of the entity: client.ID or osd.ID")
      ->required();
}

}  // namespace lunar::tools
