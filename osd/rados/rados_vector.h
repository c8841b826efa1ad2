// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "common/unique_function.h"
#include "msgr/event_center.h"
#include "osd/object_vectors.h"
#include "osd/rados/rados_client.h"

namespace lunar::osd {

// One vector on its way through RADOS. What it changes is one RADOS op, which is atomic there:
// - a vector that only reads is an op that reads, whose checks are made here;
// - one that checks and changes is an op that changes, checks included;
// - any other (it returns data and changes, or it changes what depends on the old content, as
//   ORWRITE does) is read first, and its changes are bound to the version that was read. If the
//   object has changed in between it begins again.
// The version of an object is RADOS' own: (0, user_version), and (0, 0) of an absent one.
// Loop-bound; librados calls back on a thread of its own, which only posts. Owns itself from
// start() to its done; borrows the center.
class RadosVector final : private RadosCall {
 public:
  using Done = UniqueFunction<void(VectorResult&)>;
  RadosVector(msgr::EventCenter& center, ObjectVector wanted, Done done);

  // Takes the vector. `done` runs once, later, on the loop.
  static void start(std::unique_ptr<RadosVector> vector, std::shared_ptr<RadosPool> pool);
  // Ends one that was not started, at once.
  void refuse(objecter::OsdErrc error);

 private:
  // Another client of RADOS may change the object in between, which nobody should: a few times.
  static constexpr int kMaxRounds = 16;

  void on_done() override;  // of RadosCall
  void on_answer();

  const objecter::SubOp& step(std::size_t index) const { return wanted_.steps[index]; }
  ConstBytes data_of(std::size_t index) const {
    return wanted_.data.subspan(data_offsets_[index], step(index).data_length);
  }
  bool must_read_first() const;

  void read();
  void add_read(std::size_t index);
  void on_read();
  objecter::OsdErrc evaluate(std::size_t index);
  objecter::OsdErrc take_range(std::size_t index, const RadosStep& answer);
  objecter::OsdErrc take_whole(std::size_t index, const RadosStep& answer);
  objecter::OsdErrc take_extents(std::size_t index, RadosStep& answer);
  objecter::OsdErrc take_attribute(std::size_t index, RadosStep& answer);
  objecter::OsdErrc compare(std::size_t index, const RadosStep& answer);
  void take_map(std::size_t index, uint64_t size);

  void write();
  void add_check(std::size_t index);
  void add_change(std::size_t index);
  void on_written();
  void fail(std::size_t index, objecter::OsdErrc error);
  void fail_check(int answer);
  void finish();

  RadosStep& add(RadosStep::Kind kind, std::size_t index);

  msgr::EventCenter& center_;
  const ObjectVector wanted_;
  Done done_;
  std::shared_ptr<RadosPool> pool_;
  std::vector<std::size_t> data_offsets_;
  std::size_t first_change_;          // the number of steps if it only reads
  std::vector<std::size_t> step_of_;  // of the vector, for each step of the op under way
  bool has_read_ = false;             // the object is known, as of result_.version
  int rounds_ = 0;
  VectorResult result_;
};

// What an error of librados is to a client. If it says of a change only that it may have been made,
// and that must not be repeated, kUnknownOutcome.
objecter::OsdErrc rados_errc(int negative_errno, bool must_not_repeat) noexcept;

}  // namespace lunar::osd
