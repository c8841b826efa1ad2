// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/image_header.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "common/check.h"
#include "common/json.h"
#include "common/peer_name.h"

namespace lunar::gateway {
namespace {

using Json = nlohmann::json;
using objecter::OsdErrc;

constexpr JsonBounds kHeaderBounds{1 << 20, 8};

// Typed reads from JSON that somebody else may have written: a missing or mistyped member makes
// is_ok() false for good.
class HeaderFields {
 public:
  explicit HeaderFields(const Json& object) : object_(object) { is_ok_ = object.is_object(); }

  uint64_t number(const char* name) {
    const Json* value = member(name);
    if (value == nullptr || !value->is_number_unsigned()) return refuse<uint64_t>();
    return value->get<uint64_t>();
  }
  std::string text(const char* name, std::size_t limit) {
    const Json* value = member(name);
    if (value == nullptr || !value->is_string()) return refuse<std::string>();
    auto out = value->get<std::string>();
    if (out.size() > limit) return refuse<std::string>();
    return out;
  }
  const Json& array(const char* name, std::size_t limit) {
    static const Json kEmpty = Json::array();
    const Json* value = member(name);
    if (value == nullptr || !value->is_array() || value->size() > limit) {
      is_ok_ = false;
      return kEmpty;
    }
    return *value;
  }
  bool is_ok() const noexcept { return is_ok_; }

