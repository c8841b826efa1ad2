// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <boost/container/small_vector.hpp>
#include <boost/intrusive/list_hook.hpp>
#include <chrono>
#include <cstdint>
#include <memory>

#include "gateway/io/delivery.h"
#include "gateway/io/io_work.h"
#include "gateway/io_options.h"
#include "gateway/splitter.h"
#include "objecter/objecter.h"

namespace lunar::gateway {

class Image;
struct GatewayCounters;

// One IO on an image while it is under way: walks its extents, submits an op for each (a bounded
// number at once), joins the replies; the first error wins and stops further submits.
// Loop-bound. Owns itself from start() until `done` has run; keeps the image alive.
class IoRun : public boost::intrusive::list_base_hook<> {
 public:
  static void start(std::shared_ptr<Image> image, const IoWork& work, const IoOptions& options,
                    ImageIoDone done);
  uint64_t io_id() const noexcept { return io_id_; }
  // The byte of the image behind the last one that it reads or changes.
  uint64_t end() const noexcept {
    return work_.length > UINT64_MAX - work_.offset ? UINT64_MAX : work_.offset + work_.length;
  }
  // Which one of its image it is, by the time of its start.
  uint64_t order() const noexcept { return order_; }
  void set_order(uint64_t order) noexcept { order_ = order; }
  // Asks every op in flight to end; the IO then ends with kCancelled unless all of them were done.
  void cancel();

 private:
  static constexpr std::size_t kWindow = 64;  // extents in flight
  struct SubmittedExtent {
    uint32_t index;  // within the IO
    objecter::Tid tid;
  };

  IoRun(std::shared_ptr<Image> image, const IoWork& work, const IoOptions& options,
        ImageIoDone done);
  void submit_more();
  void submit_extent(const ObjectExtent& extent);
  objecter::ObjectOp make_op(const ObjectExtent& extent) const;
  DeliveryProposal propose(const ObjectExtent& extent) const;
  void submit_flush();
  void on_extent_reply(uint32_t index, const ObjectExtent& extent, objecter::OpReply reply);
  void finish();
  void count_in(GatewayCounters& counters) const;

  std::shared_ptr<Image> image_;
  IoWork work_;
  bool fua_;
  const msgr::RegisteredBuffer* memory_;  // or null: IoOptions::memory
  uint64_t io_id_;
  uint64_t order_ = 0;
  ImageIoDone done_;
  ExtentCursor cursor_;                 // at the next extent to submit
  uint32_t next_index_ = 0;             // extents submitted
  objecter::ImageWrites::Write write_;  // if it changes the image, while its ops are under way
  IoResult result_;                     // joined from the replies so far
  bool is_cancelled_ = false;
  bool has_done_some_ = false;  // an extent has, or may have
  boost::container::small_vector<SubmittedExtent, 4> in_flight_;
  std::chrono::steady_clock::time_point started_;
};

}  // namespace lunar::gateway
