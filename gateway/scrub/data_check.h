// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <system_error>

#include "common/task.h"
#include "gateway/client.h"
#include "gateway/pool_scrub.h"
#include "gateway/scrub/pool_survey.h"

namespace lunar::gateway {

// Reads what is allocated of the data objects in the survey that belong to an image, and adds to
// the report what cannot be read. Leaves out what a server refuses to read, and servers that have
// listed nothing. Client, survey and report outlive the task. Gives true in any case.
Task<bool> check_data(Client& client, PoolSurvey& survey, ScrubOptions options,
                      OnProgress on_progress, ScrubReport& report);

}  // namespace lunar::gateway
