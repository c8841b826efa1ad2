// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/flusher.h"

#include <algorithm>
#include <vector>

#include "tests/osd/store/file_parts_fixture.h"

namespace lunar::osd {
namespace {

class FlusherTest : public test::FilePartsTest {
 protected:
  void begin_flush() {
    flusher_.flush([this](std::error_code error) { ended_.push_back(error); });
    turn();
  }
  std::vector<std::error_code> ended_;  // how the flushes of begin_flush() ended
};

// Whoever flushes next would be GOOD although the loss is not known yet to be of its image.
TEST_F(FlusherTest, NoFlushEndsBeforeAnEarlierLossIsOnRecord) {
  const std::error_code lost(EIO, std::system_category());
  bool is_on_record = false;
  holds_losses_ = true;
  flusher_.on_failed_sync(lost, id_, [&] { is_on_record = true; });
  begin_flush();
  begin_flush();
  EXPECT_TRUE(ended_.empty());
  record_losses();
  turn();
  EXPECT_TRUE(is_on_record);
  ASSERT_EQ(ended_.size(), 2u);
  EXPECT_EQ(std::count(ended_.begin(), ended_.end(), lost), 1);
  EXPECT_EQ(flush(), std::error_code());
}

}  // namespace
}  // namespace lunar::osd
