// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/object_id_codec.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace lunar::objecter {
namespace {

std::optional<ObjectId> written_and_read(const ObjectId& id) {
  std::vector<std::byte> bytes;
  ByteWriter writer(bytes);
  put_object_id(writer, id);
  ByteReader reader(bytes);
  const ObjectId read = get_object_id(reader);
  return reader.is_finished() ? std::optional(read) : std::nullopt;
}

TEST(ObjectIdCodecTest, KeepsPoolAndName) {
  const ObjectId id{7, "0123456789abcdef.header"};
  EXPECT_EQ(written_and_read(id), id);
}

TEST(ObjectIdCodecTest, RefusesWhatNoObjectCanHave) {
  EXPECT_FALSE(written_and_read({0, "x"}));
  EXPECT_FALSE(written_and_read({1, ""}));
  EXPECT_FALSE(written_and_read({1, "a b"}));
  EXPECT_FALSE(written_and_read({1, std::string(ObjectId::kMaxNameBytes + 1, 'x')}));
}

}  // namespace
}  // namespace lunar::objecter
