// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <vector>

#include "osd/store/identity.h"
#include "osd/store/store_tree.h"

namespace lunar::osd {

inline constexpr std::size_t kMaxAttributeNameBytes = 200;
inline constexpr std::size_t kMaxAttributeBytes = 2048;  // ext4 has one block for all of a file

// The named values of an object: user.lunar.<name> of its file or, where the file system has no
// such xattrs, a sidecar x.<object> beside it. Blocking; thread-safe across objects. `fd` is the
// object's open file. Errors are the system's; get: ENODATA.
class Attributes {
 public:
  Attributes(const StoreTree& tree, AttributeHome home) : tree_(tree), home_(home) {}

  AttributeHome home() const noexcept { return home_; }

  // Durable after an fsync of the file and its folder.
  std::error_code set(const ObjectId& id, int fd, const std::string& name, ConstBytes value) const;
  Result<std::vector<std::byte>> get(const ObjectId& id, int fd, const std::string& name) const;
  // For replace(): a sidecar stays where it is, xattrs go to the new file.
  std::error_code copy(int from, int to) const;

 private:
  std::error_code set_in_sidecar(const ObjectId& id, const std::string& name,
                                 ConstBytes value) const;

  const StoreTree& tree_;
  const AttributeHome home_;
};

}  // namespace lunar::osd
