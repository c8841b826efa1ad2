// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/copy_bytes.h"

#include <gtest/gtest.h>

#include <vector>

namespace lunar {
namespace {

// Copies so many bytes between places that are aligned badly, and looks at what is around them too.
bool copies_exactly(std::size_t bytes) {
  constexpr std::byte kUntouched{0xee};
  std::vector<std::byte> from(bytes + 5);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>(i * 7 + i / 251);
  std::vector<std::byte> to(bytes + 4, kUntouched);
  copy_bytes(to.data() + 3, from.data() + 5, bytes);
  std::vector<std::byte> expected(3, kUntouched);
  expected.insert(expected.end(), from.begin() + 5, from.end());
  expected.push_back(kUntouched);
  return to == expected;
}

TEST(CopyBytesTest, CopiesEveryByteAndNoOther) {
  for (const std::size_t bytes : {0, 1, 1023, 1024, 1025, 4096, 32 << 10, (32 << 10) + 1, 1 << 20})
    EXPECT_TRUE(copies_exactly(bytes)) << bytes;
}

}  // namespace
}  // namespace lunar
