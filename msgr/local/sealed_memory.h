// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <memory>

#include "common/bytes.h"
#include "common/file.h"
#include "common/result.h"

namespace lunar::msgr::local {

inline constexpr std::size_t kPage = 4096;

// Memory that two processes have mapped. Nothing that the other process does to its descriptor can
// take the pages away from under us: that they are sealed against shrinking is what map() insists
// on. What it punches a hole into is zeroes again, in pages that the kernel gives at the next
// touch; that it has none then is a SIGBUS, which takes vm.overcommit_memory = 2 and all promised.
// Owns the mapping. Immutable.
class SharedMapping {
 public:
  // A child that is forked does not have the mapping. Errors: invalid_argument for what is no
  // memfd, one that could shrink or must not be written, huge pages (they may be missing when they
  // are touched), or a size that is no multiple of a page from one page to `most_bytes`.
  static Result<std::unique_ptr<SharedMapping>> map(const UniqueFd& fd, std::size_t most_bytes);
  ~SharedMapping();
  SharedMapping(const SharedMapping&) = delete;
  SharedMapping& operator=(const SharedMapping&) = delete;
  Bytes bytes() const noexcept { return bytes_; }

 private:
  explicit SharedMapping(Bytes bytes) noexcept : bytes_(bytes) {}
  const Bytes bytes_;
};

// A memfd of that size, sealed: it can neither shrink nor grow, nor get other seals. Zeroes.
// REQUIRES: a multiple of a page.
Result<UniqueFd> make_sealed_memory(std::size_t bytes);

}  // namespace lunar::msgr::local
