// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "common/json.h"
#include "common/visible_text.h"
#include "tools/lunar/server_commands.h"
#include "tools/lunar/text_table.h"

// status and df: how the cluster is, as its servers say at this moment. Every server is asked at
// the same time, so that one which hangs costs a second and a half once.

namespace lunar::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::chrono::milliseconds kUsageTimeout{1500};

struct StatusArguments {
  std::string image;
  bool wants_exit_code = false;
};

// What the servers that the map has as up say of themselves.
struct ServerReports {
  objecter::OsdMapRef map;
  Outcome<std::string> status;         // of the map authority
  std::vector<ServerReply> usages;     // in the order of the map
  std::vector<ServerReply> unflushed;  // in the same order
};

Outcome<ServerReports> ask_servers(CommandContext& context, bool wants_status) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  ServerReports reports;
  reports.map = (*cluster)->client().objecter().map();
  std::vector<ServerRequest> requests;
  for (const char* prefix : {"store usage", "unflushed"}) {
    for (const objecter::OsdInfo& osd : reports.map->osds) {
      if (osd.up) requests.push_back({osd.id, {{"prefix", prefix}}, kUsageTimeout});
    }
  }
  const std::size_t num_up = requests.size() / 2;
  if (wants_status) requests.push_back({-1, {{"prefix", "status"}}, kShowTimeout});
  auto replies = send_all(context, requests);
  if (!replies) return failure(replies.error());
  if (wants_status) {
    reports.status = std::move(replies->back().text);
    replies->pop_back();
  }
  const auto middle = replies->begin() + static_cast<std::ptrdiff_t>(num_up);
  reports.usages.assign(std::make_move_iterator(replies->begin()), std::make_move_iterator(middle));
  reports.unflushed.assign(std::make_move_iterator(middle),
                           std::make_move_iterator(replies->end()));
  return reports;
}

Json json_of(const ServerReply& reply) {
  if (!reply.text) return {};
  return parse_json_or_null<Json>(*reply.text, objecter::kAnswerBounds);
}

uint64_t percent_of(const Json& usage) {
  const uint64_t total = std::max<uint64_t>(number_in(usage, "total"), 1);
  const double share = static_cast<double>(number_in(usage, "used")) / static_cast<double>(total);
  return static_cast<uint64_t>(share * 100);
}

// What is wrong, and how much: HEALTH_OK, or the worst of what was said.
class Health {
 public:
  void warn(std::string what) { complaints_.push_back(std::move(what)); }
  void fail(std::string what) {
    is_error_ = true;
    complaints_.push_back(std::move(what));
  }
  const char* word() const {
    if (is_error_) return "HEALTH_ERR";
    return complaints_.empty() ? "HEALTH_OK" : "HEALTH_WARN";
  }
  int exit_code() const {
    if (is_error_) return 2;
    return complaints_.empty() ? 0 : 1;
  }
  const Json& complaints() const { return complaints_; }

 private:
  Json complaints_ = Json::array();  // sentences
  bool is_error_ = false;            // IO fails, or data is lost
};

void judge_usage(const ServerReply& reply, const std::string& name, const std::string& more,
                 Health& health) {
  if (!reply.text) {
    health.warn(name + " does not say how full it is: " + reply.text.error().message + more);
    return;
  }
  const Json usage = json_of(reply);
  const std::string state = text_in(usage, "state", "ok");
  if (state == "ok") return;
  const std::string text = name + " is " + state + ": " + std::to_string(percent_of(usage)) +
                           "% used, " + size_text(number_in(usage, "available"));
  if (state == "full") {
    health.fail(text + " left: writes that need space fail; remove images or UNMAP" + more);
  } else {
    health.warn(text + " left: remove images, or give it a larger disk" + more);
  }
}

// Of losses and damage; an earlier build, or one that was not asked with enough rights, says
// nothing of them.
void judge_losses(const ServerReply& reply, const std::string& name, Health& health) {
  const Json said = json_of(reply);
  const std::size_t lost = json_list_in(said, "lost_writes").size();
  const std::size_t damaged = json_list_in(said, "damaged_objects").size();
  if (lost != 0) {
    health.fail(name + " has lost acknowledged writes of " + std::to_string(lost) +
                (lost == 1 ? " image" : " images") + ": 'lunar scrub POOL' names them");
  }
  if (damaged != 0) {
    health.fail(name + " has " + std::to_string(damaged) + " damaged " +
                (damaged == 1 ? "object" : "objects") + ": 'lunar scrub POOL' names them");
  }
}

Health health_of(const ServerReports& reports, const std::string& unknown_pools,
                 bool is_authority_silent) {
  Health health;
  if (!unknown_pools.empty()) {
    health.warn("the map was restored, and may not know pools with ids of " + unknown_pools +
                ": restore a newer backup, or give them up by 'lunar pool purge-unknown'");
  }
  std::size_t at = 0;
  for (const objecter::OsdInfo& osd : reports.map->osds) {
    const std::string name = "osd." + std::to_string(osd.id);
    const std::string more = osd.id == reports.map->authority && is_authority_silent
                                 ? "; it is the map authority, and the map cannot change without it"
                                 : "";
    if (!osd.up) {
      health.warn(name + " is down: IO waits for it" + more);
      continue;
    }
    judge_usage(reports.usages[at], name, more, health);
    judge_losses(reports.unflushed[at], name, health);
    ++at;
  }
  return health;
}

