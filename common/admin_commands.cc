// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/admin_commands.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "common/json.h"
#include "common/log.h"

namespace lunar {
namespace {

using Json = nlohmann::ordered_json;

// Argument number `index` of a plain request, or the JSON field of the first name that is there
// (Ceph calls a name "var" and a value "val").
std::string argument(const AdminRequest& request, std::size_t index,
                     std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    if (const std::string* value = request.find(name)) return *value;
  }
  const auto words = request.words();
  return index < words.size() ? words[index] : std::string();
}

void config_show(Config& config, AdminReply reply) {
  Json all = Json::object();
  for (const auto& shown : config.show()) all[shown.name] = shown.value;
  reply.send(json_text(all));
}

void config_diff(Config& config, AdminReply reply) {
  Json all = Json::object();
  for (const auto& shown : config.show()) {
    if (shown.source == "default") continue;
    all[shown.name] = {
        {"default", shown.default_value}, {"value", shown.value}, {"source", shown.source}};
  }
  reply.send(json_text(all));
}

void config_get(Config& config, const AdminRequest& request, AdminReply reply) {
  const auto shown = config.show(argument(request, 0, {"name", "var"}));
  if (!shown) return reply.fail(shown.error());
  reply.send(json_text({{shown->name, shown->value}}));
}

void config_set(Config& config, const AdminRequest& request, AdminReply reply) {
  const std::string name = argument(request, 0, {"name", "var"});
  if (auto set = config.set(name, argument(request, 1, {"value", "val"})); !set) {
    return reply.fail(set.error());
  }
  reply.send(json_text({{"success", name + " is set"}}));
}

void log_dump(AdminReply reply) {
  std::string text;
  for (const std::string& line : log_recent()) text += line + "\n";
  if (const uint64_t dropped = log_dropped(); dropped > 0) {
    text += std::to_string(dropped) + " lines were dropped because the log file was too slow\n";
  }
  reply.send(std::move(text));
}

}  // namespace

std::vector<AdminSocket::ServedCommand> add_standard_commands(AdminSocket& socket, Config& config,
                                                              PerfRegistry& perf) {
  std::vector<AdminSocket::ServedCommand> commands;
  const auto keep = [&](std::string prefix, std::string help, AdminSocket::Handler handler) {
    commands.push_back(socket.add(std::move(prefix), std::move(help), std::move(handler)));
  };
  keep("config show", "values of all options",
       [&config](const AdminRequest&, AdminReply reply) { config_show(config, std::move(reply)); });
  keep("config diff", "options that differ from their defaults, and where from",
       [&config](const AdminRequest&, AdminReply reply) { config_diff(config, std::move(reply)); });
  keep("config get", "NAME: value of one option",
       [&config](const AdminRequest& request, AdminReply reply) {
         config_get(config, request, std::move(reply));
       });
  keep("config set", "NAME VALUE: changes an option that can change while running",
       [&config](const AdminRequest& request, AdminReply reply) {
         config_set(config, request, std::move(reply));
       });
  keep("perf dump", "[GROUP]: counters", [&perf](const AdminRequest& request, AdminReply reply) {
    reply.send(perf.dump(argument(request, 0, {"group", "logger"})));
  });
  keep("perf schema", "[GROUP]: what the counters mean",
       [&perf](const AdminRequest& request, AdminReply reply) {
         reply.send(perf.schema(argument(request, 0, {"group", "logger"})));
       });
  keep("perf histogram dump", "[GROUP]: latency histograms",
       [&perf](const AdminRequest& request, AdminReply reply) {
         reply.send(perf.histogram_dump(argument(request, 0, {"group", "logger"})));
       });
  keep("perf prometheus", "counters as Prometheus text",
       [&perf](const AdminRequest&, AdminReply reply) { reply.send(perf.prometheus()); });
  keep("log dump", "the last lines kept in memory",
       [](const AdminRequest&, AdminReply reply) { log_dump(std::move(reply)); });
  keep("log reopen", "opens the log file again, after it was moved away",
       [](const AdminRequest&, AdminReply reply) {
         if (auto opened = log_reopen(); !opened) return reply.fail(opened.error());
         reply.send("{}");
       });
  return commands;
}

}  // namespace lunar
