// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bstore_plugin/scsi/cached_writes.h"

#include <gtest/gtest.h>

namespace lunar::bstore_plugin {
namespace {

TEST(CachedWritesTest, WhatWasThereBeforeHasToBeWrittenBack) {
  CachedWrites cached;
  EXPECT_FALSE(cached.are_written_back());
  cached.on_written_back(cached.last());
  EXPECT_TRUE(cached.are_written_back());
}

TEST(CachedWritesTest, AWriteBackCoversWhatHadBegunBefore) {
  CachedWrites cached;
  cached.on_write();
  const uint64_t begun = cached.last();
  cached.on_write();
  cached.on_written_back(begun);
  EXPECT_FALSE(cached.are_written_back());
  cached.on_written_back(cached.last());
  cached.on_written_back(begun);  // ended later than the next one
  EXPECT_TRUE(cached.are_written_back());
}

}  // namespace
}  // namespace lunar::bstore_plugin
