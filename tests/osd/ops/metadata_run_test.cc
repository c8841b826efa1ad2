// SPDX-License-Identifier: LGPL-2.1-or-later
// Vectors that change a metadata object, by the executor.
#include "osd/ops/metadata_run.h"

#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using MetadataRunTest = ExecutorFixture;

TEST_F(MetadataRunTest, MetadataIsReplacedAtOnceWithADurableVersion) {
  const OpResultRef made = run(Vector("m").metadata().add(OpCode::kWriteFull, 0, 2, "v1"));
  EXPECT_EQ(made->header.version, (ObjectVersion{0, 1}));
  EXPECT_EQ(error_of(Vector("m").metadata().write(1, "2").write(2, "+")), OsdErrc::kOk);
  EXPECT_EQ(store->calls(FaultyStore::Call::kReplace), 2u);
  EXPECT_EQ(store->calls(FaultyStore::Call::kWrite), 0u);
  EXPECT_EQ(content("m", 0, 0), "v2+");
  EXPECT_EQ(ledger->marked_images().size(), 0u);
}

TEST_F(MetadataRunTest, MetadataVersionSurvivesDeleteAndRestart) {
  run(Vector("m").metadata().add(OpCode::kWriteFull, 0, 1, "1"));
  run(Vector("m").metadata().add(OpCode::kDelete, 0, 0));
  executor.reset();
  versions = std::move(*ObjectVersions::load(*store, 8));
  make_executor();
  EXPECT_EQ(run(Vector("m").metadata().add(OpCode::kStat, 0, 0))->header.version,
            (ObjectVersion{0, 2}));
  EXPECT_EQ(run(Vector("m").metadata().add(OpCode::kWriteFull, 0, 1, "1"))->header.version,
            (ObjectVersion{0, 3}));
}

TEST_F(MetadataRunTest, AMetadataObjectIsNotChangedAsData) {
  run(Vector("m").metadata().add(OpCode::kWriteFull, 0, 1, "1"));
  EXPECT_EQ(error_of(Vector("m").write(0, "x")), OsdErrc::kInvalid);
  EXPECT_EQ(content("m", 0, 0), "1");
}

TEST_F(MetadataRunTest, MetadataThatCannotBeWrittenKeepsItsContent) {
  run(Vector("m").metadata().add(OpCode::kWriteFull, 0, 3, "old"));
  store->fail_next(FaultyStore::Call::kReplace, make_error_code(OsdErrc::kNoSpace));
  EXPECT_EQ(error_of(Vector("m").metadata().add(OpCode::kWriteFull, 0, 3, "new")),
            OsdErrc::kNoSpace);
  EXPECT_EQ(content("m", 0, 0), "old");
}

}  // namespace
}  // namespace lunar::osd
