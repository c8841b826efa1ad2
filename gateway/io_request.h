// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <boost/container/small_vector.hpp>
#include <boost/intrusive/list.hpp>
#include <chrono>
#include <cstdint>
#include <memory>

#include "common/bytes.h"
#include "common/inline_function.h"
#include "gateway/client.h"
#include "gateway/io_type.h"
#include "gateway/splitter.h"

namespace lunar::gateway {

class Image;

// How an IO ended.
struct IoResult {
  std::error_code error;      // of the first extent that failed
  uint64_t value = 0;         // COMPARE AND WRITE with kMiscompare: first differing byte
  uint64_t bytes_inline = 0;  // payload carried in frames
  uint64_t bytes_one_sided = 0;
};
using IoDone = InlineFunction<void(IoResult)>;

struct IoOptions {
  bool fua = false;    // durable at done
  uint64_t io_id = 0;  // 0: a new one; else from Client::next_io_id()
  // The lease of Client::front_end_buffers() that the memory lies in, if it does; borrowed until
  // done.
  const msgr::RegisteredBuffer* memory = nullptr;
};

// What one IO is to do. Memory is borrowed until done.
struct IoWork {
  IoType type = IoType::kRead;
  uint64_t offset = 0;  // in the image, bytes
  uint64_t length = 0;  // bytes
  Bytes read_into;      // IoType::kRead
  ConstBytes data;      // to write; the pattern of a write same; what to compare with
  ConstBytes second;    // compare and write: what to write
};

// One IO on an image while it is under way: walks its extents, submits an op for each (a bounded
// number at once), joins the replies; the first error wins and stops further submits.
// Loop-bound. Owns itself from start() until `done` has run; keeps the image alive.
class IoRequest : public boost::intrusive::list_base_hook<> {
 public:
  static void start(std::shared_ptr<Image> image, const IoWork& work, const IoOptions& options,
                    IoDone done);
  uint64_t io_id() const noexcept { return io_id_; }
  // Asks every op in flight to end; the IO then ends with kCancelled unless all of them were done.
  void cancel();

 private:
  static constexpr std::size_t kWindow = 64;
  struct Submitted {
    uint32_t index;  // of the extent within the IO
    objecter::Tid tid;
  };

  IoRequest(std::shared_ptr<Image> image, const IoWork& work, const IoOptions& options,
            IoDone done);
  void submit_more();
  void submit_extent(const ObjectExtent& extent);
  objecter::ObjectOp make_op(const ObjectExtent& extent) const;
  DeliveryProposal propose(const ObjectExtent& extent) const;
  void submit_flush();
  void extent_done(uint32_t index, const ObjectExtent& extent, objecter::OpReply reply);
  void finish();
  void count(GatewayCounters& counters) const;

  std::shared_ptr<Image> image_;
  IoWork work_;
  bool fua_;
  const msgr::RegisteredBuffer* memory_;  // or null: IoOptions::memory
  uint64_t io_id_;
  IoDone done_;
  ExtentCursor cursor_;
  uint32_t next_index_ = 0;  // extents submitted
  IoResult result_;
  bool cancelled_ = false;
  boost::container::small_vector<Submitted, 4> in_flight_;
  std::chrono::steady_clock::time_point started_;
};

}  // namespace lunar::gateway
