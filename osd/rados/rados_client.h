// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/bytes.h"

namespace lunar::osd {

// What the store of rados needs of librados, and the boundary to the module that has it
// (module/rados_module.cc): nothing of librados is named here, so that a server that has no such
// store needs no Ceph. Both sides have to be of one release.
// Errors are negative errnos, as librados has them.

// A step of a RADOS op. What a kind has no use for is not looked at. Borrows what it shows until
// the op is done.
struct RadosStep {
  enum class Kind : uint8_t {
    // Of an op that reads.
    kRead,        // offset, into → filled: bytes that the object had there
    kSparseRead,  // offset, into → extents and, at their places in it, bytes in `into`; filled
    kStat,        // → filled: the size
    kGetXattr,    // name → value, or result
    // Of an op that changes.
    kAssertVersion,    // version
    kCompare,          // offset, data → result: kMiscompareBase - offset of the first difference
    kCreate,           // the object is there after it
    kCreateExclusive,  // the op fails if it is there
    kWrite,            // offset, data
    kWriteFull,        // data
    kWriteSame,        // offset, length, data
    kZero,             // offset, length
    kTruncate,         // length: the size
    kRemove,           // an absent object is no error
    kSetXattr,         // name, data
  };
  Kind kind = Kind::kStat;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t version = 0;
  std::string_view name;
  ConstBytes data;
  Bytes into;

  int result = 0;
  uint64_t filled = 0;
  std::vector<std::pair<uint64_t, uint64_t>> extents;  // offset, length
  std::vector<std::byte> value;
};

// Results from here downwards are those of kCompare.
inline constexpr int kMiscompareBase = -4095;

// One RADOS op: steps that read or steps that change, applied to an object atomically. The result
// is that of the first step that failed; -ENOENT if what is read is not there.
// Owned by who submits it, and lives until on_done().
class RadosCall {
 public:
  RadosCall() = default;
  virtual ~RadosCall() = default;
  RadosCall(const RadosCall&) = delete;
  RadosCall& operator=(const RadosCall&) = delete;

  std::string object;
  bool changes = false;
  std::vector<RadosStep> steps;

  int result = 0;
  uint64_t version = 0;  // of the object after the op, if that succeeded

  // On a thread of librados, as the last thing that is done with the call, which it may destroy.
  virtual void on_done() = 0;
};

// A namespace of a RADOS pool. Thread-safe. Its calls must have ended when it is destroyed.
class RadosPool {
 public:
  virtual ~RadosPool() = default;
  // Does not block. A call waits for as long as Ceph does not answer, and never for a full pool:
  // that is -ENOSPC or -EDQUOT.
  virtual void submit(RadosCall& call) = 0;

  // Makes a small object; -EEXIST if it is there, and never waits for a full pool either. Blocks.
  virtual int make(const std::string& object, const std::string& content) = 0;
  // The content of a small object. Blocks.
  virtual int look(const std::string& object, std::string& content) = 0;
  // Calls visit() with the name of each object, in any order. Blocks.
  virtual int list(const std::function<void(const std::string&)>& visit) = 0;
};

// One client of a Ceph cluster, as `rados_t` is. Thread-safe. Destroying it blocks; its pools must
// be gone.
class RadosClient {
 public:
  struct Space {
    uint64_t total = 0;  // bytes, all three
    uint64_t used = 0;
    uint64_t available = 0;
  };
  static constexpr std::chrono::hours kBlocklistTime{30 * 24};  // Ceph's own default is an hour
  virtual ~RadosClient() = default;
  // All of these block.
  virtual int open_pool(const std::string& pool, const std::string& name_space,
                        std::unique_ptr<RadosPool>& opened) = 0;
  virtual int space(Space& space) = 0;
  // By which Ceph knows this client and no other one, and which Ceph that is.
  virtual std::string address() const = 0;
  // Whatever the client of that address has sent and not been answered is not carried out once
  // this has returned, as far as later calls of this client can tell. For kBlocklistTime: one that
  // stood still for longer, as in a suspended machine, could go on then. -EXDEV: it is a client of
  // another Ceph than ours.
  virtual int blocklist(const std::string& address) = 0;
  // Whoever was put on the blocklist before this call, by any client, is fenced as far as later
  // calls of this client can tell.
  virtual int catch_up() = 0;
};

struct RadosOptions {
  std::string conf;  // rados_conf; empty: where Ceph's own programs look
  std::string id;    // rados_id
};

// Why there is no client. A value.
struct RadosRefusal {
  // -EHOSTUNREACH: the same may succeed later. Any other one: somebody has to change something.
  int error = 0;
  std::string sentence;
};

// The symbols of the module: a function, which blocks, and fills `refusal` when its result is null;
// the release of the project that the module was built from, a string.
using RadosConnect = RadosClient* (*)(const RadosOptions& options, RadosRefusal& refusal);
inline constexpr char kRadosConnectSymbol[] = "lunar_rados_connect";
inline constexpr char kRadosReleaseSymbol[] = "lunar_rados_release";

}  // namespace lunar::osd
