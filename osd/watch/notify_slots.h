// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>

#include "objecter/protocol/osd_op.h"
#include "objecter/protocol/watch.h"

namespace lunar::osd {

// How many notifies may be under way: of an object, of a start of a client, of all. An entity has
// no more of them, of an object and of all, than there is room left for others.
// Not thread-safe.
class NotifySlots {
 public:
  struct Limits {
    std::size_t max_of_object = 64;
    std::size_t max_of_client = 64;  // that one start of a client began
    std::size_t max_of_all = 4096;
  };

  explicit NotifySlots(Limits limits) noexcept : limits_(limits) {}

  // False if there is none left for this notifier.
  bool take(const objecter::ObjectId& object, const objecter::ClientIdentity& notifier);
  // REQUIRES: it was taken, with these two.
  void give_back(const objecter::ObjectId& object, const objecter::ClientIdentity& notifier);

 private:
  const Limits limits_;
  // How many there are; none is 0.
  std::map<objecter::ObjectId, std::size_t> of_object_;
  std::map<std::pair<objecter::ObjectId, std::string>, std::size_t> of_entity_on_object_;
  std::map<objecter::ClientIdentity, std::size_t> of_client_;
  std::map<std::string, std::size_t> of_entity_;
  std::size_t of_all_ = 0;
};

}  // namespace lunar::osd
