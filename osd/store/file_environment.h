// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "osd/store/attributes.h"
#include "osd/store/blocking_pool.h"
#include "osd/store/data_space.h"
#include "osd/store/file_opener.h"
#include "osd/store/flusher.h"
#include "osd/store/io_engine.h"
#include "osd/store/reserve.h"
#include "osd/store/store_calls.h"
#include "osd/store/store_tree.h"

namespace lunar::osd {

// What the classes share that make up a store of files. Everything is borrowed.
struct FileEnvironment {
  StoreCalls& calls;
  FileOpener& files;
  Flusher& flusher;
  IoEngine& engine;
  BlockingPool& pool;
  BlockingPool& walks;  // for what reads whole folders
  const StoreTree& tree;
  Reserve& reserve;
  const Attributes& attributes;
  DataSpace& space;
};

}  // namespace lunar::osd
