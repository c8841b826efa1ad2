// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <utility>

#include "common/inline_function.h"
#include "common/unique_function.h"
#include "msgr/event_center.h"

namespace lunar::osd {

// Runs done(results…) on a later turn of the loop. Allocates only what does not fit into a posted
// function. Takes both.
template <typename Done, typename... Results>
void post_done(msgr::EventCenter& center, Done done, Results... results) {
  auto run = [done = std::move(done), ... results = std::move(results)]() mutable {
    done(std::move(results)...);
  };
  if constexpr (sizeof(run) <= InlineFunction<void()>::kInlineBytes) {
    center.post(std::move(run));
  } else {
    center.post(UniqueFunction<void()>(std::move(run)));
  }
}

}  // namespace lunar::osd
