// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/scrub/pool_survey.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/json.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/name_object.h"
#include "msgr/awaiters.h"
#include "objecter/protocol/control.h"
#include "objecter/protocol/placement.h"

namespace lunar::gateway {
namespace {

using Json = nlohmann::json;
using objecter::ObjectId;
using objecter::OpReply;
using objecter::OsdErrc;
using objecter::PoolInfo;

constexpr std::chrono::seconds kCommandTimeout{10};
constexpr int kNameRounds = 4;  // of looks at names of images that are being renamed

// The answer of a command; null if there is none, and then why in `problem`.
struct CommandAnswer {
  Json json;
  std::string problem;
};
Task<CommandAnswer> ask(Client& client, objecter::OsdId osd, std::string prefix) {
  msgr::Completion<Outcome<std::string>> answered;
  client.objecter().command(osd, Json{{"prefix", prefix}}.dump(), kCommandTimeout,
                            answered.callback());
  const Outcome<std::string> text = co_await answered;
  CommandAnswer answer;
  if (text) {
    auto json = parse_json<Json>(*text, objecter::kAnswerBounds);
    if (json)
      answer.json = std::move(*json);
    else
      answer.problem = "its answer " + json.error().message;
  } else {
    answer.problem = text.error().message;
  }
  co_return answer;
}

// Members of another type, or of another version's making, are passed over.
template <typename T>
T member_of(const Json& json, const char* name) {
  if (!json.is_object()) return T{};
  const auto found = json.find(name);
  if (found == json.end()) return T{};
  if constexpr (std::is_same_v<T, std::string>) {
    return found->is_string() ? found->get<T>() : T{};
  } else {
    return found->is_number_unsigned() ? found->get<T>() : T{};
  }
}
Task<ServerFacts> ask_server(Client& client, objecter::PoolId pool, objecter::OsdId osd) {
  ServerFacts facts;
  facts.osd = osd;
  const CommandAnswer losses = co_await ask(client, osd, "unflushed");
  facts.problem = losses.problem;
  if (!facts.problem.empty()) co_return facts;
  for (const Json& each : json_list_in(losses.json, "damaged_objects")) {
    if (member_of<uint64_t>(each, "pool") != pool) continue;
    facts.damaged.insert(member_of<std::string>(each, "object"));
  }
  for (const Json& each : json_list_in(losses.json, "lost_writes")) {
    facts.lost_writes.insert(member_of<uint64_t>(each, "image"));
  }
  const CommandAnswer sessions = co_await ask(client, osd, "sessions");
  facts.problem = sessions.problem;
  for (const Json& each : sessions.json) {
    if (!each.is_object() || each.value("connected", Json()) != true) continue;
    facts.clients.insert(
        {member_of<std::string>(each, "entity"), member_of<std::string>(each, "instance")});
  }
  co_return facts;
}

// Puts the names of objects where they belong.
void sort_objects(PoolSurvey& survey, const std::vector<std::string>& names) {
  const std::string old_directory = old_directory_of(survey.pool.id).name;
  for (const std::string& name : names) {
    if (const auto data = objecter::parse_data_object(name)) {
      survey.images[data->image].data.insert(data->number);
    } else if (const auto header = objecter::parse_header_object(name)) {
      survey.images[*header];
    } else if (name != old_directory && image_name_of(name).empty()) {
      survey.foreign.push_back(name);
    }
  }
}

void add_unlisted(PoolSurvey& survey, const std::vector<PoolObjects::UnlistedServer>& unlisted) {
  for (const auto& each : unlisted) {
    if (!survey.failure_of(each.osd)) survey.unlisted.push_back(each);
  }
}

void add_name_facts(PoolSurvey& survey, const ReadName& read) {
  if (read.content && !read.content->exists) return;  // it is gone meanwhile
  PoolSurvey::NameFacts& facts = survey.names[read.name];
  if (!read.content) {
    facts.object.error = read.content.error();
    return;
  }
  facts.object.is_there = true;
  facts.object.text = read.content->text;
  facts.object.version = read.content->version;
  const auto id = decode_name(read.content->text, name_object_of(survey.pool.id, read.name).name);
  facts.is_of_newer_build = !id && id.error().code == OsdErrc::kIncompatible;
  facts.id = id.value_or(0);
}

void read_old_names(PoolSurvey& survey) {
  if (survey.old_directory.error) return;
  survey.old_names.emplace();
  if (!survey.old_directory.is_there) return;
  auto names = decode_old_directory(survey.old_directory.text);
  if (names) {
    survey.old_names = std::move(*names);
  } else {
    survey.old_directory.error = names.error().code;
    survey.old_names.reset();
  }
}

// Names of all images, with the object that had them before.
Task<bool> survey_names(Client& client, PoolSurvey& survey) {
  const objecter::PoolInfo pool = survey.pool;
  const std::string prefix(objecter::kNamePrefix);
  const PoolObjects objects = co_await list_objects(client, pool, prefix);
  add_unlisted(survey, objects.unlisted);
  std::vector<std::string> names;
  for (const std::string& object : objects.names) {
    if (std::string name = image_name_of(object); !name.empty()) names.push_back(std::move(name));
  }
  const std::vector<ReadName> read = co_await read_names(client, pool, std::move(names));
  for (const ReadName& each : read) add_name_facts(survey, each);
  const ObjectId old_directory = old_directory_of(pool.id);
  const std::error_code unanswered = survey.failure_of(survey.osd_of(old_directory.name));
  if (unanswered) {
    survey.old_directory.error = unanswered;
    co_return true;
  }
  SurveyedObject found = co_await survey_object(client, old_directory);
  survey.old_directory = std::move(found);
  read_old_names(survey);
  co_return true;
}

// Names that an image got or lost while they were listed: as they are after its header was read.
Task<bool> look_at_names_again(Client& client, PoolSurvey& survey) {
  std::map<ImageId, ImageHeader> headers;
  for (const auto& [id, facts] : survey.images) {
    if (!facts.header.is_there) continue;
    auto header = decode_image_header(facts.header.text, header_object_name(id));
    if (header) headers.emplace(id, std::move(*header));
  }
  std::vector<std::string> doubtful;
  for (const auto& [id, header] : headers) {
    for (const std::string& name : {header.name, header.rename_to}) {
      const auto found = survey.names.find(name);
      const bool leads_here = found != survey.names.end() && found->second.id == id;
      if (!name.empty() && !leads_here) doubtful.push_back(name);
    }
  }
  for (const auto& [name, facts] : survey.names) {
    const auto header = headers.find(facts.id);
    if (header != headers.end() && !header->second.has_name(name)) doubtful.push_back(name);
  }
  std::erase_if(doubtful, [&](const std::string& name) {
    const std::string object = name_object_of(survey.pool.id, name).name;
    return bool(survey.failure_of(survey.osd_of(object)));
  });
  std::sort(doubtful.begin(), doubtful.end());
  doubtful.erase(std::unique(doubtful.begin(), doubtful.end()), doubtful.end());
  for (const std::string& name : doubtful) survey.names.erase(name);
  const PoolInfo pool = survey.pool;
  const std::vector<ReadName> read = co_await read_names(client, pool, std::move(doubtful));
  for (const ReadName& each : read) add_name_facts(survey, each);
  co_return true;
}

// Images with a header whose lasting name does not lead to them.
std::vector<ImageId> nameless_in(const PoolSurvey& survey) {
  std::vector<ImageId> found;
  for (const auto& [id, facts] : survey.images) {
    if (!facts.header.is_there) continue;
    const auto header = decode_image_header(facts.header.text, header_object_name(id));
    if (!header) continue;
    const auto name = survey.names.find(header->lasting_name());
    if (name == survey.names.end() || name->second.id != id) found.push_back(id);
  }
  return found;
}

// Until headers and names go together, or images are renamed faster than they are looked at.
Task<bool> settle_names(Client& client, PoolSurvey& survey) {
  for (int round = 0; round < kNameRounds; ++round) {
    co_await look_at_names_again(client, survey);
    const std::vector<ImageId> nameless = nameless_in(survey);
    bool has_changed = false;
    for (std::size_t i = 0; i < nameless.size(); ++i) {
      const ImageId id = nameless[i];
      const ObjectId object{survey.pool.id, header_object_name(id)};
      SurveyedObject now = co_await survey_object(client, object);
      SurveyedObject& before = survey.images[id].header;
      has_changed |= now.version != before.version;
      before = std::move(now);
    }
    if (!has_changed) co_return true;
  }
  co_return true;
}

}  // namespace

bool SurveyedObject::is_damaged() const noexcept {
  return error == OsdErrc::kIoError || error == OsdErrc::kCorrupt || error == OsdErrc::kTooLarge;
}

bool PoolSurvey::knows_all_names() const noexcept {
  return is_listed() && old_names.has_value() &&
         std::all_of(names.begin(), names.end(),
                     [](const auto& each) { return each.second.id != 0; });
}

objecter::OsdId PoolSurvey::osd_of(const std::string& object) const {
  return objecter::osd_of_pg(*map, pool, objecter::pg_of_object(pool, object));
}

std::error_code PoolSurvey::failure_of(objecter::OsdId osd) const {
  for (const auto& each : unlisted) {
    if (each.osd == osd) return each.error;
  }
  return {};
}

Task<SurveyedObject> survey_object(Client& client, ObjectId object) {
  objecter::ObjectOp op;
  op.object = std::move(object);
  op.io_id = client.next_io_id();
  op.flags = objecter::kOpMetadata | objecter::kOpIdempotent;
  op.steps.emplace_back();  // a READ of all of it
  msgr::Completion<OpReply> answered;
  client.objecter().submit(std::move(op), answered.callback());
  const OpReply reply = co_await answered;
  SurveyedObject found;
  found.version = reply.version;
  if (reply.error == OsdErrc::kNoSuchObject) co_return found;
  found.error = reply.error;
  found.is_there = !reply.error;
  if (found.is_there) found.text = as_text(reply.data);  // valid: we run inside the op's done
  co_return found;
}

Task<Outcome<PoolSurvey>> survey_pool(Client& client, objecter::PoolInfo pool, SurveyScope scope) {
  PoolSurvey survey;
  survey.pool = pool;
  survey.map = client.objecter().map();
  ImageId id = scope.id;
  if (!scope.image.empty()) {
    const std::string name = scope.image;
    const Outcome<ImageId> named = co_await find_name(client, pool, name);
    if (!named) co_return failure(named.error());
    id = *named;
  }
  survey.is_whole = id == 0;
  const std::string prefix = survey.is_whole ? std::string() : image_id_text(id) + ".";
  // Objects first, then the names: an image that is made meanwhile has its name by then.
  const PoolObjects objects = co_await list_objects(client, pool, prefix);
  add_unlisted(survey, objects.unlisted);
  sort_objects(survey, objects.names);
  co_await survey_names(client, survey);
  if (!survey.is_whole) {
    survey.images[id];
  } else {
    for (const auto& [name, facts] : survey.names) {
      if (facts.id != 0) survey.images[facts.id];
    }
    if (survey.old_names) {
      for (const auto& [name, named] : survey.old_names->images) survey.images[named];
    }
  }
  for (auto& [id, facts] : survey.images) {
    const ObjectId header{pool.id, header_object_name(id)};
    const std::error_code unanswered = survey.failure_of(survey.osd_of(header.name));
    if (unanswered) {
      facts.header.error = unanswered;
      continue;
    }
    SurveyedObject found = co_await survey_object(client, header);
    facts.header = std::move(found);
  }
  co_await settle_names(client, survey);
  for (const auto& member : pool.members) {
    const objecter::OsdId osd = member.osd;
    ServerFacts facts = co_await ask_server(client, pool.id, osd);
    survey.servers.push_back(std::move(facts));
  }
  co_return survey;
}

}  // namespace lunar::gateway
