// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "common/bytes.h"

namespace lunar::objecter {

using Buffer = std::vector<std::byte>;

template <typename T>
Buffer encoded(const T& value) {
  Buffer out;
  encode(value, out);
  return out;
}

// Every shorter prefix and one byte more must be refused, and reading must stay inside the span
// (what ASan watches: each prefix is a heap block of its own).
template <typename Decode>
void expect_exact(const Buffer& whole, Decode decode) {
  ASSERT_TRUE(decode(ConstBytes(whole)).has_value());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const Buffer part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_FALSE(decode(ConstBytes(part)).has_value()) << "prefix of " << length;
  }
  Buffer more = whole;
  more.push_back(std::byte{0});
  EXPECT_FALSE(decode(ConstBytes(more)).has_value());
}

}  // namespace lunar::objecter
