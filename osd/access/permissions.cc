// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/access/permissions.h"

#include <algorithm>

#include "objecter/protocol/image_objects.h"

namespace lunar::osd {

using objecter::Access;
using objecter::ImageId;
using objecter::OpCode;
using objecter::PoolId;

namespace {

// Whether the object is the header of this image, or holds data of it.
bool is_of_image(std::string_view object, ImageId image) noexcept {
  if (image == 0) return false;
  if (const auto header = objecter::parse_header_object(object)) return *header == image;
  const auto data = objecter::parse_data_object(object);
  return data && data->image == image;
}

// A server keeps all metadata objects in memory and rewrites them: only what is meant to be one may
// be made one. And what is changed for one image must not be marked as another's.
bool is_as_images_are(const objecter::OsdOpHeader& op) noexcept {
  const bool changes = std::any_of(op.steps.begin(), op.steps.end(), [](const auto& step) {
    return objecter::changes_object(step.code);
  });
  if (!changes) return true;
  const bool is_metadata = (op.flags & objecter::kOpMetadata) != 0;
  if (is_metadata !=
      (objecter::parse_header_object(op.object).has_value() || objecter::is_of_names(op.object)))
    return false;
  return op.image == 0 || is_of_image(op.object, op.image);
}

// The accesses that a step needs on this object.
uint8_t access_for(OpCode code, std::string_view object) noexcept {
  if (objecter::changes_object(code))
    return objecter::is_of_names(object) ? objecter::kAccessExecute : objecter::kAccessWrite;
  if (code == OpCode::kFlush || code == OpCode::kNotify) return objecter::kAccessWrite;
  return objecter::kAccessRead;
}

}  // namespace

Permissions::Permissions(Role role) noexcept
    : has_all_objects_(role != Role::kServer),
      sees_whole_map_(role != Role::kClient),
      is_admin_(role == Role::kAdmin),
      may_command_(role == Role::kAdmin) {}

Permissions::Permissions(const objecter::Capabilities& capabilities, const objecter::OsdMap& map) {
  for (const objecter::Grant& grant : capabilities.grants) {
    if (grant.pool.empty()) {
      may_command_ = may_command_ || (grant.access & objecter::kAccessExecute) != 0;
      is_admin_ = is_admin_ || grant.access == objecter::kAccessAll;
      grants_.push_back({0, grant.access, 0, {}});
      continue;
    }
    const objecter::PoolInfo* pool = map.find_pool(std::string_view(grant.pool));
    // A grant whose image was never looked up gives nothing.
    if (pool == nullptr || (!grant.image.empty() && grant.image_id == 0)) continue;
    grants_.push_back(
        {pool->id, grant.access, grant.image_id,
         grant.image.empty() ? std::string() : std::string(objecter::kNamePrefix) + grant.image});
  }
  has_all_objects_ = sees_whole_map_ = is_admin_;
}

bool Permissions::allows(const PoolGrant& grant, PoolId pool, std::string_view object,
                         ImageId image, uint8_t access) const noexcept {
  if (grant.pool != 0 && grant.pool != pool) return false;
  if (grant.image == 0) return (grant.access & access) != 0;
  // The op says which image's writes and losses it is about: nobody else's.
  if (image != 0 && image != grant.image) return false;
  if (object == grant.name_object)
    return access == objecter::kAccessRead && (grant.access & access) != 0;
  const bool is_flush = object.empty() && access == objecter::kAccessWrite && image == grant.image;
  return (is_flush || is_of_image(object, grant.image)) && (grant.access & access) != 0;
}

bool Permissions::allows(const objecter::OsdOpHeader& op) const noexcept {
  if (has_all_objects_) return true;
  if (!is_as_images_are(op)) return false;
  for (const objecter::SubOp& step : op.steps) {
    const uint8_t access = access_for(step.code, op.object);
    bool is_allowed = false;
    for (const PoolGrant& grant : grants_)
      is_allowed = is_allowed || allows(grant, op.pg.pool, op.object, op.image, access);
    if (!is_allowed) return false;
  }
  return true;
}

bool Permissions::allows_watching(const objecter::ObjectId& object) const noexcept {
  if (has_all_objects_) return true;
  for (const PoolGrant& grant : grants_)
    if (allows(grant, object.pool, object.name, 0, objecter::kAccessRead)) return true;
  return false;
}

bool Permissions::may_take_over() const noexcept {
  if (has_all_objects_) return true;
  return std::any_of(grants_.begin(), grants_.end(), [](const PoolGrant& grant) {
    return (grant.access & objecter::kAccessWrite) != 0;
  });
}

bool Permissions::allows_seeing(PoolId pool) const noexcept {
  if (has_all_objects_) return true;
  for (const PoolGrant& grant : grants_)
    if (grant.pool == 0 || grant.pool == pool) return true;
  return false;
}

}  // namespace lunar::osd
