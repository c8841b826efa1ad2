// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Submissions of one turn of the loop go to the kernel together: the first of them posts the
// submit. No more calls are handed over than the completion queue holds, so it never overflows;
// the rest wait in `backlog_`. The ring's own fd is readable while completions wait in it.
#include <liburing.h>

#include <algorithm>
#include <deque>
#include <optional>

#include "osd/store/fixed_buffers.h"
#include "osd/store/io_engine.h"

namespace lunar::osd {
namespace {

constexpr unsigned kRingEntries = 256;
// The kernel moves at most 2 GiB at once; the caller goes on after a short result anyway.
constexpr std::size_t kMaxTransferBytes = 1U << 30;

class UringEngine final : public IoEngine {
 public:
  UringEngine(msgr::EventCenter& center, msgr::BufferPool& pool, Syscalls& syscalls,
              StoreCounters& counters)
      : center_(center), pool_(pool), syscalls_(syscalls), counters_(counters) {}
  ~UringEngine() override {
    LUNAR_CHECK(in_ring_ == 0 && backlog_.empty(), "io_uring destroyed with calls in flight");
    watch_ = {};
    if (is_set_up_) io_uring_queue_exit(&ring_);
  }

  std::error_code start() {
    const int error = syscalls_.set_up_ring(kRingEntries, &ring_);
    if (error < 0) return system_error(-error);
    is_set_up_ = true;
    auto watch =
        center_.watch(ring_.ring_fd, msgr::FdEvents::kRead, [this](msgr::FdEvents) { collect(); });
    if (!watch) return watch.error();
    watch_ = std::move(*watch);
    return {};
  }

  void read(IoFile file, Bytes into, uint64_t offset, Done done) override {
    enqueue({RingCall::kRead, file, into.data(), bounded(into.size()), offset, 0, std::move(done)});
  }
  void write(IoFile file, ConstBytes from, uint64_t offset, int flags, Done done) override {
    enqueue({RingCall::kWrite, file, const_cast<std::byte*>(from.data()), bounded(from.size()),
             offset, flags, std::move(done)});
  }
  void sync(int fd, bool is_data_only, Done done) override {
    enqueue({RingCall::kSync,
             {fd},
             nullptr,
             0,
             0,
             is_data_only ? static_cast<int>(IORING_FSYNC_DATASYNC) : 0,
             std::move(done)});
  }
  const char* name() const noexcept override { return "io_uring"; }

 private:
  struct Submission {
    RingCall call;
    IoFile file;
    std::byte* data;
    unsigned length;
    uint64_t offset;
    int flags;
    Done done;
    bool is_fixed = false;
  };

  static unsigned bounded(std::size_t length) {
    return static_cast<unsigned>(std::min(length, kMaxTransferBytes));
  }

  void enqueue(Submission submission) {
    backlog_.push_back(std::make_unique<Submission>(std::move(submission)));
    if (in_ring_ < kRingEntries) submit_later();
  }

  void submit_later() {
    if (is_submit_posted_) return;
    is_submit_posted_ = true;
    center_.post([this] {
      is_submit_posted_ = false;
      submit();
    });
  }

  void submit() {
    while (!backlog_.empty() && in_ring_ < kRingEntries) {
      io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
      if (sqe == nullptr) break;
      Submission* submission = backlog_.front().release();
      backlog_.pop_front();
      ++in_ring_;
      fill(sqe, *submission);
      io_uring_sqe_set_data(sqe, submission);
    }
    // EAGAIN and EBUSY: the kernel is short of memory for now; what was prepared stays prepared.
    if (io_uring_submit(&ring_) < 0 || io_uring_sq_ready(&ring_) > 0) submit_later();
  }

  void fill(io_uring_sqe* sqe, Submission& submission) {
    const int fd = submission.file.fd;
    if (submission.call == RingCall::kSync) {
      io_uring_prep_fsync(sqe, fd, static_cast<unsigned>(submission.flags));
      return;
    }
    std::optional<uint16_t> index;
    if (submission.file.is_direct) index = fixed().find({submission.data, submission.length});
    submission.is_fixed = index.has_value();
    if (submission.call == RingCall::kRead) {
      if (index) {
        io_uring_prep_read_fixed(sqe, fd, submission.data, submission.length, submission.offset,
                                 *index);
      } else {
        io_uring_prep_read(sqe, fd, submission.data, submission.length, submission.offset);
      }
      return;
    }
    if (index) {
      io_uring_prep_write_fixed(sqe, fd, submission.data, submission.length, submission.offset,
                                *index);
    } else {
      io_uring_prep_write(sqe, fd, submission.data, submission.length, submission.offset);
    }
    sqe->rw_flags = submission.flags;
  }

  // Only direct IO has use for it.
  FixedBuffers& fixed() {
    if (!fixed_) fixed_.emplace(pool_, syscalls_, ring_);
    return *fixed_;
  }

  void count(const Submission& submission, int result) noexcept {
    if (submission.call == RingCall::kSync || result <= 0) return;
    counters_.ring_bytes.add(static_cast<uint64_t>(result));
    if (submission.is_fixed) counters_.ring_fixed_bytes.add(static_cast<uint64_t>(result));
  }

  void collect() {
    io_uring_cqe* cqe = nullptr;
    // Only as many as can be there now: a done() that starts the next call does not keep us here.
    for (unsigned i = 0; i < kRingEntries && io_uring_peek_cqe(&ring_, &cqe) == 0; ++i) {
      std::unique_ptr<Submission> submission(static_cast<Submission*>(io_uring_cqe_get_data(cqe)));
      const int result = cqe->res;
      io_uring_cqe_seen(&ring_, cqe);
      --in_ring_;
      if ((result == -EINTR || result == -EAGAIN) && submission->call != RingCall::kSync) {
        enqueue(std::move(*submission));
        continue;
      }
      count(*submission, result);
      submission->done(syscalls_.ring_result(submission->call, result));
    }
    if (!backlog_.empty()) submit_later();
  }

  msgr::EventCenter& center_;
  msgr::BufferPool& pool_;
  Syscalls& syscalls_;
  StoreCounters& counters_;
  io_uring ring_{};
  std::optional<FixedBuffers> fixed_;
  bool is_set_up_ = false;
  bool is_submit_posted_ = false;
  unsigned in_ring_ = 0;  // handed to the ring, not yet collected
  std::deque<std::unique_ptr<Submission>> backlog_;
  msgr::FdWatch watch_;
};

}  // namespace

Result<std::unique_ptr<IoEngine>> make_uring_engine(msgr::EventCenter& center,
                                                    msgr::BufferPool& pool, Syscalls& syscalls,
                                                    StoreCounters& counters) {
  auto engine = std::make_unique<UringEngine>(center, pool, syscalls, counters);
  if (const auto error = engine->start()) return failure(error);
  return engine;
}

}  // namespace lunar::osd
