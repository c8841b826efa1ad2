// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "osd/ops/client_op.h"
#include "osd/ops/op_environment.h"

namespace lunar::osd {

// Where a run is in its vector of steps: the step in progress with its data and its buffer, and the
// results so far.
// Loop-bound. Owned by its OpRun, and borrowed by the parts of it.
class StepCursor {
 public:
  StepCursor(const OpEnvironment& environment, ClientOpRef op);

  const OpEnvironment& env() const noexcept { return env_; }
  const ClientOp& op() const noexcept { return *op_; }
  ClientOp& op() noexcept { return *op_; }

  // By a VectorRun, not step by step.
  bool is_applied_whole() const noexcept {
    return env_.store.vectors != nullptr && !op_->is_of_watches();
  }

  bool is_at_end() const noexcept { return index_ == op_->header.steps.size(); }
  // Of the step in progress. REQUIRES: not at the end.
  std::size_t index() const noexcept { return index_; }
  std::size_t data_offset() const noexcept { return data_offset_; }  // in the op's data
  const SubOp& step() const noexcept { return op_->header.steps[index_]; }
  ConstBytes data() const noexcept { return op_->data().subspan(data_offset_, step().data_length); }
  msgr::RegisteredBuffer& buffer() noexcept { return buffers_[index_]; }
  msgr::RegisteredBuffer& buffer_of(std::size_t index) noexcept;  // empty if it needs none
  SubOpResult& result() noexcept { return result_->header.steps[index_]; }
  void add_data(ReplyData data) {
    result().data_length += static_cast<uint32_t>(data.view().size());
    result_->data.push_back(std::move(data));
  }
  void advance() noexcept {
    data_offset_ += step().data_length;
    ++index_;
  }

  // Takes the pool buffers that the steps need. False, and nothing is held, if there are too few.
  bool take_buffers();
  void drop_buffers() { buffers_.clear(); }

  // The object's, as of now: as the store says, if it has versions of its own.
  ObjectVersion version() const;
  void set_version(const ObjectVersion& version) { stored_version_ = version; }
  // Of the whole vector. The reply takes it.
  OpResult& op_result() noexcept { return *result_; }
  OpResultRef take_result() { return std::move(result_); }

 private:
  const OpEnvironment& env_;
  const ClientOpRef op_;
  std::shared_ptr<OpResult> result_;  // null once it is taken
  // One per step, empty where none is needed; no list at all for a plain WRITE.
  std::vector<msgr::RegisteredBuffer> buffers_;
  std::size_t index_ = 0;
  std::size_t data_offset_ = 0;
  std::optional<ObjectVersion> stored_version_;
};

}  // namespace lunar::osd