 private:
  const Json* member(const char* name) {
    if (!is_ok_) return nullptr;
    const auto found = object_.find(name);
    return found == object_.end() ? nullptr : &*found;
  }
  template <typename T>
  T refuse() {
    is_ok_ = false;
    return T{};
  }
  const Json& object_;
  bool is_ok_ = false;
};

bool is_name_char(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

Json json_of(const Registration& registration) {
  return {{"entity", registration.entity},
          {"instance", registration.instance},
          {"nonce", registration.nonce},
          {"cookie", image_id_text(registration.cookie)},
          {"lock", lock_mode_name(registration.lock)}};
}

struct NamedState {
  ImageState state;
  const char* name;
};
constexpr NamedState kStates[] = {
    {ImageState::kReady, "ready"},         {ImageState::kRemoving, "removing"},
    {ImageState::kShrinking, "shrinking"}, {ImageState::kGrowing, "growing"},
    {ImageState::kRenaming, "renaming"},   {ImageState::kRenamed, "renamed"},
    {ImageState::kImporting, "importing"}};

std::optional<ImageState> parse_state(const std::string& name) {
  for (const NamedState& each : kStates) {
    if (name == each.name) return each.state;
  }
  return std::nullopt;
}

bool fits_renaming(const ImageHeader& header) {
  if (!header.is_renaming()) return header.rename_to.empty();
  return is_valid_image_name(header.rename_to) && header.rename_to != header.name;
}

unsigned format_of(const ImageHeader& header) {
  if (header.state == ImageState::kImporting) return ImageHeader::kImportingFormat;
  if (header.is_renaming()) return ImageHeader::kRenamingFormat;
  return header.is_resizing() ? ImageHeader::kResizingFormat : ImageHeader::kFormat;
}

std::optional<Registration> parse_registration(const Json& json, uint64_t format) {
  HeaderFields fields(json);
  Registration out;
  out.entity = fields.text("entity", kMaxEntityBytes);
  out.instance = fields.text("instance", kMaxInstanceBytes);
  out.nonce = fields.number("nonce");
  out.lock = LockMode::kShared;  // what they were before there were locks
  if (format >= 2) {
    const auto cookie = objecter::parse_hex(fields.text("cookie", 16));
    const std::string lock = fields.text("lock", 16);
    const bool is_shared = lock == lock_mode_name(LockMode::kShared);
    if (!cookie || (!is_shared && lock != lock_mode_name(LockMode::kExclusive))) return {};
    out.cookie = *cookie;
    out.lock = is_shared ? LockMode::kShared : LockMode::kExclusive;
  }
  if (!fields.is_ok() || !is_entity_text(out.entity) || !is_instance_text(out.instance))
    return std::nullopt;
  return out;
}

}  // namespace

const char* lock_mode_name(LockMode mode) noexcept {
  return mode == LockMode::kShared ? "shared" : "exclusive";
}

const char* image_state_name(ImageState state) noexcept {
  for (const NamedState& each : kStates) {
    if (state == each.state) return each.name;
  }
  return "?";
}

const Registration* ImageHeader::find_registration(uint64_t cookie) const {
  const auto found = std::find_if(registrations.begin(), registrations.end(),
                                  [&](const auto& each) { return each.cookie == cookie; });
  return found == registrations.end() ? nullptr : &*found;
}

std::string encode(const ImageHeader& header) {
  LUNAR_CHECK(fits_renaming(header), "an image header with a name to come that is none");
  Json registrations = Json::array();
  for (const auto& each : header.registrations) {
    registrations.push_back(json_of(each));
  }
  Json json = {{"format", format_of(header)},
               {"id", image_id_text(header.id)},
               {"name", header.name},
               {"uuid", header.uuid.to_string()},
               {"size", header.size},
               {"object_size", header.layout.object_size},
               {"stripe_unit", header.layout.stripe_unit},
               {"stripe_count", header.layout.stripe_count},
               {"state", image_state_name(header.state)},
               {"trimmed_from", header.trimmed_from},
               {"features", header.features},
               {"registrations", std::move(registrations)}};
  if (header.is_resizing()) json["resize_to"] = header.resize_to;
  if (header.is_renaming()) json["rename_to"] = header.rename_to;
  if (header.resizer) json["resizer"] = json_of(*header.resizer);
  return json.dump(1);
}

Outcome<ImageHeader> decode_image_header(std::string_view text, const std::string& object) {
  const auto corrupt = [&](const std::string& what) {
    return failure(OsdErrc::kCorrupt, "image header " + object + " " + what +
                                          ": 'lunar scrub POOL' shows what can be done");
  };
  const auto json = parse_json<Json>(text, kHeaderBounds);
  if (!json) return corrupt(json.error().message);
  HeaderFields fields(*json);
  const uint64_t format = fields.number("format");
  if (!fields.is_ok()) return corrupt("is not a Lunar image header");
  if (format == 0 || format > ImageHeader::kImportingFormat) {
    return failure(OsdErrc::kIncompatible, "image header " + object + " has format " +
                                               std::to_string(format) +
                                               ", this build knows formats 1 to 5: use a newer "
                                               "build");
  }
  ImageHeader header;
  const auto id = parse_image_id(fields.text("id", 16));
  header.name = fields.text("name", 128);
  const auto uuid = Uuid::parse(fields.text("uuid", 36));
  header.size = fields.number("size");
  header.layout.object_size = fields.number("object_size");
  header.layout.stripe_unit = fields.number("stripe_unit");
  const uint64_t stripe_count = fields.number("stripe_count");
  header.layout.stripe_count = static_cast<uint32_t>(std::min<uint64_t>(stripe_count, UINT32_MAX));
  const auto state = parse_state(fields.text("state", 16));
  header.trimmed_from = fields.number("trimmed_from");
  for (const auto& each : fields.array("features", 64)) {
    return failure(OsdErrc::kIncompatible, "image header " + object + " needs feature " +
                                               printable_json(each) + ", which this build lacks");
  }
  for (const auto& each : fields.array("registrations", ImageHeader::kMaxRegistrations)) {
    auto registration = parse_registration(each, format);
    if (!registration) return corrupt("has a damaged registration");
    header.registrations.push_back(std::move(*registration));
  }
  if (json->contains("resizer")) {
    header.resizer = parse_registration((*json)["resizer"], format);
    if (!header.resizer) return corrupt("has a damaged resizer");
  }
  if (!fields.is_ok() || !id || !uuid || !is_valid_image_name(header.name)) {
    return corrupt("lacks a member or has one of the wrong type");
  }
  if (!state) return corrupt("has an unknown state");
  header.state = *state;
  if (header.is_resizing()) {
    header.resize_to = fields.number("resize_to");
    if (!fields.is_ok()) return corrupt("does not say which size it is to have");
    if (auto r = validate_image_size(header.resize_to); !r)
      return corrupt("is wrong: " + r.error().message);
  }
  if (json->contains("rename_to")) header.rename_to = fields.text("rename_to", 128);
  if (!fields.is_ok() || !fits_renaming(header)) return corrupt("has a wrong name to come");
  header.id = *id;
  // Whoever may write one image's header must not have another one's data removed.
  if (header_object_name(*id) != object) return corrupt("is of image " + image_id_text(*id));
  header.uuid = *uuid;
  if (auto r = validate(header.layout); !r) return corrupt("is wrong: " + r.error().message);
  if (auto r = validate_image_size(header.size); !r)
    return corrupt("is wrong: " + r.error().message);
  if (header.trimmed_from > ImageHeader::kMaxSize) return corrupt("has an impossible trimmed_from");
  return header;
}

bool is_valid_image_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= 128 && name[0] != '.' && name[0] != '-' &&
         std::all_of(name.begin(), name.end(), is_name_char);
}

Outcome<void> validate_image_size(uint64_t size) {
  if (size >= ImageHeader::kSizeUnit && size <= ImageHeader::kMaxSize &&
      size % ImageHeader::kSizeUnit == 0) {
    return {};
  }
  return failure(std::errc::invalid_argument,
                 "image size " + std::to_string(size) +
                     " is not a multiple of 4096 bytes between 4 KiB and 4 PiB");
}

Outcome<ImageSpec> ImageSpec::parse(std::string_view text) {
  const auto wrong = [&](const char* what) {
    return failure(std::errc::invalid_argument,
                   "'" + std::string(text) + "' " + what + "; give POOL/IMAGE");
  };
  if (text.find('@') != std::string_view::npos) {
    return wrong("names a snapshot, and this build has none");
  }
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return wrong("has no pool");
  ImageSpec spec{std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
  if (!is_valid_image_name(spec.pool)) return wrong("has no valid pool name");
  if (!is_valid_image_name(spec.image)) {
    return wrong("has no valid image name (letters, digits, '.', '_', '-'; at most 128)");
  }
  return spec;
}

}  // namespace lunar::gateway
