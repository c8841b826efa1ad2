// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The module: librados behind rados_client.h. It uses headers of the project and none of its
// libraries, of which the program that loads it has its own.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <rados/librados.hpp>
#include <string>
#include <utility>
#include <vector>

#include "osd/rados/rados_client.h"

namespace lunar::osd {
namespace {

using Kind = RadosStep::Kind;

// How long connecting waits for a monitor, and later a command for its answer. Seconds.
constexpr char kMonitorPatience[] = "10";
constexpr std::size_t kMaxLookBytes = 4096;

// The bytes are copied: after an op has ended, a message of an earlier attempt of it, to an OSD
// that is primary no more, may still be on its way, and would be read from memory of somebody else.
librados::bufferlist copied(ConstBytes bytes) {
  librados::bufferlist list;
  if (!bytes.empty())
    list.append(reinterpret_cast<const char*>(bytes.data()), static_cast<unsigned>(bytes.size()));
  return list;
}

void copy_out(const librados::bufferlist& from, std::byte* to, std::size_t bytes) {
  auto at = from.begin();
  at.copy(static_cast<unsigned>(bytes), reinterpret_cast<char*>(to));
}

void add_change(librados::ObjectWriteOperation& op, RadosStep& step) {
  switch (step.kind) {
    case Kind::kAssertVersion:
      return op.assert_version(step.version);
    case Kind::kCompare:
      return op.cmpext(step.offset, copied(step.data), &step.result);
    case Kind::kCreate:
      return op.create(false);
    case Kind::kCreateExclusive:
      return op.create(true);
    case Kind::kWrite:
      return op.write(step.offset, copied(step.data));
    case Kind::kWriteFull:
      return op.write_full(copied(step.data));
    case Kind::kWriteSame:
      return op.writesame(step.offset, step.length, copied(step.data));
    case Kind::kZero:
      return op.zero(step.offset, step.length);
    case Kind::kTruncate:
      return op.truncate(step.length);
    case Kind::kRemove:
      op.remove();
      return op.set_op_flags2(librados::OP_FAILOK);
    case Kind::kSetXattr:
      return op.setxattr(std::string(step.name).c_str(), copied(step.data));
    default:
      std::abort();  // a step that reads in an op that changes
  }
}

// A call with what librados needs until it has ended.
class PendingCall {
 public:
  PendingCall(RadosCall& call, librados::Rados& cluster, int64_t pool)
      : call_(call),
        cluster_(cluster),
        pool_(pool),
        completion_(librados::Rados::aio_create_completion(this, &on_complete)) {}
  ~PendingCall() { completion_->release(); }
  PendingCall(const PendingCall&) = delete;
  PendingCall& operator=(const PendingCall&) = delete;

  // Takes `pending`.
  static void submit(std::unique_ptr<PendingCall> pending, librados::IoCtx& io) {
    PendingCall* const self = pending.get();
    const int error = self->call_.changes ? self->change(io) : self->read(io);
    if (error != 0) return finish(std::move(pending), error);
    pending.release();  // on_complete() owns it, which may have run already
  }

 private:
  struct Output {
    librados::bufferlist bytes;
    std::map<uint64_t, uint64_t> extents;
    uint64_t size = 0;
    int result = 0;
  };

  int change(librados::IoCtx& io) {
    librados::ObjectWriteOperation op;
    for (RadosStep& step : call_.steps) add_change(op, step);
    return io.aio_operate(call_.object, completion_, &op, librados::OPERATION_FULL_TRY);
  }

  int read(librados::IoCtx& io) {
    librados::ObjectReadOperation op;
    outputs_.resize(call_.steps.size());
    for (std::size_t i = 0; i < outputs_.size(); ++i) add_read(op, call_.steps[i], outputs_[i]);
    return io.aio_operate(call_.object, completion_, &op, nullptr);
  }

