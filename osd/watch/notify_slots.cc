// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/watch/notify_slots.h"

namespace lunar::osd {
namespace {

template <typename Key>
std::size_t slots_of(const std::map<Key, std::size_t>& counts, const Key& key) {
  const auto at = counts.find(key);
  return at == counts.end() ? 0 : at->second;
}

template <typename Key>
void give_slot_back(std::map<Key, std::size_t>& counts, const Key& key) {
  const auto at = counts.find(key);
  if (--at->second == 0) counts.erase(at);
}

}  // namespace

bool NotifySlots::take(const objecter::ObjectId& object, const objecter::ClientIdentity& notifier) {
  const std::pair on_object(object, notifier.entity);
  if (slots_of(of_client_, notifier) >= limits_.max_of_client ||
      slots_of(of_object_, object) + slots_of(of_entity_on_object_, on_object) >=
          limits_.max_of_object ||
      of_all_ + slots_of(of_entity_, notifier.entity) >= limits_.max_of_all)
    return false;
  ++of_object_[object];
  ++of_entity_on_object_[on_object];
  ++of_client_[notifier];
  ++of_entity_[notifier.entity];
  ++of_all_;
  return true;
}

void NotifySlots::give_back(const objecter::ObjectId& object,
                            const objecter::ClientIdentity& notifier) {
  give_slot_back(of_object_, object);
  give_slot_back(of_entity_on_object_, std::pair(object, notifier.entity));
  give_slot_back(of_client_, notifier);
  give_slot_back(of_entity_, notifier.entity);
  --of_all_;
}

}  // namespace lunar::osd
