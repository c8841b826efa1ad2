// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gateway/image_header.h"
#include "gateway/pool_scrub.h"
#include "gateway/scrub/pool_survey.h"

namespace lunar::gateway {

// From what the servers say to what is wrong: findings that need no reading of data. Pure.
ScrubReport find_in(const PoolSurvey& survey);

// The image's name, or that in its header, or its id.
std::string image_label(const PoolSurvey& survey, ImageId id);
// The header that was read, if it is one that this build knows.
std::optional<ImageHeader> decoded_header(const PoolSurvey& survey, ImageId id);
// The name under which the image is found: of those that lead to it, one that its header has, or
// the first if the header cannot be read. Empty: none.
std::string image_name_in(const PoolSurvey& survey, ImageId id);
// All that lead to it, sorted.
std::vector<std::string> image_names_in(const PoolSurvey& survey, ImageId id);
// Those of them that its header does not have. None if it cannot be read.
std::vector<std::string> left_over_names_in(const PoolSurvey& survey, ImageId id);
// The images whose headers have this name, and that are found under none.
std::vector<ImageId> nameless_images_of(const PoolSurvey& survey, const std::string& name);

}  // namespace lunar::gateway
