// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bstore_plugin/sense.h"

#include <gtest/gtest.h>

#include "msgr/errors.h"
#include "objecter/protocol/types.h"

namespace lunar::bstore_plugin {
namespace {

using objecter::Errc;

Sense sense_of_errc(Errc code, bool is_write = true, bool busy = false) {
  return sense_of(make_error_code(code), is_write, busy);
}

TEST(SenseTest, ErrorsKeepTheirMeaning) {
  EXPECT_EQ(sense_of({}, true, false).status, ScsiStatus::kGood);
  EXPECT_EQ(sense_of_errc(Errc::kNoSpace).asc, Asc::kSpaceAllocationFailed);
  EXPECT_EQ(sense_of_errc(Errc::kNoSpace).key, SenseKey::kDataProtect);
  EXPECT_EQ(sense_of_errc(Errc::kMiscompare).key, SenseKey::kMiscompare);
  EXPECT_EQ(sense_of_errc(Errc::kFenced).key, SenseKey::kNotReady);
  EXPECT_EQ(sense_of_errc(Errc::kCorrupt).key, SenseKey::kMediumError);
  EXPECT_EQ(sense_of_errc(Errc::kIoError, true).asc, Asc::kWriteError);
  EXPECT_EQ(sense_of_errc(Errc::kIoError, false).asc, Asc::kUnrecoveredReadError);
  EXPECT_EQ(sense_of_errc(Errc::kInvalid).asc, Asc::kInvalidFieldInCdb);
  EXPECT_EQ(sense_of_errc(Errc::kLostWrites).key, SenseKey::kMediumError);
}

TEST(SenseTest, TimeoutsFollowTheOption) {
  for (const auto& error : {make_error_code(Errc::kTimedOut), make_error_code(Errc::kUnreachable),
                            make_error_code(msgr::Errc::kSessionReset),
                            std::make_error_code(std::errc::connection_refused)}) {
    EXPECT_EQ(sense_of(error, true, false).key, SenseKey::kAbortedCommand);
    EXPECT_EQ(sense_of(error, true, true).status, ScsiStatus::kBusy);
  }
}

TEST(SenseTest, UnknownOutcomesAreNotRetriedByInitiators) {
  EXPECT_EQ(sense_of_errc(Errc::kUnknownOutcome).key, SenseKey::kHardwareError);
}

TEST(SenseTest, EveryErrorOfTheServersIsMapped) {
  for (int value = 1; value <= 24; ++value) {
    const Sense sense = sense_of_errc(static_cast<Errc>(value));
    EXPECT_NE(sense.status, ScsiStatus::kGood) << value;
    if (sense.status == ScsiStatus::kCheckCondition) {
      EXPECT_NE(sense.key, SenseKey::kNoSense) << value;
    }
  }
}

}  // namespace
}  // namespace lunar::bstore_plugin