Json capacity_of(const std::vector<ServerReply>& usages) {
  uint64_t total = 0, used = 0, available = 0;
  for (const ServerReply& reply : usages) {
    const Json usage = json_of(reply);
    total += number_in(usage, "total");
    used += number_in(usage, "used");
    available += number_in(usage, "available");
  }
  return {{"total", total}, {"used", used}, {"available", available}};
}

std::string capacity_text(const Json& capacity) {
  return size_text(number_in(capacity, "used")) + " of " + size_text(number_in(capacity, "total")) +
         " used, " + size_text(number_in(capacity, "available")) + " left";
}

// As 'ceph status': what the authority says, and how the servers are.
Outcome<void> show_status(CommandContext& context, const StatusArguments& arguments) {
  auto reports = ask_servers(context, true);
  if (!reports) return failure(reports.error());
  const auto answer = send_to_any(context, {{"prefix", "status"}}, std::move(reports->status));
  if (!answer) return failure(answer.error());
  Json json = parse_json_or_null<Json>(answer->text, objecter::kAnswerBounds);
  if (!json.is_object())
    return failure(objecter::OsdErrc::kInvalid,
                   "the answer is no status: " + printable_text(answer->text));
  const Health health = health_of(*reports, text_in(json, "unknown_pools", ""), answer->osd >= 0);
  const Json capacity = capacity_of(reports->usages);
  json["capacity"] = context.wants_json() ? capacity : Json(capacity_text(capacity));
  json["health"] = health.word();
  if (context.wants_json()) json["health_details"] = health.complaints();
  print_json(context, json);
  if (!context.wants_json()) {
    for (const auto& complaint : health.complaints()) {
      print_visible(stdout, "%-14s %s\n", "", complaint.get_ref<const std::string&>().c_str());
    }
  }
  if (arguments.wants_exit_code) context.exit_code = health.exit_code();
  return {};
}

// As 'ceph osd df'.
Outcome<void> show_space(CommandContext& context) {
  const auto reports = ask_servers(context, false);
  if (!reports) return failure(reports.error());
  Json servers = Json::array();
  TextTable table({"SERVER", ">SIZE", ">USED", ">AVAIL", ">%USE", "STATE"});
  const auto add = [&table](const std::string& name, const Json& usage, const std::string& state) {
    table.add({name, size_text(number_in(usage, "total")), size_text(number_in(usage, "used")),
               size_text(number_in(usage, "available")), std::to_string(percent_of(usage)), state});
  };
  std::string silent;
  std::size_t at = 0;
  for (const objecter::OsdInfo& osd : reports->map->osds) {
    const std::string name = "osd." + std::to_string(osd.id);
    const ServerReply* reply = osd.up ? &reports->usages[at++] : nullptr;
    const Json usage = reply != nullptr ? json_of(*reply) : Json();
    const std::string state = osd.up ? text_in(usage, "state", "silent") : "down";
    Json server = {{"osd", osd.id}, {"state", state}};
    if (usage.is_object()) {
      for (const char* word : {"total", "used", "available"}) server[word] = number_in(usage, word);
      add(name, usage, state);
    } else {
      table.add({name, "-", "-", "-", "-", state});
      silent += (silent.empty() ? "" : ", ") + name;
    }
    servers.push_back(std::move(server));
  }
  const Json capacity = capacity_of(reports->usages);
  add("total", capacity, "");
  if (context.wants_json()) {
    print_visible(stdout, "%s\n",
                  json_text({{"servers", servers}, {"capacity", capacity}}).c_str());
  } else {
    print_visible(stdout, "%s", table.text().c_str());
  }
  if (silent.empty()) return {};
  std::fflush(stdout);
  return failure(objecter::OsdErrc::kUnreachable,
                 silent + " did not say how full it is, and is not in the total");
}

}  // namespace

void add_status_commands(CLI::App& app, CommandContext& context) {
  const auto arguments = std::make_shared<StatusArguments>();
  auto* status = context.add(
      app, "status",
      "show the cluster in a few lines, and what is wrong with it; or who has an image open",
      [&context, arguments] {
        return arguments->image.empty() ? show_status(context, *arguments)
                                        : show_image_status(context, arguments->image);
      });
  context
      .add_image_option(*status, arguments->image,
                        "show instead who has this image open, as [POOL/]IMAGE")
      ->required(false);
  status->add_flag("--exit-code", arguments->wants_exit_code,
                   "end with 1 if the health is HEALTH_WARN, and with 2 if it is HEALTH_ERR");
  context.add(app, "df", "show how full the servers are",
              [&context] { return show_space(context); });
}

}  // namespace lunar::tools
