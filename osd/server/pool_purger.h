// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <deque>
#include <set>
#include <string>
#include <vector>

#include "objecter/protocol/osd_map.h"
#include "osd/object_names.h"

namespace lunar::osd {

// Gives back the space of pools that were removed: every pool id that was given out and is not in
// the map, also if it went while this server was down. One object at a time, beside the ops.
// Loop-bound. Borrows the names.
class PoolPurger {
 public:
  // Removes one object, in the order of its other ops; its argument runs once, later.
  using RemoveObject = InlineFunction<void(const ObjectId&, InlineFunction<void()>)>;
  PoolPurger(ObjectNames& names, RemoveObject remove) : names_(names), remove_(std::move(remove)) {}

  // A map is ours, durably.
  void on_map(objecter::OsdMapRef map);
  // `done` runs when nothing is in progress and nothing will be; at once if so already.
  void stop(InlineFunction<void()> done);

 private:
  void next_page();
  void remove_next();
  bool goes_on();

  ObjectNames& names_;
  RemoveObject remove_;
  objecter::OsdMapRef map_;
  std::set<objecter::PoolId> purged_;  // or about to be, since the start
  std::deque<objecter::PoolId> queue_;
  std::string cursor_;
  std::deque<std::string> page_;
  uint64_t removed_ = 0;
  bool busy_ = false;
  bool stopping_ = false;
  InlineFunction<void()> stopped_;
};

}  // namespace lunar::osd
