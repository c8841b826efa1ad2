// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/perf_counters.h"
#include "msgr/buffer.h"
#include "msgr/event_center.h"
#include "osd/object_store.h"

namespace lunar::osd {

class Syscalls;

struct FileStoreOptions {
  enum class Io : uint8_t { kAuto, kUring, kThreads };
  std::string path;                         // osd_data
  std::optional<Uuid> fsid;                 // the cluster the store must belong to
  std::optional<OsdId> osd;                 // and the server
  uint64_t reserve_bytes = 64ULL << 20;     // osd_reserve_bytes; 0 keeps none
  std::size_t max_open_files = 2048;        // lowered to a quarter of RLIMIT_NOFILE
  std::size_t loop_write_bytes = 64 << 10;  // a write up to this is made on the loop
  std::size_t direct_io_bytes = 0;          // osd_direct_io_bytes
  std::size_t sync_files_limit = 32;        // a flush of more files and folders is one syncfs
  unsigned threads = 4;                     // for calls that block; 0: on the loop (simulations)
  Io io = Io::kAuto;                        // kAuto: io_uring, threads where it is refused
  PerfRegistry* perf = nullptr;             // of its counters; outlives the store
};

// lunar-osd --mkfs: an empty or missing folder becomes a store. Blocking. Errors explain
// themselves.
Outcome<StoreIdentity> make_file_store(const std::string& path, const Uuid& fsid, OsdId osd,
                                       Syscalls* syscalls = nullptr);

// A file per object on a local file system. Blocking; the store is bound to `center`. `buffers` and
// `syscalls` (null: the kernel's; tests inject) outlive it. Refuses, with a sentence, what is not a
// store, has another owner, was made by a newer version, or is in use.
// The store may be destroyed without shutdown() only when no call is in progress; the next start
// then finds it as after a kill.
Outcome<std::unique_ptr<ObjectStore>> open_file_store(msgr::EventCenter& center,
                                                      msgr::BufferPool& buffers,
                                                      const FileStoreOptions& options,
                                                      Syscalls* syscalls = nullptr);

}  // namespace lunar::osd
