// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/name_object.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "common/json.h"
#include "gateway/metadata/old_directory.h"
#include "msgr/awaiters.h"

namespace lunar::gateway {
namespace {

using Json = nlohmann::json;
using objecter::ObjectId;
using objecter::OsdErrc;
using objecter::PoolId;
using objecter::PoolInfo;

constexpr JsonBounds kNameBounds{4096, 4, 64};
constexpr uint64_t kNameFormat = 1;
constexpr std::size_t kReadsInFlight = 64;
// Of the objects that are no part of an image: names, and a directory of an earlier format.
constexpr const char* kDirectoryPrefix = "lunar_";

}  // namespace

ObjectId name_object_of(PoolId pool, std::string_view name) {
  return {pool, std::string(objecter::kNamePrefix).append(name)};
}

std::string image_name_of(std::string_view object) {
  if (!object.starts_with(objecter::kNamePrefix)) return {};
  object.remove_prefix(objecter::kNamePrefix.size());
  return is_valid_image_name(object) ? std::string(object) : std::string();
}

std::string spare_name(const std::string& name, ImageId id) {
  return name.substr(0, 100) + "-" + image_id_text(id);
}

std::string encode_name(ImageId id) {
  return Json{{"format", kNameFormat}, {"id", image_id_text(id)}}.dump();
}

Outcome<ImageId> decode_name(std::string_view text, const std::string& object) {
  const auto corrupt =
      failure(OsdErrc::kCorrupt, "object " + object +
                                     " is not the name of a Lunar image: 'lunar scrub POOL' shows "
                                     "what can be done");
  const auto parsed = parse_json<Json>(text, kNameBounds);
  if (!parsed || !parsed->is_object()) return corrupt;
  const auto format = parsed->find("format");
  if (format == parsed->end() || !format->is_number_unsigned()) return corrupt;
  if (*format != kNameFormat) {
    return failure(OsdErrc::kIncompatible, "object " + object + " has format " +
                                               printable_json(*format) +
                                               ", this build knows format 1: use a newer build");
  }
  const auto id_text = parsed->find("id");
  if (id_text == parsed->end() || !id_text->is_string()) return corrupt;
  const auto id = parse_image_id(id_text->get_ref<const std::string&>());
  if (!id) return corrupt;
  return *id;
}

Task<Outcome<NameContent>> read_name(Client& client, PoolId pool, std::string name) {
  const ObjectId object = name_object_of(pool, name);
  const uint64_t io_id = client.next_io_id();
  const Result<MetadataContent> content = co_await read_metadata(client, object, io_id);
  if (!content) co_return failure(metadata_error(client, "read", object, content.error()));
  NameContent found;
  found.version = content->version;
  if (!content->exists) co_return found;
  const Outcome<ImageId> id = decode_name(content->text, object.name);
  if (!id) co_return failure(id.error());
  found.id = *id;
  co_return found;
}

Task<Outcome<ImageId>> find_name(Client& client, PoolInfo pool, std::string name) {
  const Outcome<NameContent> content = co_await read_name(client, pool.id, name);
  if (!content) co_return failure(content.error());
  if (content->id != 0) co_return content->id;
  const Outcome<void> current = co_await require_no_old_directory(client, pool);
  if (!current && current.error().code == OsdErrc::kIncompatible) {
    co_return failure(current.error());
  }
  if (!current) {
    co_return failure(current.error().code,
                      "pool '" + pool.name + "' has no object for the name '" + name +
                          "', and whether an earlier build's directory has it is not known: " +
                          current.error().message);
  }
  co_return failure(OsdErrc::kNoSuchObject, "no image '" + name + "' in pool '" + pool.name +
                                                "': see 'lunar ls " + pool.name + "'");
}

Task<Outcome<void>> require_naming_allowed(Client& client, PoolId pool, std::string name) {
  const ObjectId object = name_object_of(pool, name);
  constexpr objecter::ObjectVersion kOfNone{0, UINT64_MAX};
  const uint64_t io_id = client.next_io_id();
  const std::error_code error =
      co_await swap_metadata(client, object, kOfNone, std::nullopt, io_id);
  if (error && error != OsdErrc::kVersionMismatch) {
    co_return failure(metadata_error(client, "update", object, error));
  }
  co_return Outcome<void>();
}

Task<Outcome<void>> drop_name(Client& client, PoolId pool, std::string name, ImageId id) {
  const ObjectId object = name_object_of(pool, name);
  MetadataEditor edit = [&](const MetadataContent& content) -> Outcome<MetadataEdit> {
    if (!content.exists) return MetadataEdit{};
    const auto named = decode_name(content.text, object.name);
    if (!named) return failure(named.error());
    if (*named != id) return MetadataEdit{};
    MetadataEdit wanted;
    wanted.action = MetadataEdit::Action::kDelete;
    return wanted;
  };
  Outcome<void> dropped = co_await update_metadata(client, object, std::move(edit));
  co_return dropped;
}

Task<Outcome<ImageNames>> list_names(Client& client, PoolInfo pool) {
  const std::string prefix = kDirectoryPrefix;
  const PoolObjects objects = co_await list_objects(client, pool, prefix);
  for (const PoolObjects::UnlistedServer& each : objects.unlisted) {
    if (each.error != OsdErrc::kNotPermitted) continue;
    co_return failure(OsdErrc::kNotPermitted,
                      client.entity() + " is not permitted to list the images of pool '" +
                          pool.name + "': 'lunar auth get' shows what it may do");
  }
  ImageNames found;
  found.unlisted = objects.unlisted;
  bool has_old_directory = false;
  for (const std::string& object : objects.names) {
    has_old_directory |= object == old_directory_of(pool.id).name;
    if (std::string name = image_name_of(object); !name.empty()) {
      found.names.push_back(std::move(name));
    }
  }
  if (has_old_directory) {
    const Outcome<void> current = co_await require_no_old_directory(client, pool);
    if (!current) co_return failure(current.error());
  }
  co_return found;
}

Task<std::vector<ReadName>> read_names(Client& client, PoolInfo pool,
                                       std::vector<std::string> names) {
  struct NameAnswer {
    std::size_t index;
    Result<MetadataContent> content;
  };
  msgr::Inbox<NameAnswer> answers;  // this frame outlives every op: it takes all answers
  std::vector<ReadName> read;
  for (std::string& name : names) read.push_back({std::move(name), {}});
  std::size_t next = 0;
  std::size_t in_flight = 0;
  for (;;) {
    for (; next < read.size() && in_flight < kReadsInFlight; ++next, ++in_flight) {
      read_metadata_later(client, name_object_of(pool.id, read[next].name),
                          [&answers, next](Result<MetadataContent> content) {
                            answers.push({next, std::move(content)});
                          });
    }
    if (in_flight == 0) co_return read;
    Result<NameAnswer> answer = co_await answers.next();
    --in_flight;
    read[answer->index].content = std::move(answer->content);
  }
}

}  // namespace lunar::gateway
