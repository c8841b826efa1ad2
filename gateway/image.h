// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include "common/result.h"
#include "common/unique_function.h"
#include "gateway/client.h"
#include "gateway/image_header.h"
#include "gateway/io/ios_in_flight.h"
#include "gateway/io_options.h"
#include "gateway/open_options.h"

namespace lunar::gateway {

class OpenHeader;

// An open image: a disk of bytes on objects, as rbd_image_t is. Thin: what was never written, or
// was discarded, reads as zeroes. What it is made of is described in docs/image.md.
//
// Loop-bound to the client's center. Shared: every IO holds a reference, so it may be let go at any
// time, also while IO is in flight: its last reference gone, it gives up the lock by itself, and
// close() says when. Borrows the client, which outlives it.
//
// While it is open it watches its header: it adopts a new size, and refuses all IO from then on
// (kFenced) once somebody has struck its registration, or a server has refused it.
//
// The IO calls, common to all of them:
// - offset and length are bytes, of any alignment. A range that reaches beyond the image ends with
//   kInvalid and does nothing. Length 0 succeeds.
// - Memory is borrowed until done.
// - done runs exactly once, later than the call, on the center, when nothing touches that memory
//   any more. The image may be let go inside it, and other IO started.
// - IOs in flight that overlap have no order among them (SAM-5 §8.5, simple task attribute). Each
//   is atomic only per object; one that failed may have been carried out in part.
// - Errors told apart: kNoSpace, kTimedOut and kUnknownOutcome (it may have been carried out),
//   kFenced, kReadOnly, kShutdown (closed), kCorrupt, kIoError, kCancelled; kLostWrites (flush);
//   kMiscompare (compare and write). docs/errors.md has what becomes of them.
class Image : public std::enable_shared_from_this<Image> {
 public:
  using OpenOptions = gateway::OpenOptions;
  // Finds the image and takes its lock. The client must have a map. Takes six round trips to
  // servers, each bounded by objecter_op_timeout, and what OpenOptions say of waiting. Errors are
  // sentences: kNoSuchPool, kNoSuchObject (no image of that name), kBusy (it is being removed, or
  // locked by those whom the sentence names), kFenced, kCorrupt and kIncompatible (its header),
  // kTimedOut.
  static void open(Client& client, const ImageSpec& spec, const OpenOptions& options,
                   UniqueFunction<void(Outcome<std::shared_ptr<Image>>)> done);
  ~Image();  // REQUIRES: no IO is in flight; true by itself, as each holds a reference

  // No new IO is accepted (kShutdown); when those in flight have ended the registration is struck
  // and `done` runs, later, with the error of that if any. The image is closed either way. Once.
  void close(UniqueFunction<void(Outcome<void>)> done);

  // What it is. All but size() stays the same for the image's life.
  Client& client() const noexcept { return client_; }
  const ImageSpec& spec() const noexcept;
  ImageId id() const noexcept { return id_; }
  objecter::PoolId pool() const noexcept { return pool_; }
  const Uuid& uuid() const noexcept;  // the same through whichever gateway it is opened
  const StripeLayout& layout() const noexcept { return layout_; }
  uint64_t size() const noexcept;  // bytes; as the header said when it was last looked at

  // Success: IO is taken. If not, what every IO is refused with at once: kShutdown or kFenced.
  std::error_code readiness() const noexcept;

  // Fills `into` whole.
  void read(uint64_t offset, Bytes into, const IoOptions& options, ImageIoDone done);
  // Readable by everybody at done; durable only with IoOptions::fua, or after a later flush.
  void write(uint64_t offset, ConstBytes from, const IoOptions& options, ImageIoDone done);
  // Frees the range; it reads as zeroes afterwards. Both are the same here.
  void discard(uint64_t offset, uint64_t length, const IoOptions& options, ImageIoDone done);
  void write_zeroes(uint64_t offset, uint64_t length, const IoOptions& options, ImageIoDone done);
  // Repeats `pattern` through the range; one op per extent carries it once. Its size must divide
  // kMinStripeUnit (4096), offset and length; kInvalid otherwise.
  void write_same(uint64_t offset, uint64_t length, ConstBytes pattern, const IoOptions& options,
                  ImageIoDone done);
  // Writes `write` if the range holds `compare`; atomic at the object server. Both have the same
  // size, and the range crosses no stripe unit; kInvalid otherwise. kMiscompare, with the first
  // byte that differs in IoResult::value, if it holds something else.
  void compare_and_write(uint64_t offset, ConstBytes compare, ConstBytes write,
                         const IoOptions& options, ImageIoDone done);
  // Bytes become old | from; atomic per object.
  void or_write(uint64_t offset, ConstBytes from, const IoOptions& options, ImageIoDone done);
  // Every write that was done before this call is durable at done, whoever wrote it. kLostWrites if
  // a server has lost acknowledged writes: told by each flush until one that nobody cancelled, and
  // that began after every write which may be part of the loss had ended.
  void flush(const IoOptions& options, ImageIoDone done);
  // The same for writes that have begun before this call: a flush when they have ended. cancel()
  // finds it only from then on.
  void write_back(const IoOptions& options, ImageIoDone done);

  // A run of bytes from an offset on that are all allocated, or all not.
  struct Allocation {
    uint64_t length = 0;  // bytes, never 0; at most to the end of the object
    bool is_allocated = false;
  };
  // What begins at `offset`, as the object's server says now. For GET LBA STATUS. kInvalid beyond
  // the image; kCancelled after cancel(). `done` runs once, later.
  void allocation_at(uint64_t offset, uint64_t io_id,
                     UniqueFunction<void(Result<Allocation>)> done);

  // The initiator could not be told that its flush ended with kLostWrites: the next one says it
  // again.
  void on_loss_unheard();

  // Asks every IO, and every allocation_at(), with this id to end early: those of its ops that have
  // not been carried out are taken back, and it ends with kCancelled unless all of them were done.
  // Its done runs all the same, later. An unknown id is ignored.
  void cancel(uint64_t io_id);

  // Runs on_resize(new size in bytes) whenever the header shows another size, until the image is
  // closed. One at a time: replaces the one before; an empty one ends it. Not to be called from
  // on_resize.
  void watch_size(UniqueFunction<void(uint64_t)> on_resize);

 private:
  friend class IoRun;

  Image(std::shared_ptr<OpenHeader> header, Client& client, const OpenOptions& options);
  void on_fenced();                                               // a server has refused an op
  std::error_code refusal_of(const IoWork& work) const noexcept;  // success: it may be carried out

  // An allocation_at() under way, about this extent of an object.
  struct AllocationQuery {
    uint64_t io_id = 0;
    objecter::Tid tid = 0;
    bool is_cancelled = false;
    uint64_t offset = 0;
    uint64_t length = 0;
  };

  Client& client_;
  const std::shared_ptr<OpenHeader> header_;  // never null
  const ImageId id_;                          // id, pool and layout: of header_, for every IO
  const objecter::PoolId pool_;
  const StripeLayout layout_;
  const std::shared_ptr<objecter::ImageWrites> writes_;  // of all handles of the image
  const OpenOptions options_;
  bool is_closing_ = false;  // close() was called: nothing new enters ios_
  IosInFlight ios_;
  std::list<AllocationQuery> queries_;
};

}  // namespace lunar::gateway
