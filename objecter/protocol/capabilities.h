// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "objecter/protocol/types.h"

namespace lunar::objecter {

// What an entity may do, in cephx's words: "allow rw pool=rbd, allow r pool=backup image=disk1
// image_id=00c0ffee00c0ffee". Nothing that no grant allows is allowed. docs/operations.md has the
// table of what each letter means; osd/access/permissions.h applies it.

// Bits of a grant: r, w, x, and all of them with whatever is added later (*).
enum Access : uint8_t { kAccessRead = 1, kAccessWrite = 2, kAccessExecute = 4, kAccessAll = 15 };

// One part of it: what is allowed, and where. A value.
struct Grant {
  uint8_t access = 0;    // Access; never 0
  std::string pool;      // empty: all pools, and the cluster
  std::string image;     // empty: the whole pool; only with a pool
  ImageId image_id = 0;  // which image that name meant when the grant was given; 0: not looked up
  friend bool operator==(const Grant&, const Grant&) = default;
};

struct Capabilities {
  static constexpr std::size_t kMaxGrants = 64;
  static constexpr std::size_t kMaxTextBytes = 4096;
  std::vector<Grant> grants;  // none: nothing is allowed
  friend bool operator==(const Capabilities&, const Capabilities&) = default;
};

// Reads "allow ACCESS [pool=POOL] [image=IMAGE] [image_id=ID]" and "profile NAME …", separated by
// commas. ACCESS is * or letters of rwx; profiles are gateway (rw), rbd (rwx), rbd-read-only (r).
// The text is a person's or a peer's. kInvalid, with a sentence that names the word. Pure.
Outcome<Capabilities> parse_capabilities(std::string_view text);
// What parse_capabilities() reads back, with profiles written out.
std::string to_string(const Capabilities& capabilities);

}  // namespace lunar::objecter
