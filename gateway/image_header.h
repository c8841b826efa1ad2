// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/bytes.h"
#include "common/result.h"
#include "common/uuid.h"
#include "gateway/splitter.h"
#include "objecter/protocol/types.h"

namespace lunar::gateway {

using objecter::ImageId;

// A gateway that has the image open. Kept in the header, so that `rm` and shrinking know.
struct Registration {
  std::string entity;    // "client.admin"
  std::string instance;  // PeerIdentity::instance
  uint64_t nonce = 0;
  friend bool operator==(const Registration&, const Registration&) = default;
};

enum class ImageState : uint8_t {
  kReady,
  kRemoving,  // `rm` has begun: it can only be finished
};

// What an image is: one JSON object, `<id>.header`. A value. docs/image.md has the format.
struct ImageHeader {
  static constexpr unsigned kFormat = 1;  // a header of another format is refused
  static constexpr std::size_t kMaxBytes = 256u << 10;
  static constexpr std::size_t kMaxRegistrations = 64;
  static constexpr uint64_t kMaxSize = uint64_t{1} << 52;  // 4 PiB
  static constexpr uint64_t kSizeUnit = 4096;

  ImageId id = 0;
  std::string name;
  Uuid uuid;
  uint64_t size = 0;  // bytes, a multiple of kSizeUnit
  StripeLayout layout;
  ImageState state = ImageState::kReady;
  uint64_t trimmed_from = 0;  // largest size it ever had: growing again clears up to here first
  std::vector<std::string> features;  // none are known yet: an image that has one is refused
  std::vector<Registration> registrations;

  Registration* find_registration(std::string_view entity, std::string_view instance);
};

std::string encode(const ImageHeader& header);
// Sentences: kCorrupt for what does not parse or breaks a rule, kIncompatible for another format or
// an unknown feature. `object` names it in them.
Outcome<ImageHeader> decode_image_header(std::string_view json, const std::string& object);

// Object names. 16 hex digits of the id, then what it is.
std::string image_id_text(ImageId id);
std::string header_object_name(ImageId id);
std::string data_object_name(ImageId id, uint64_t object_no);

// 1 … 128 bytes of [A-Za-z0-9._-], not beginning with a dot or dash.
bool is_valid_image_name(std::string_view name) noexcept;
// A multiple of 4096 between 4096 and kMaxSize.
Outcome<void> validate_image_size(uint64_t size);

// "pool/image". A sentence for anything else; "@snap" says that snapshots are not there yet.
struct ImageSpec {
  std::string pool;
  std::string image;
  static Outcome<ImageSpec> parse(std::string_view text);
  std::string to_string() const { return pool + "/" + image; }
};

}  // namespace lunar::gateway
