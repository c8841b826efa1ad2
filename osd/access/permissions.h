// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "objecter/protocol/capabilities.h"
#include "objecter/protocol/osd_map.h"
#include "objecter/protocol/osd_op.h"

namespace lunar::osd {

// What one entity may do at this server under one map. A value.
//
// r: reads data and metadata, watches, lists the objects of a pool. w: changes them, flushes,
// notifies. x: changes which images a pool has (their names); without a pool also commands that
// show the cluster, and fences. A grant with image= is for the objects of that image alone, and the
// object that has its name can only be read. Objects have the names of docs/image.md; metadata are
// headers and names alone.
class Permissions {
 public:
  enum class Role {
    kServer,  // the whole map, and no object of another server
    kClient,  // all objects: of a cluster that does not enforce capabilities
    kAdmin    // everything
  };
  Permissions() noexcept = default;  // allows nothing
  explicit Permissions(Role role) noexcept;
  // What these capabilities allow in the pools of this map.
  Permissions(const objecter::Capabilities& capabilities, const objecter::OsdMap& map);

  // Whether all steps of an op are allowed; of an op that is valid. Never looks at what exists, so
  // a refusal says nothing about it.
  bool allows(const objecter::OsdOpHeader& op) const noexcept;
  // Whether a watch of this object may go on.
  bool allows_watching(const objecter::ObjectId& object) const noexcept;
  // Whether the entity hears of this pool.
  bool allows_seeing(objecter::PoolId pool) const noexcept;

  bool is_admin() const noexcept { return is_admin_; }      // may send any command
  bool may_show() const noexcept { return may_command_; }   // … commands that change nothing
  bool may_fence() const noexcept { return may_command_; }  // … fence any entity's clients
  // … fence other clients of its own entity, as a takeover does: only who may write to something.
  bool may_take_over() const noexcept;
  bool sees_whole_map() const noexcept { return sees_whole_map_; }

 private:
  struct PoolGrant {
    objecter::PoolId pool = 0;  // 0: all
    uint8_t access = 0;
    objecter::ImageId image = 0;  // 0: the whole pool
    std::string name_object;      // that leads to the image
  };
  bool allows(const PoolGrant& grant, objecter::PoolId pool, std::string_view object,
              objecter::ImageId image, uint8_t access) const noexcept;

  bool has_all_objects_ = false;
  bool sees_whole_map_ = false;
  bool is_admin_ = false;
  bool may_command_ = false;
  std::vector<PoolGrant> grants_;
};

}  // namespace lunar::osd
