// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "gateway/image_header.h"
#include "gateway/metadata/old_directory.h"
#include "gateway/pool_scrub.h"

namespace lunar::gateway {

// What is known of an image whose header cannot be used.
struct HeaderRemains {
  ImageId id = 0;
  std::string name;             // under which it is found; may be empty
  std::string_view text;        // of the header, damaged; may be empty
  StripeLayout default_layout;  // of the pool
  uint64_t end_object = 0;      // above the numbers of all data objects
  uint64_t largest_object = 0;  // bytes of the largest data object that was looked at
};

// A header from what was given, then what the text still says, then the defaults; the size at least
// covers the data. Registrations are not taken over. Errors, with a sentence: invalid_argument for
// a layout or size that breaks a rule or does not hold the data. Pure.
Outcome<ImageHeader> salvage_header(const HeaderRemains& remains, const HeaderGuess& guess);

// Who the text says has the image open or resizes it, as far as it still reads as such. Pure.
std::vector<Registration> salvage_registrations(std::string_view text);

// The entries of an old directory's text that still read as such. Pure.
NameTable salvage_directory(std::string_view text);

}  // namespace lunar::gateway
