// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Submissions of one turn of the loop go to the kernel together: the first of them posts the
// submit. No more requests are handed over than the completion queue holds, so it never overflows;
// the rest wait in `backlog_`. The ring's own fd is readable while completions wait in it.
#include <liburing.h>

#include <algorithm>
#include <deque>

#include "osd/store/io_engine.h"

namespace lunar::osd {
namespace {

constexpr unsigned kEntries = 256;

class UringEngine final : public IoEngine {
 public:
  UringEngine(msgr::EventCenter& center, Syscalls& syscalls)
      : center_(center), syscalls_(syscalls) {}
  ~UringEngine() override {
    LUNAR_CHECK(in_ring_ == 0 && backlog_.empty(), "io_uring destroyed with calls in flight");
    watch_ = {};
    if (is_set_up_) io_uring_queue_exit(&ring_);
  }

  std::error_code start() {
    const int error = syscalls_.set_up_ring(kEntries, &ring_);
    if (error < 0) return system_error(-error);
    is_set_up_ = true;
    auto watch =
        center_.watch(ring_.ring_fd, msgr::FdEvents::kRead, [this](msgr::FdEvents) { collect(); });
    if (!watch) return watch.error();
    watch_ = std::move(*watch);
    return {};
  }

  void read(int fd, Bytes into, uint64_t offset, Done done) override {
    enqueue({RingCall::kRead, fd, into.data(), bounded(into.size()), offset, 0, std::move(done)});
  }
  void write(int fd, ConstBytes from, uint64_t offset, int flags, Done done) override {
    enqueue({RingCall::kWrite, fd, const_cast<std::byte*>(from.data()), bounded(from.size()),
             offset, flags, std::move(done)});
  }
  void sync(int fd, bool data_only, Done done) override {
    enqueue({RingCall::kSync, fd, nullptr, 0, 0,
             data_only ? static_cast<int>(IORING_FSYNC_DATASYNC) : 0, std::move(done)});
  }
  const char* name() const noexcept override { return "io_uring"; }

 private:
  struct Request {
    RingCall call;
    int fd;
    std::byte* data;
    unsigned length;
    uint64_t offset;
    int flags;
    Done done;
  };

  // The kernel moves at most 2 GiB at once; the caller goes on after a short result anyway.
  static unsigned bounded(std::size_t length) {
    return static_cast<unsigned>(std::min<std::size_t>(length, 1U << 30));
  }

  void enqueue(Request request) {
    backlog_.push_back(std::make_unique<Request>(std::move(request)));
    if (in_ring_ < kEntries) submit_later();
  }

  void submit_later() {
    if (submit_posted_) return;
    submit_posted_ = true;
    center_.post([this] {
      submit_posted_ = false;
      submit();
    });
  }

  void submit() {
    while (!backlog_.empty() && in_ring_ < kEntries) {
      io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
      if (sqe == nullptr) break;
      Request* request = backlog_.front().release();
      backlog_.pop_front();
      ++in_ring_;
      fill(sqe, *request);
      io_uring_sqe_set_data(sqe, request);
    }
    // EAGAIN and EBUSY: the kernel is short of memory for now; what was prepared stays prepared.
    if (io_uring_submit(&ring_) < 0 || io_uring_sq_ready(&ring_) > 0) submit_later();
  }

  static void fill(io_uring_sqe* sqe, const Request& request) {
    switch (request.call) {
      case RingCall::kRead:
        io_uring_prep_read(sqe, request.fd, request.data, request.length, request.offset);
        return;
      case RingCall::kWrite:
        io_uring_prep_write(sqe, request.fd, request.data, request.length, request.offset);
        sqe->rw_flags = request.flags;
        return;
      case RingCall::kSync:
        io_uring_prep_fsync(sqe, request.fd, static_cast<unsigned>(request.flags));
        return;
    }
  }

  void collect() {
    io_uring_cqe* cqe = nullptr;
    // Only as many as can be there now: a done() that starts the next call does not keep us here.
    for (unsigned i = 0; i < kEntries && io_uring_peek_cqe(&ring_, &cqe) == 0; ++i) {
      std::unique_ptr<Request> request(static_cast<Request*>(io_uring_cqe_get_data(cqe)));
      const int result = cqe->res;
      io_uring_cqe_seen(&ring_, cqe);
      --in_ring_;
      if ((result == -EINTR || result == -EAGAIN) && request->call != RingCall::kSync) {
        enqueue(std::move(*request));
        continue;
      }
      request->done(syscalls_.ring_result(request->call, result));
    }
    if (!backlog_.empty()) submit_later();
  }

  msgr::EventCenter& center_;
  Syscalls& syscalls_;
  io_uring ring_{};
  bool is_set_up_ = false;
  bool submit_posted_ = false;
  unsigned in_ring_ = 0;  // handed to the ring, not yet collected
  std::deque<std::unique_ptr<Request>> backlog_;
  msgr::FdWatch watch_;
};

}  // namespace

Result<std::unique_ptr<IoEngine>> make_uring_engine(msgr::EventCenter& center, Syscalls& syscalls) {
  auto engine = std::make_unique<UringEngine>(center, syscalls);
  if (const auto error = engine->start()) return fail(error);
  return engine;
}

}  // namespace lunar::osd
