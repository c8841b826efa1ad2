// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/scrub/pool_survey.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/json.h"
#include "gateway/metadata/metadata_object.h"
#include "msgr/awaiters.h"
#include "objecter/protocol/control.h"
#include "objecter/protocol/placement.h"

namespace lunar::gateway {
namespace {

using Json = nlohmann::json;
using objecter::ObjectId;
using objecter::OpReply;
using objecter::OsdErrc;

constexpr std::chrono::seconds kCommandTimeout{10};
constexpr std::size_t kHexDigits = 16;

std::optional<uint64_t> parse_hex(std::string_view text) noexcept {
  if (text.size() != kHexDigits) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    const auto digit = std::string_view("0123456789abcdef").find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    value = value << 4 | digit;
  }
  return value;
}

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
const Json& list_in(const Json& json, const char* name) {
  static const Json kEmpty = Json::array();
  if (!json.is_object()) return kEmpty;
  const auto found = json.find(name);
  return found != json.end() && found->is_array() ? *found : kEmpty;
}

Task<ServerFacts> ask_server(Client& client, objecter::PoolId pool, objecter::OsdId osd) {
  ServerFacts facts;
  facts.osd = osd;
  const CommandAnswer losses = co_await ask(client, osd, "unflushed");
  facts.problem = losses.problem;
  if (!facts.problem.empty()) co_return facts;
  for (const Json& each : list_in(losses.json, "damaged_objects")) {
    if (member_of<uint64_t>(each, "pool") != pool) continue;
    facts.damaged.insert(member_of<std::string>(each, "object"));
  }
  for (const Json& each : list_in(losses.json, "lost_writes")) {
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
void sort_objects(PoolSurvey& survey, const std::vector<std::string>& names,
                  const std::string& directory_object) {
  for (const std::string& name : names) {
    if (const auto data = parse_data_object(name)) {
      survey.images[data->image].data.insert(data->number);
    } else if (const auto header = parse_header_object(name)) {
      survey.images[*header];
    } else if (name != directory_object) {
      survey.foreign.push_back(name);
    }
  }
}

void read_names(PoolSurvey& survey) {
  if (survey.directory.error) return;
  survey.names.emplace();
  if (!survey.directory.is_there) return;
  auto names = decode_directory(survey.directory.text);
  if (names) {
    survey.names = std::move(*names);
  } else {
    survey.directory.error = names.error().code;
    survey.names.reset();
  }
}

}  // namespace

bool SurveyedObject::is_damaged() const noexcept {
  return error == OsdErrc::kIoError || error == OsdErrc::kCorrupt || error == OsdErrc::kTooLarge;
}

objecter::OsdId PoolSurvey::osd_of(const std::string& object) const {
  return objecter::osd_of_pg(pool, objecter::pg_of_object(pool, object));
}

std::error_code PoolSurvey::failure_of(objecter::OsdId osd) const {
  for (const auto& pg : unlisted) {
    if (pg.osd == osd) return pg.error;
  }
  return {};
}

std::optional<DataObjectName> parse_data_object(std::string_view name) noexcept {
  if (name.size() != 2 * kHexDigits + 1 || name[kHexDigits] != '.') return std::nullopt;
  const auto image = parse_hex(name.substr(0, kHexDigits));
  const auto number = parse_hex(name.substr(kHexDigits + 1));
  if (!image || *image == 0 || !number) return std::nullopt;
  return DataObjectName{*image, *number};
}

std::optional<ImageId> parse_header_object(std::string_view name) noexcept {
  if (name.size() < kHexDigits || name.substr(kHexDigits) != ".header") return std::nullopt;
  const auto image = parse_hex(name.substr(0, kHexDigits));
  return image && *image != 0 ? image : std::nullopt;
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
  const ObjectId directory = directory_of(pool.id);
  ImageId id = scope.id;
  if (!scope.image.empty()) {
    const Outcome<Directory> names = co_await read_directory(client, pool.id);
    if (!names) co_return failure(names.error());
    const auto named = names->find(scope.image);
    if (named == names->end()) {
      co_return failure(OsdErrc::kNoSuchObject, "no image '" + scope.image + "' in pool '" +
                                                    pool.name + "': see 'lunar ls " + pool.name +
                                                    "'");
    }
    id = named->second;
  }
  survey.is_whole = id == 0;
  const std::string prefix = survey.is_whole ? std::string() : image_id_text(id) + ".";
  // Objects first, then the names: an image that is made meanwhile has its name by then.
  const PoolObjects objects = co_await list_objects(client, pool, prefix);
  survey.unlisted = objects.unlisted;
  sort_objects(survey, objects.names, directory.name);
  SurveyedObject directory_found = co_await survey_object(client, directory);
  survey.directory = std::move(directory_found);
  read_names(survey);
  if (!survey.is_whole) {
    survey.images[id];
  } else if (survey.names) {
    for (const auto& [name, named] : *survey.names) survey.images[named];
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
  for (const auto& member : pool.members) {
    const objecter::OsdId osd = member.osd;
    ServerFacts facts = co_await ask_server(client, pool.id, osd);
    survey.servers.push_back(std::move(facts));
  }
  co_return survey;
}

}  // namespace lunar::gateway