  static void add_read(librados::ObjectReadOperation& op, const RadosStep& step, Output& output) {
    switch (step.kind) {
      case Kind::kRead:
        return op.read(step.offset, step.into.size(), &output.bytes, &output.result);
      case Kind::kSparseRead:
        return op.sparse_read(step.offset, step.into.size(), &output.extents, &output.bytes,
                              &output.result);
      case Kind::kStat:
        return op.stat(&output.size, static_cast<time_t*>(nullptr), &output.result);
      case Kind::kGetXattr:
        op.getxattr(std::string(step.name).c_str(), &output.bytes, &output.result);
        return op.set_op_flags2(librados::OP_FAILOK);  // the steps after it are carried out
      default:
        std::abort();  // a step that changes in an op that reads
    }
  }

  static void on_complete(rados_completion_t, void* self) {
    std::unique_ptr<PendingCall> pending(static_cast<PendingCall*>(self));
    int result = pending->completion_->get_return_value();
    // A pool that was removed from Ceph must not be taken for one whose objects are all empty.
    std::string name;
    if (result == -ENOENT && pending->cluster_.pool_reverse_lookup(pending->pool_, &name) < 0)
      result = -ENXIO;
    finish(std::move(pending), result);
  }

  static void finish(std::unique_ptr<PendingCall> pending, int result) {
    RadosCall& call = pending->call_;
    call.result = result < 0 ? result : 0;
    if (result >= 0) {
      call.version = pending->completion_->get_version64();
      for (std::size_t i = 0; i < pending->outputs_.size(); ++i)
        pending->take_output(call.steps[i], pending->outputs_[i]);
    }
    pending.reset();
    call.on_done();
  }

  void take_output(RadosStep& step, const Output& output) {
    step.result = output.result < 0 ? output.result : 0;
    if (step.result < 0) return;
    const std::size_t bytes = output.bytes.length();
    switch (step.kind) {
      case Kind::kRead:
        step.filled = std::min(bytes, step.into.size());
        return copy_out(output.bytes, step.into.data(), step.filled);
      case Kind::kSparseRead:
        return take_extents(step, output);
      case Kind::kStat:
        step.filled = output.size;
        return;
      default:
        step.value.resize(bytes);
        return copy_out(output.bytes, step.value.data(), bytes);
    }
  }

  // What Ceph says is checked: nothing is written beside `into`.
  void take_extents(RadosStep& step, const Output& output) {
    const uint64_t end = step.offset + step.into.size();
    auto at = output.bytes.begin();
    uint64_t left = output.bytes.length();
    uint64_t last = step.offset;
    for (const auto& [offset, length] : output.extents) {
      if (length == 0) continue;
      if (offset < last || offset > end || length > end - offset || length > left) {
        step.result = -EIO;
        return;
      }
      at.copy(static_cast<unsigned>(length),
              reinterpret_cast<char*>(step.into.data() + (offset - step.offset)));
      if (!step.extents.empty() && offset == last)
        step.extents.back().second += length;
      else
        step.extents.emplace_back(offset, length);
      last = offset + length;
      left -= length;
      step.filled += length;
    }
  }

  RadosCall& call_;
  librados::Rados& cluster_;
  const int64_t pool_;
  librados::AioCompletion* const completion_;
  std::vector<Output> outputs_;
};

class LibradosPool final : public RadosPool {
 public:
  LibradosPool(librados::Rados& cluster, librados::IoCtx io)
      : cluster_(cluster), io_(std::move(io)) {}

  void submit(RadosCall& call) override {
    PendingCall::submit(std::make_unique<PendingCall>(call, cluster_, io_.get_id()), io_);
  }

  int make(const std::string& object, const std::string& content) override {
    librados::ObjectWriteOperation op;
    op.create(true);
    op.write_full(copied(as_const_bytes(content)));
    return io_.operate(object, &op, librados::OPERATION_FULL_TRY);
  }

  int look(const std::string& object, std::string& content) override {
    librados::bufferlist bytes;
    const int result = io_.read(object, bytes, kMaxLookBytes, 0);
    if (result < 0) return result;
    content = bytes.to_str();
    return 0;
  }

