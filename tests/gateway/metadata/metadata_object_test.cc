// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/metadata_object.h"

#include "tests/gateway/metadata/metadata_fixture.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

class MetadataObjectTest : public MetadataFixture {
 protected:
  Outcome<void> update(MetadataEditor edit) {
    return run(update_metadata(*gateway, object(), std::move(edit)));
  }
  Outcome<void> put(const std::string& text) {
    return update([text](const MetadataContent&) -> Outcome<MetadataEdit> {
      return MetadataEdit{MetadataEdit::Action::kWrite, text};
    });
  }
  // The content of the object; "(absent)" if there is none.
  std::string content() {
    std::string text;
    const auto looked = update([&](const MetadataContent& content) -> Outcome<MetadataEdit> {
      text = content.exists ? content.text : "(absent)";
      return MetadataEdit{};
    });
    EXPECT_TRUE(looked) << looked.error().message;
    return text;
  }
  objecter::ObjectId object() const { return {pool, "test.metadata"}; }
};

TEST_F(MetadataObjectTest, IsAbsentUntilItIsWritten) {
  EXPECT_EQ(content(), "(absent)");
  ASSERT_TRUE(put("one"));
  EXPECT_EQ(content(), "one");
}

TEST_F(MetadataObjectTest, IsAbsentOnceItIsDeletedAndCanBeWrittenAgain) {
  ASSERT_TRUE(put("one"));
  ASSERT_TRUE(update([](const MetadataContent&) -> Outcome<MetadataEdit> {
    return MetadataEdit{MetadataEdit::Action::kDelete, {}};
  }));
  EXPECT_EQ(content(), "(absent)");
  ASSERT_TRUE(put("two"));
  EXPECT_EQ(content(), "two");
}

TEST_F(MetadataObjectTest, AnErrorOfTheEditIsTheErrorAndChangesNothing) {
  ASSERT_TRUE(put("one"));
  const auto refused = update([](const MetadataContent&) -> Outcome<MetadataEdit> {
    return failure(OsdErrc::kBusy, "not now");
  });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, OsdErrc::kBusy);
  EXPECT_EQ(refused.error().message, "not now");
  EXPECT_EQ(content(), "one");
}

// Two updates read the same version: the one whose swap is too late reads again and adds to what
// the other one wrote.
TEST_F(MetadataObjectTest, ConcurrentUpdatesAllTakeEffect) {
  ASSERT_TRUE(put(""));
  int edits = 0;
  int ended = 0;
  constexpr int kUpdates = 4;
  for (int i = 0; i < kUpdates; ++i) {
    MetadataEditor append = [&edits](const MetadataContent& content) -> Outcome<MetadataEdit> {
      ++edits;
      return MetadataEdit{MetadataEdit::Action::kWrite, content.text + "x"};
    };
    run_to_done<Outcome<void>>(*center, update_metadata(*gateway, object(), std::move(append)),
                               [&ended](const Outcome<void>& result) {
                                 EXPECT_TRUE(result);
                                 ++ended;
                               });
  }
  ASSERT_TRUE(until([&] { return ended == kUpdates; }));
  EXPECT_EQ(content(), std::string(kUpdates, 'x'));
  EXPECT_GT(edits, kUpdates) << "no update had to look again";
}

TEST_F(MetadataObjectTest, AShutDownClientEndsAnUpdateUnderWay) {
  Client* other = make_client("other");
  std::optional<Outcome<void>> result;
  MetadataEditor keep = [](const MetadataContent&) -> Outcome<MetadataEdit> {
    return MetadataEdit{};
  };
  run_to_done<Outcome<void>>(*center, update_metadata(*other, object(), std::move(keep)),
                             [&result](Outcome<void> outcome) { result = std::move(outcome); });
  EXPECT_FALSE(result);
  end_client(other);
  ASSERT_TRUE(result);
  ASSERT_FALSE(*result);
  EXPECT_EQ(result->error().code, OsdErrc::kShutdown);
}

}  // namespace
}  // namespace lunar::gateway
