// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/directory_object.h"

#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "gateway/metadata_object.h"

namespace lunar::gateway {
namespace {

using Json = nlohmann::json;
using objecter::ObjectId;
using objecter::OsdErrc;
using objecter::PoolId;

constexpr const char* kDirectoryObject = "lunar_directory";

ObjectId directory_of(PoolId pool) { return {pool, kDirectoryObject}; }

Outcome<Directory> parse_directory(const MetadataContent& content) {
  Directory out;
  if (!content.exists) return out;
  const Json json = Json::parse(content.text, nullptr, /*allow_exceptions=*/false);
  const auto corrupt =
      failure(OsdErrc::kCorrupt, std::string("object ") + kDirectoryObject +
                                     " is not a Lunar image directory: restore it from a backup");
  if (!json.is_object() || !json.contains("format") || !json.contains("images") ||
      !json["images"].is_object()) {
    return corrupt;
  }
  if (json["format"] != 1) {
    return failure(OsdErrc::kIncompatible, std::string("object ") + kDirectoryObject +
                                               " has format " + json["format"].dump() +
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

}  // namespace

void update_directory(Client& client, PoolId pool,
                      InlineFunction<Outcome<bool>(Directory&)> edit,  // true: something changed
                      InlineFunction<void(Outcome<void>)> done) {
  auto boxed = std::make_unique<InlineFunction<Outcome<bool>(Directory&)>>(std::move(edit));
  update_metadata(
      client, directory_of(pool),
      [boxed = std::move(boxed)](const MetadataContent& content) -> Outcome<MetadataEdit> {
        auto directory = parse_directory(content);
        if (!directory) return failure(directory.error());
        auto changed = (*boxed)(*directory);
        if (!changed) return failure(changed.error());
        if (!*changed) return MetadataEdit{};
        return MetadataEdit{MetadataEdit::Action::kWrite, encode_directory(*directory)};
      },
      std::move(done));
}

void read_directory(Client& client, PoolId pool, InlineFunction<void(Outcome<Directory>)> done) {
  using Done = InlineFunction<void(Outcome<Directory>)>;
  read_metadata(
      client, directory_of(pool), client.next_io_id(),
      [pool, boxed = std::make_unique<Done>(std::move(done))](Result<MetadataContent> content) {
        if (!content) {
          return (*boxed)(failure(metadata_error("read", directory_of(pool), content.error())));
        }
        (*boxed)(parse_directory(*content));
      });
}

}  // namespace lunar::gateway
