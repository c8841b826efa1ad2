// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/directory_object.h"

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/json.h"
#include "gateway/metadata/metadata_object.h"

namespace lunar::gateway {
namespace {

using Json = nlohmann::json;
using objecter::ObjectId;
using objecter::OsdErrc;
using objecter::PoolId;

constexpr const char* kDirectoryObject = "lunar_directory";
// A READ of a whole object gives no more; one member is an image.
constexpr JsonBounds kDirectoryBounds{1 << 20, 4, JsonBounds::kNoLimit};

Outcome<Directory> parse_directory(const MetadataContent& content) {
  if (!content.exists) return Directory();
  return decode_directory(content.text);
}

}  // namespace

ObjectId directory_of(PoolId pool) { return {pool, kDirectoryObject}; }

Outcome<Directory> decode_directory(std::string_view text) {
  Directory out;
  const auto corrupt =
      failure(OsdErrc::kCorrupt, std::string("object ") + kDirectoryObject +
                                     " is not a Lunar image directory: 'lunar repair POOL "
                                     "directory:lunar_directory' makes it anew from the headers");
  const auto parsed = parse_json<Json>(text, kDirectoryBounds);
  if (!parsed) return corrupt;
  const Json& json = *parsed;
  if (!json.is_object() || !json.contains("format") || !json.contains("images") ||
      !json["images"].is_object()) {
    return corrupt;
  }
  if (json["format"] != 1) {
    return failure(OsdErrc::kIncompatible, std::string("object ") + kDirectoryObject +
                                               " has format " + printable_json(json["format"]) +
                                               ", this build knows format 1: use a newer build");
  }
  for (const auto& [name, id] : json["images"].items()) {
    if (!is_valid_image_name(name) || !id.is_string() ||
        id.get_ref<const std::string&>().size() != 16) {
      return corrupt;
    }
    out[name] = std::strtoull(id.get_ref<const std::string&>().c_str(), nullptr, 16);
  }
  return out;
}

std::string encode_directory(const Directory& directory) {
  Json images = Json::object();
  for (const auto& [name, id] : directory) images[name] = image_id_text(id);
  return Json{{"format", 1}, {"images", std::move(images)}}.dump(1);
}

Task<Outcome<Directory>> read_directory(Client& client, PoolId pool) {
  const ObjectId object = directory_of(pool);
  const uint64_t io_id = client.next_io_id();
  const Result<MetadataContent> content = co_await read_metadata(client, object, io_id);
  if (!content) co_return failure(metadata_error("read", object, content.error()));
  co_return parse_directory(*content);
}

Task<Outcome<void>> update_directory(Client& client, PoolId pool, DirectoryEditor edit) {
  MetadataEditor edit_text = [&edit](const MetadataContent& content) -> Outcome<MetadataEdit> {
    auto directory = parse_directory(content);
    if (!directory) return failure(directory.error());
    const auto has_changed = edit(*directory);
    if (!has_changed) return failure(has_changed.error());
    if (!*has_changed) return MetadataEdit{};
    return MetadataEdit{MetadataEdit::Action::kWrite, encode_directory(*directory)};
  };
  const ObjectId object = directory_of(pool);
  Outcome<void> updated = co_await update_metadata(client, object, std::move(edit_text));
  co_return updated;
}

Task<Outcome<void>> add_name(Client& client, PoolId pool, std::string name, ImageId id) {
  DirectoryEditor edit = [&name, id](Directory& directory) -> Outcome<bool> {
    const auto [place, is_new] = directory.emplace(name, id);
    if (!is_new && place->second != id) {
      return failure(OsdErrc::kExists,
                     "image '" + name + "' exists: choose another name or remove it");
    }
    return is_new;
  };
  Outcome<void> added = co_await update_directory(client, pool, std::move(edit));
  co_return added;
}

Task<Outcome<void>> drop_name(Client& client, PoolId pool, std::string name, ImageId id) {
  DirectoryEditor edit = [&name, id](Directory& directory) -> Outcome<bool> {
    const auto found = directory.find(name);
    if (found == directory.end() || found->second != id) return false;
    directory.erase(found);
    return true;
  };
  Outcome<void> dropped = co_await update_directory(client, pool, std::move(edit));
  co_return dropped;
}

}  // namespace lunar::gateway