  int list(const std::function<void(const std::string&)>& visit) override {
    try {  // the iterator throws what goes wrong
      for (auto at = io_.nobjects_begin(); at != io_.nobjects_end(); ++at) visit(at->get_oid());
    } catch (const std::exception&) {
      return -EIO;
    }
    return 0;
  }

 private:
  librados::Rados& cluster_;
  librados::IoCtx io_;
};

class LibradosClient final : public RadosClient {
 public:
  ~LibradosClient() override { cluster_.shutdown(); }

  bool connect(const RadosOptions& options, RadosRefusal& refusal) {
    int result = cluster_.init(options.id.c_str());
    if (result == 0)
      result = cluster_.conf_read_file(options.conf.empty() ? nullptr : options.conf.c_str());
    const std::string conf = options.conf.empty() ? "Ceph's configuration" : options.conf;
    if (result < 0) {
      refusal = {result, conf + " cannot be read: " + std::strerror(-result) +
                             "; set rados_conf to the ceph.conf of the cluster"};
      return false;
    }
    // The server bounds what it has under way; a bound of librados would block the event loop.
    for (const auto& [name, value] : {std::pair{"objecter_inflight_ops", "0"},
                                      {"objecter_inflight_op_bytes", "0"},
                                      {"client_mount_timeout", kMonitorPatience},
                                      {"rados_mon_op_timeout", kMonitorPatience}})
      cluster_.conf_set(name, value);
    result = cluster_.connect();
    if (result == 0) return true;
    // What is no refusal may be that the network, a resolver or the monitors are not up yet.
    const bool is_refused = result == -EACCES || result == -EPERM;
    refusal = {is_refused ? result : -EHOSTUNREACH,
               "Ceph does not let client." + options.id + " of " + conf +
                   " in: " + std::strerror(-result) + "; see whether `ceph --id " + options.id +
                   " status` works on this host"};
    return false;
  }

  int open_pool(const std::string& pool, const std::string& name_space,
                std::unique_ptr<RadosPool>& opened) override {
    librados::IoCtx io;
    const int result = cluster_.ioctx_create(pool.c_str(), io);
    if (result < 0) return result;
    io.set_namespace(name_space);
    opened = std::make_unique<LibradosPool>(cluster_, std::move(io));
    return 0;
  }

  int space(Space& space) override {
    librados::cluster_stat_t stat{};
    const int result = cluster_.cluster_stat(stat);
    if (result < 0) return result;
    space = {stat.kb << 10, stat.kb_used << 10, stat.kb_avail << 10};
    return 0;
  }

  std::string address() const override { return cluster_.get_addrs() + kOfCluster + cluster(); }

  int blocklist(const std::string& address) override {
    const std::chrono::seconds time = kBlocklistTime;
    const std::size_t mark = address.rfind(kOfCluster);
    // What another cluster is told of a client there keeps nobody from writing.
    if (mark != std::string::npos && address.substr(mark + 1) != cluster()) return -EXDEV;
    const int result =
        cluster_.blocklist_add(address.substr(0, mark), static_cast<uint32_t>(time.count()));
    if (result < 0) return result;
    return catch_up();
  }

  // From then on each of our ops names a map that is as new, which the OSD has to have first.
  int catch_up() override { return cluster_.wait_for_latest_osdmap(); }

 private:
  static constexpr char kOfCluster = '@';  // an address has none
  std::string cluster() const {
    std::string fsid;
    return cluster_.cluster_fsid(&fsid) == 0 ? fsid : "unknown";
  }

  mutable librados::Rados cluster_;
};

}  // namespace
}  // namespace lunar::osd

extern "C" {
__attribute__((visibility("default"))) extern const char lunar_rados_release[] = LUNAR_VERSION;

__attribute__((visibility("default"))) lunar::osd::RadosClient* lunar_rados_connect(
    const lunar::osd::RadosOptions& options, lunar::osd::RadosRefusal& refusal) {
  auto client = std::make_unique<lunar::osd::LibradosClient>();
  return client->connect(options, refusal) ? client.release() : nullptr;
}
}
