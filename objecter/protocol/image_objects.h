// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "objecter/protocol/types.h"

namespace lunar::objecter {

// The names of the objects that images are made of, docs/image.md, "Objects". Gateways make them,
// and servers tell by them which image an op is about. Pure; what parses takes any text, and gives
// nothing for what is not exactly of the form.

// Exactly 16 lower-case hex digits, with leading zeroes: what the names of an image's objects begin
// with.
std::string image_id_text(ImageId id);
// An id is never 0, which in a Grant means that its image's name was not looked up.
std::optional<ImageId> parse_image_id(std::string_view text) noexcept;
// Any number of that form, 0 too: the number of a data object, the cookie of an open.
std::optional<uint64_t> parse_hex(std::string_view text) noexcept;

// "<id>.header": the object with the JSON that says what the image is, and who has it.
std::string header_object_name(ImageId id);
std::optional<ImageId> parse_header_object(std::string_view object) noexcept;

// "<id>.<number>": the data from number * object size on; what was never written has no object.
// The number has the form of an id.
std::string data_object_name(ImageId id, uint64_t object_no);
// What such a name says. A value; what the image's layout makes of the number is not known here.
struct DataObjectName {
  ImageId image = 0;
  uint64_t number = 0;
};
std::optional<DataObjectName> parse_data_object(std::string_view object) noexcept;

// "lunar_id.<name>": an object that holds the id of the image with that name.
inline constexpr std::string_view kNamePrefix = "lunar_id.";
// What a pool of an earlier build had instead, with all of its names.
inline constexpr std::string_view kOldDirectoryName = "lunar_directory";
// Whether the object is one of those: whoever writes it decides which images the pool has.
inline bool is_of_names(std::string_view object) noexcept {
  return object.starts_with(kNamePrefix) || object == kOldDirectoryName;
}

}  // namespace lunar::objecter
