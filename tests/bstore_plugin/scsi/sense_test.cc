// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bstore_plugin/scsi/sense.h"

#include <gtest/gtest.h>

#include "msgr/errors.h"
#include "objecter/protocol/types.h"

namespace lunar::bstore_plugin {
namespace {

using objecter::OsdErrc;

Sense sense_of_errc(OsdErrc code, bool is_write = true, bool busy = false) {
  return sense_of(make_error_code(code), is_write, busy);
}

TEST(SenseTest, ErrorsKeepTheirMeaning) {
  EXPECT_EQ(sense_of({}, true, false).status, ScsiStatus::kGood);
  EXPECT_EQ(sense_of_errc(OsdErrc::kNoSpace).asc, Asc::kSpaceAllocationFailed);
  EXPECT_EQ(sense_of_errc(OsdErrc::kNoSpace).key, SenseKey::kDataProtect);
  EXPECT_EQ(sense_of_errc(OsdErrc::kMiscompare).key, SenseKey::kMiscompare);
  EXPECT_EQ(sense_of_errc(OsdErrc::kFenced).key, SenseKey::kNotReady);
  EXPECT_EQ(sense_of_errc(OsdErrc::kCorrupt).key, SenseKey::kMediumError);
  EXPECT_EQ(sense_of_errc(OsdErrc::kIoError, true).asc, Asc::kWriteError);
  EXPECT_EQ(sense_of_errc(OsdErrc::kIoError, false).asc, Asc::kUnrecoveredReadError);
  EXPECT_EQ(sense_of_errc(OsdErrc::kInvalid).asc, Asc::kInvalidFieldInCdb);
  EXPECT_EQ(sense_of_errc(OsdErrc::kLostWrites).key, SenseKey::kMediumError);
}

TEST(SenseTest, TimeoutsFollowTheOption) {
  for (const auto& error :
       {make_error_code(OsdErrc::kTimedOut), make_error_code(OsdErrc::kUnreachable),
        make_error_code(msgr::MsgrErrc::kSessionReset),
        std::make_error_code(std::errc::connection_refused)}) {
    EXPECT_EQ(sense_of(error, true, false).key, SenseKey::kAbortedCommand);
    EXPECT_EQ(sense_of(error, true, true).status, ScsiStatus::kBusy);
    EXPECT_TRUE(is_unanswered(error));
  }
}

TEST(SenseTest, RefusalsAreAnswers) {
  EXPECT_FALSE(is_unanswered({}));
  EXPECT_FALSE(is_unanswered(make_error_code(OsdErrc::kFenced)));
  EXPECT_FALSE(is_unanswered(make_error_code(OsdErrc::kIoError)));
}

TEST(SenseTest, UnknownOutcomesAreNotRetriedByInitiators) {
  EXPECT_EQ(sense_of_errc(OsdErrc::kUnknownOutcome).key, SenseKey::kHardwareError);
}

TEST(SenseTest, EveryErrorOfTheServersIsMapped) {
  for (int value = 1; value <= 24; ++value) {
    const Sense sense = sense_of_errc(static_cast<OsdErrc>(value));
    EXPECT_NE(sense.status, ScsiStatus::kGood) << value;
    if (sense.status == ScsiStatus::kCheckCondition) {
      EXPECT_NE(sense.key, SenseKey::kNoSense) << value;
    }
  }
}

}  // namespace
}  // namespace lunar::bstore_plugin
