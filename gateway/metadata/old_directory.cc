// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/old_directory.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "common/json.h"
#include "gateway/image_directory.h"
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/name_claim.h"
#include "gateway/metadata/name_object.h"
#include "gateway/metadata/pool_objects.h"
#include "gateway/metadata/run_to_done.h"

namespace lunar::gateway {
namespace {

using Json = nlohmann::json;
using objecter::ObjectId;
using objecter::OsdErrc;
using objecter::PoolId;
using objecter::PoolInfo;

constexpr std::string_view kObjectName = objecter::kOldDirectoryName;
// A READ of a whole object gives no more; one member is an image.
constexpr JsonBounds kBounds{1 << 20, 4, JsonBounds::kNoLimit};
constexpr uint64_t kOpenFormat = 1;
constexpr uint64_t kClosedFormat = 2;

Error must_convert(const std::string& pool, const OldDirectory& directory) {
  const std::string what = directory.is_closed
                               ? "converting the directory of pool '" + pool + "' was interrupted"
                               : "pool '" + pool + "' has a directory of an earlier format";
  return {make_error_code(OsdErrc::kIncompatible),
          what + ": run 'lunar pool convert " + pool + "'"};
}

}  // namespace

ObjectId old_directory_of(PoolId pool) { return {pool, std::string(kObjectName)}; }

Outcome<OldDirectory> decode_old_directory(std::string_view text) {
  const auto corrupt =
      failure(OsdErrc::kCorrupt, std::string("object ").append(kObjectName) +
                                     " is not a Lunar image directory: 'lunar repair POOL "
                                     "directory:lunar_directory' takes over what can be read");
  const auto parsed = parse_json<Json>(text, kBounds);
  if (!parsed) return corrupt;
  const Json& json = *parsed;
  if (!json.is_object() || !json.contains("format") || !json.contains("images") ||
      !json["images"].is_object()) {
    return corrupt;
  }
  if (json["format"] != kOpenFormat && json["format"] != kClosedFormat) {
    return failure(OsdErrc::kIncompatible, std::string("object ").append(kObjectName) +
                                               " has format " + printable_json(json["format"]) +
                                               ", this build knows 1 and 2: use a newer build");
  }
  OldDirectory out;
  out.is_closed = json["format"] == kClosedFormat;
  for (const auto& [name, id_text] : json["images"].items()) {
    const auto id =
        id_text.is_string() ? parse_image_id(id_text.get_ref<const std::string&>()) : std::nullopt;
    if (!is_valid_image_name(name) || !id) return corrupt;
    out.images[name] = *id;
  }
  return out;
}

std::string encode_old_directory(const OldDirectory& directory) {
  Json images = Json::object();
  for (const auto& [name, id] : directory.images) images[name] = image_id_text(id);
  const uint64_t format = directory.is_closed ? kClosedFormat : kOpenFormat;
  return Json{{"format", format}, {"images", std::move(images)}}.dump(1);
}

Task<Outcome<void>> require_no_old_directory(Client& client, PoolInfo pool) {
  const ObjectId object = old_directory_of(pool.id);
  if (!server_of(client, object).is_up) {
    co_return failure(metadata_error(client, "read", object, OsdErrc::kUnreachable));
  }
  const uint64_t io_id = client.next_io_id();
  const Result<MetadataContent> content = co_await read_metadata(client, object, io_id);
  if (!content) co_return failure(metadata_error(client, "read", object, content.error()));
  if (!content->exists) co_return Outcome<void>();
  const Outcome<OldDirectory> directory = decode_old_directory(content->text);
  if (!directory) co_return failure(directory.error());
  if (!directory->images.empty()) co_return failure(must_convert(pool.name, *directory));
  co_return Outcome<void>();
}

Task<Outcome<void>> close_old_directory(Client& client, PoolInfo pool) {
  const ObjectId object = old_directory_of(pool.id);
  if (!server_of(client, object).is_up) co_return Outcome<void>();
  MetadataEditor edit = [&pool](const MetadataContent& content) -> Outcome<MetadataEdit> {
    OldDirectory directory;
    if (content.exists) {
      auto decoded = decode_old_directory(content.text);
      if (!decoded) return failure(decoded.error());
      directory = std::move(*decoded);
      if (directory.is_closed && directory.images.empty()) return MetadataEdit{};
      if (!directory.images.empty()) return failure(must_convert(pool.name, directory));
    }
    directory.is_closed = true;
    return MetadataEdit{MetadataEdit::Action::kWrite, encode_old_directory(directory)};
  };
  Outcome<void> closed = co_await update_metadata(client, object, std::move(edit));
  co_return closed;
}

// --- conversion ---

namespace {

// Shuts earlier builds out and gives the names that are left to convert.
Task<Outcome<NameTable>> begin_conversion(Client& client, PoolId pool) {
  NameTable images;
  MetadataEditor edit = [&images](const MetadataContent& content) -> Outcome<MetadataEdit> {
    OldDirectory directory;
    if (content.exists) {
      auto decoded = decode_old_directory(content.text);
      if (!decoded) return failure(decoded.error());
      directory = std::move(*decoded);
    }
    images = directory.images;
    if (directory.is_closed) return MetadataEdit{};
    directory.is_closed = true;
    return MetadataEdit{MetadataEdit::Action::kWrite, encode_old_directory(directory)};
  };
  const ObjectId object = old_directory_of(pool);
  const Outcome<void> begun = co_await update_metadata(client, object, std::move(edit));
  if (!begun) co_return failure(begun.error());
  co_return images;
}

// Gives the image an object for its name, if it has none: under a spare name, if another image has
// that one. The name it has then.
Task<Outcome<std::string>> convert_name(Client& client, PoolId pool, std::string name, ImageId id) {
  const Outcome<VersionedHeader> found = co_await read_header(client, pool, id);
  if (found) {
    const std::string lasting = found->header.lasting_name();
    const Outcome<NameContent> entered = co_await read_name(client, pool, lasting);
    if (!entered && !is_illegible(entered.error().code)) co_return failure(entered.error());
    if (entered && entered->id == id) co_return lasting;
    const VersionedHeader header = *found;
    Outcome<std::string> given = co_await give_name(client, pool, header, name);
    co_return given;
  }
  const std::error_code why = found.error().code;
  const bool is_lost = why == OsdErrc::kNoSuchObject;
  if (!is_lost && !is_illegible(why)) co_return failure(found.error());
  // There is no header to get a name: the object is all that leads to the data.
  const Outcome<void> taken = co_await take_name(client, pool, name, id);
  if (taken) co_return name;
  if (taken.error().code != OsdErrc::kExists || is_illegible(why)) co_return failure(taken.error());
  const std::string spare = spare_name(name, id);
  const Outcome<void> spare_taken = co_await take_name(client, pool, spare, id);
  if (!spare_taken) co_return failure(spare_taken.error());
  co_return spare;
}

// A removal, or a creation, that was interrupted may leave a name without header and data: also one
// that an earlier round of the same conversion has entered, and somebody removed since.
Task<Outcome<bool>> is_image_there(Client& client, PoolInfo pool, ImageId id) {
  const Outcome<VersionedHeader> found = co_await read_header(client, pool.id, id);
  if (found || found.error().code != OsdErrc::kNoSuchObject) co_return true;
  Outcome<bool> is_there = co_await has_data(client, pool, id);
  co_return is_there;
}

Task<Outcome<PoolConversion>> convert(Client& client, std::string pool_name,
                                      OnProgress on_progress) {
  const auto pool = client.find_pool(pool_name);
  if (!pool) co_return failure(pool.error());
  const PoolId pool_id = pool->id;
  const Outcome<NameTable> images = co_await begin_conversion(client, pool_id);
  if (!images) co_return failure(images.error());
  PoolConversion conversion;
  for (auto each = images->begin(); each != images->end(); ++each) {
    const std::string name = each->first;
    const ImageId id = each->second;
    const PoolInfo pool_info = *pool;
    const Outcome<bool> is_there = co_await is_image_there(client, pool_info, id);
    if (!is_there) {
      co_return failure(is_there.error().code,
                        "converting image '" + name + "' failed: " + is_there.error().message);
    }
    if (!*is_there) continue;
    const Outcome<std::string> entered = co_await convert_name(client, pool_id, name, id);
    if (!entered) {
      co_return failure(entered.error().code, "converting image '" + name + "' failed: " +
                                                  entered.error().message + "; repeat the command");
    }
    if (*entered != name) conversion.renamed.emplace_back(name, *entered);
    ++conversion.converted;
    if (on_progress) on_progress(conversion.converted, images->size());
  }
  MetadataEditor finish = [](const MetadataContent&) -> Outcome<MetadataEdit> {
    const OldDirectory nothing{.is_closed = true, .images = {}};
    return MetadataEdit{MetadataEdit::Action::kWrite, encode_old_directory(nothing)};
  };
  const ObjectId object = old_directory_of(pool_id);
  const Outcome<void> finished = co_await update_metadata(client, object, std::move(finish));
  if (!finished) co_return failure(finished.error());
  co_return conversion;
}

}  // namespace

void convert_pool(Client& client, const std::string& pool, OnProgress on_progress,
                  UniqueFunction<void(Outcome<PoolConversion>)> done) {
  run_to_done(client.center(), convert(client, pool, std::move(on_progress)), std::move(done));
}

}  // namespace lunar::gateway
