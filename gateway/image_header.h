// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/bytes.h"
#include "common/result.h"
#include "common/uuid.h"
#include "gateway/splitter.h"
#include "objecter/protocol/image_objects.h"
#include "objecter/protocol/types.h"

namespace lunar::gateway {

// What an image is: its header as a value, and the text of it. All pure. Errors are sentences.

// The names of an image's objects; image_objects.h has what they are.
using objecter::data_object_name;
using objecter::header_object_name;
using objecter::image_id_text;
using objecter::ImageId;
using objecter::parse_image_id;

// Who may write beside whoever has opened the image.
enum class LockMode : uint8_t {
  kExclusive,  // this start of this gateway, and no other
  kShared,     // all who have opened it so; their initiators coordinate themselves
};
const char* lock_mode_name(LockMode mode) noexcept;  // "exclusive", "shared"

// An open of the image for writing: written by opening, struck by closing, by `lunar unregister`,
// or by whoever finds its gateway dead. While there is one the image is neither removed nor shrunk.
// Its watch on the header object has the same cookie. A value.
struct Registration {
  std::string entity;    // "client.admin"
  std::string instance;  // which gateway: Client::Identity::instance
  uint64_t nonce = 0;    // which start of it
  uint64_t cookie = 0;   // which open of it: random. 0: of a build that did not watch
  LockMode lock = LockMode::kExclusive;

  bool is_of_start(const Registration& other) const noexcept {
    return nonce == other.nonce && is_of_gateway(other);
  }
  bool is_of_gateway(const Registration& other) const noexcept {
    return entity == other.entity && instance == other.instance;
  }
  friend bool operator==(const Registration&, const Registration&) = default;
};

enum class ImageState : uint8_t {
  kReady,
  kRemoving,   // `rm` has begun: it can only be finished
  kShrinking,  // its end is being given up, to `resize_to`; while that is below `size`, nothing of
               // it is lost yet; then it can only be finished
  kGrowing,    // to `resize_to`: what was cut off there earlier is being cleared
  kRenaming,   // to `rename_to`, whose object is being made: `name` leads to the image
  kRenamed,    // the object of `rename_to` leads to it; that of `name` is being dropped
  kImporting,  // its content is not whole: only who imports it opens it
};

const char* image_state_name(ImageState state) noexcept;  // "ready", "removing", …

// What an image is: one JSON object, `<id>.header`. A value. docs/image.md has the format.
// Name, size, state, resize_to, rename_to, trimmed_from, registrations and resizer change; the rest
// stays for the image's life.
struct ImageHeader {
  static constexpr unsigned kFormat = 2;                   // 1 is read too; a later one is refused
  static constexpr unsigned kResizingFormat = 3;           // of kShrinking and kGrowing
  static constexpr unsigned kRenamingFormat = 4;           // of kRenaming and kRenamed
  static constexpr unsigned kImportingFormat = 5;          // of kImporting
  static constexpr std::size_t kMaxRegistrations = 1024;   // opening one more is refused
  static constexpr uint64_t kMaxSize = uint64_t{1} << 52;  // 4 PiB
  static constexpr uint64_t kSizeUnit = 4096;              // bytes

  ImageId id = 0;     // of its objects' names: random, never 0, never used again
  std::string name;   // that of its name object; the old one while it is renamed
  Uuid uuid;          // of the LUN, through whichever gateway it is exported
  uint64_t size = 0;  // bytes, a multiple of kSizeUnit
  StripeLayout layout;
  ImageState state = ImageState::kReady;
  uint64_t resize_to = 0;     // bytes, the size to come; 0 unless kShrinking or kGrowing
  std::string rename_to;      // the name to come, not `name`; empty unless kRenaming or kRenamed
  uint64_t trimmed_from = 0;  // largest size it ever had: growing again clears up to here first
  std::vector<std::string> features;  // none are known yet: an image that has one is refused
  std::vector<Registration> registrations;
  // Who is changing its size, or began to and was interrupted: no two do it at once. Its watch is
  // that of a reader.
  std::optional<Registration> resizer;

  bool is_resizing() const noexcept {
    return state == ImageState::kShrinking || state == ImageState::kGrowing;
  }
  bool is_renaming() const noexcept {
    return state == ImageState::kRenaming || state == ImageState::kRenamed;
  }
  // The one whose object leads to the image for as long as the header is as it is now.
  const std::string& lasting_name() const noexcept {
    return state == ImageState::kRenamed ? rename_to : name;
  }
  // A name object of another name that leads here is left over, and counts as absent.
  bool has_name(std::string_view wanted) const noexcept {
    return wanted == name || (is_renaming() && wanted == rename_to);
  }
  // The object of such a name must stay: it leads to the image, or will if the renaming goes on.
  bool needs_name(std::string_view wanted) const noexcept {
    return has_name(wanted) && (state != ImageState::kRenamed || wanted == rename_to);
  }
  // Bytes that may be read and written: the end that is being given up is no part of it, so that
  // no IO begins there any more while its gateways are waited for.
  uint64_t usable_size() const noexcept {
    return state == ImageState::kShrinking ? std::min(size, resize_to) : size;
  }
  // Null if there is none. Good until registrations change.
  const Registration* find_registration(uint64_t cookie) const;
};

// The JSON text of the header object. What decode_image_header() reads back, and earlier builds
// too, unless the image is being resized, renamed or imported: those refuse its format then.
// REQUIRES: `rename_to` is as its comment says.
std::string encode(const ImageHeader& header);
// Errors: kCorrupt for what does not parse or breaks a rule, kIncompatible for another format or an
// unknown feature. `object` is the name of the object, which has to be that of the header's id.
Outcome<ImageHeader> decode_image_header(std::string_view json, const std::string& object);

// A name for an image or a pool: 1 … 128 bytes of [A-Za-z0-9._-], not beginning with a dot or
// dash.
bool is_valid_image_name(std::string_view name) noexcept;
// A size for an image, new or resized: a multiple of kSizeUnit, from kSizeUnit to kMaxSize.
// invalid_argument otherwise.
Outcome<void> validate_image_size(uint64_t size);

// Which image, as people write it: "pool/image". A value.
struct ImageSpec {
  std::string pool;
  std::string image;
  // invalid_argument for anything but two valid names; the sentence for "@snap" says that there are
  // no snapshots.
  static Outcome<ImageSpec> parse(std::string_view text);
  std::string to_string() const { return pool + "/" + image; }
};

}  // namespace lunar::gateway
