// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/task.h"
#include "gateway/client.h"
#include "gateway/image_directory.h"
#include "gateway/image_header.h"
#include "objecter/protocol/watch.h"

namespace lunar::gateway {

// The registrations of the header, then the watches without one. A registration is dead if its
// watch has been without a connection for `lock_timeout`, or if it has none, and had the time to
// come back since the server of the header started; but not while its start is connected by the
// watch of another open, as fencing ends both. Pure.
std::vector<Holder> judge_holders(const ImageHeader& header, const objecter::WatcherList& watchers,
                                  std::chrono::nanoseconds lock_timeout);

// Tasks, as those of metadata_object.h; errors are sentences.

// Who has the image of this header open now, dead or alive.
Task<Outcome<std::vector<Holder>>> find_holders(Client& client, objecter::PoolId pool,
                                                ImageHeader header);

// Fences these registrations at every server of the pool, and then strikes exactly them: a later
// start that has registered meanwhile is not fenced, and stays. Whoever has the image open is told.
// Errors as those of fence_start(); nothing is struck then.
Task<Outcome<void>> fence_and_strike(Client& client, objecter::PoolInfo pool, ImageId id,
                                     std::vector<Registration> registrations);

// The same of those that are dead.
Task<Outcome<void>> strike_dead(Client& client, objecter::PoolInfo pool, ImageId id,
                                std::vector<Holder> holders);

// Between two looks at what becomes of a holder that has lost its connection.
inline constexpr std::chrono::milliseconds kHolderPoll{250};

// Those that are alive. Strikes the dead, and waits, at most lunar_lock_timeout and a little, for
// what becomes of those that have lost their connection.
Task<Outcome<std::vector<Holder>>> find_living(Client& client, objecter::PoolInfo pool, ImageId id);

// For a sentence: "client.admin at gw1/tgtd.0 (2 opens), client.b at host/77 (without a connection
// for 3 s)".
std::string text_of_holders(const std::vector<Holder>& holders);

}  // namespace lunar::gateway
