// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/servers/loss_reports.h"

#include <gtest/gtest.h>

namespace lunar::objecter {
namespace {

TEST(LossReportsTest, NamesALossOnlyOnceItWasHeard) {
  LossReports reports;
  EXPECT_EQ(reports.heard(1), 0u);
  reports.on_loss(1, 77);
  EXPECT_EQ(reports.heard(1), 0u);
  EXPECT_TRUE(reports.is_unheard(1));
  reports.on_heard(1);
  EXPECT_EQ(reports.heard(1), 77u);
  EXPECT_FALSE(reports.is_unheard(1));
}

TEST(LossReportsTest, WhatCouldNotBeToldIsUnheardAgain) {
  LossReports reports;
  reports.on_loss(1, 77);
  reports.on_heard(1);
  reports.on_unheard(1);
  EXPECT_EQ(reports.heard(1), 0u);
  EXPECT_TRUE(reports.is_unheard(1));
}

TEST(LossReportsTest, ImagesAreApart) {
  LossReports reports;
  reports.on_loss(1, 77);
  reports.on_heard(2);
  reports.on_unheard(2);
  EXPECT_FALSE(reports.is_unheard(2));
  EXPECT_TRUE(reports.is_unheard(1));
}

TEST(LossReportsTest, ALossThatWasNoticedHereIsSaidTooAndNamesNone) {
  LossReports reports;
  reports.on_loss(1, 0);
  EXPECT_TRUE(reports.is_unheard(1));
  reports.on_heard(1);
  EXPECT_EQ(reports.heard(1), 0u);
}

TEST(LossReportsTest, AnotherLossIsUnheardUntilItWasHeardToo) {
  LossReports reports;
  reports.on_loss(1, 77);
  reports.on_heard(1);
  reports.on_loss(1, 78);
  EXPECT_EQ(reports.heard(1), 0u);
  reports.on_heard(1);
  EXPECT_EQ(reports.heard(1), 78u);
}

}  // namespace
}  // namespace lunar::objecter
