// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>

#include "common/inline_function.h"
#include "common/result.h"
#include "gateway/client.h"
#include "gateway/image_directory.h"
#include "gateway/image_header.h"
#include "gateway/io_request.h"

namespace lunar::gateway {

// An open image: a disk of bytes on objects. Thin: what was never written, or was discarded, reads
// as zeroes.
// Loop-bound to the client's center. Shared: every IO holds a reference, so it may be let go at any
// time; close() first strikes its registration. Borrows the client, which outlives it.
//
// The IO calls: memory is borrowed until done; done runs exactly once, later, on the center, when
// nothing touches that memory any more. Ranges outside the image end with kInvalid. IOs in flight
// that overlap have no order among them (SAM-5 §8.5, simple task attribute); each is atomic only
// per object. Errors told apart: kNoSpace, kTimedOut, kFenced, kCorrupt, kIoError, kCancelled,
// kLostWrites (flush), kMiscompare (compare and write), kUnknownOutcome.
class Image : public std::enable_shared_from_this<Image> {
 public:
  struct OpenOptions {
    bool read_only = false;  // no registration; IOs that change it end with kReadOnly
  };
  static void open(Client& client, const ImageSpec& spec, const OpenOptions& options,
                   InlineFunction<void(Outcome<std::shared_ptr<Image>>)> done);
  ~Image();

  // No new IO is accepted (kShutdown); when those in flight have ended the registration is struck
  // and `done` runs, with the error of that if any.
  void close(InlineFunction<void(Outcome<void>)> done);

  Client& client() const noexcept { return client_; }
  const ImageSpec& spec() const noexcept { return spec_; }
  ImageId id() const noexcept { return header_.id; }
  objecter::PoolId pool() const noexcept { return pool_; }
  const Uuid& uuid() const noexcept { return header_.uuid; }
  uint64_t size() const noexcept { return header_.size; }  // bytes
  const StripeLayout& layout() const noexcept { return header_.layout; }

  void read(uint64_t offset, Bytes into, const IoOptions& options, IoDone done);
  void write(uint64_t offset, ConstBytes from, const IoOptions& options, IoDone done);
  // Frees the range; it reads as zeroes afterwards.
  void discard(uint64_t offset, uint64_t length, const IoOptions& options, IoDone done);
  void write_zeroes(uint64_t offset, uint64_t length, const IoOptions& options, IoDone done);
  // Repeats `pattern`. REQUIRES: its size divides kMinStripeUnit, offset and length.
  void write_same(uint64_t offset, uint64_t length, ConstBytes pattern, const IoOptions& options,
                  IoDone done);
  // Atomic at the object server. kInvalid if the range crosses a stripe unit. kMiscompare with the
  // offset of the first difference in IoResult::value. REQUIRES: both spans have the same size.
  void compare_and_write(uint64_t offset, ConstBytes compare, ConstBytes write,
                         const IoOptions& options, IoDone done);
  // Bytes become old | from; atomic per object.
  void or_write(uint64_t offset, ConstBytes from, const IoOptions& options, IoDone done);
  // Every write that was done before this call is durable at done, whoever wrote it.
  void flush(const IoOptions& options, IoDone done);
  // Whether the bytes from `offset` are allocated, and for how long that stays so (at most to the
  // end of the object). For GET LBA STATUS.
  struct Allocation {
    uint64_t length = 0;
    bool allocated = false;
  };
  void allocation_at(uint64_t offset, uint64_t io_id,
                     InlineFunction<void(Result<Allocation>)> done);

  // Asks every IO with this id to end early: see IoRequest::cancel(). An unknown id is ignored.
  void cancel(uint64_t io_id);
  bool has_io_in_flight() const noexcept { return !in_flight_.empty(); }

  // Runs on_resize(new size) whenever the header shows another size.
  void watch_size(InlineFunction<void(uint64_t)> on_resize) { on_resize_ = std::move(on_resize); }

 private:
  friend class IoRequest;
  using InFlight = boost::intrusive::list<IoRequest, boost::intrusive::constant_time_size<false>>;

  Image(Client& client, ImageSpec spec, objecter::PoolId pool, VersionedHeader header,
        const OpenOptions& options);
  std::error_code check(const IoWork& work) const noexcept;
  void io_ended();
  void strike_registration();
  void schedule_poll();
  void poll_header();
  void header_changed();
  void adopt_header(VersionedHeader found);

  Client& client_;
  const ImageSpec spec_;
  const objecter::PoolId pool_;
  ImageHeader header_;
  objecter::ObjectVersion header_version_;
  const OpenOptions options_;
  bool closing_ = false;
  bool fenced_ = false;  // our registration was struck by somebody else
  InFlight in_flight_;
  msgr::TimerId poll_timer_ = msgr::TimerId::kNone;
  InlineFunction<void(uint64_t)> on_resize_;
  InlineFunction<void(Outcome<void>)> on_closed_;
};

}  // namespace lunar::gateway
