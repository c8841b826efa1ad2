// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>
#include <string>

#include "gateway/image_header.h"
#include "gateway/pool_scrub.h"
#include "gateway/scrub/pool_survey.h"

namespace lunar::gateway {

// From what the servers say to what is wrong: findings that need no reading of data. Pure.
ScrubReport find_in(const PoolSurvey& survey);

// The image's name in the directory, or that in its header, or its id.
std::string image_label(const PoolSurvey& survey, ImageId id);
// The header that was read, if it is one that this build knows.
std::optional<ImageHeader> header_of(const PoolSurvey& survey, ImageId id);
// Of an image whose name another one has.
std::string spare_name(const std::string& name, ImageId id);
// The name that the directory has for the image; empty: none.
std::string directory_name(const PoolSurvey& survey, ImageId id);

}  // namespace lunar::gateway
