// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/peer_name.h"

#include <gtest/gtest.h>

#include <string>

namespace lunar {
namespace {

TEST(PeerNameTest, LengthsAreBounded) {
  EXPECT_FALSE(is_entity_text(""));
  EXPECT_TRUE(is_entity_text("c"));
  EXPECT_TRUE(is_entity_text(std::string(kMaxEntityBytes, 'c')));
  EXPECT_FALSE(is_entity_text(std::string(kMaxEntityBytes + 1, 'c')));
  EXPECT_FALSE(is_instance_text(""));
  EXPECT_TRUE(is_instance_text(std::string(kMaxInstanceBytes, 'i')));
  EXPECT_FALSE(is_instance_text(std::string(kMaxInstanceBytes + 1, 'i')));
}

TEST(PeerNameTest, OnlyGraphicAsciiIsTaken) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string name = std::string("client.") + static_cast<char>(byte);
    const bool is_graphic = byte > ' ' && byte < 127;
    EXPECT_EQ(is_entity_text(name), is_graphic) << "byte " << byte;
    EXPECT_EQ(is_instance_text(name), is_graphic) << "byte " << byte;
  }
}

}  // namespace
}  // namespace lunar
