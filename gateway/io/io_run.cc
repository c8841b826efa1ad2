// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/io/io_run.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/host.h"
#include "gateway/image.h"
#include "gateway/io/counters.h"
#include "gateway/io/trace_values.h"
#include "gateway/metadata/open_header.h"
#include "tracing/tracepoints.h"

namespace lunar::gateway {
namespace {

using objecter::ObjectOp;
using objecter::OpCode;
using objecter::OpReply;
using objecter::OsdErrc;
using objecter::SubOp;

SubOp step_of(OpCode code, const ObjectExtent& extent, bool fua) {
  SubOp step;
  step.code = code;
  step.offset = extent.offset;
  step.length = extent.length;
  if (fua) step.flags |= objecter::kFua;
  return step;
}

}  // namespace

void IoRun::start(std::shared_ptr<Image> image, const IoWork& work, const IoOptions& options,
                  ImageIoDone done) {
  auto* io = new IoRun(std::move(image), work, options, std::move(done));
  Image& owner = *io->image_;
  owner.ios_.add(*io);
  owner.client().counters().in_flight.inc();
  owner.header_->counters().in_flight.inc();
  LUNAR_TRACE(lunar_gateway, io_start, io->io_id_, owner.id(), trace_value(work.type), work.offset,
              work.length);
  if (const std::error_code refused = owner.refusal_of(work); refused) {
    io->result_.error = refused;
    owner.client().center().post([io] { io->finish(); });
    return;
  }
  if (work.type == IoType::kFlush) return io->submit_flush();
  if (work.length == 0) {
    owner.client().center().post([io] { io->finish(); });
    return;
  }
  const SplitSummary split = summarize_split(owner.layout(), work.offset, work.length);
  if (split.extents > 1) owner.client().counters().split.add();
  owner.client().counters().extents.add(split.extents);
  LUNAR_TRACE(lunar_gateway, io_split, io->io_id_, trace_value(split.reason), split.extents,
              work.offset, work.length);
  if (work.changes()) owner.writes_->begin(io->write_);
  io->submit_more();
}

IoRun::IoRun(std::shared_ptr<Image> image, const IoWork& work, const IoOptions& options,
             ImageIoDone done)
    : image_(std::move(image)),
      work_(work),
      fua_(options.fua),
      memory_(options.memory),
      io_id_(options.io_id != 0 ? options.io_id : image_->client().next_io_id()),
      done_(std::move(done)),
      cursor_(image_->layout(), work.offset, work.length),
      started_(monotonic_now()) {}

void IoRun::cancel() {
  if (std::exchange(is_cancelled_, true)) return;
  for (const SubmittedExtent& each : in_flight_) image_->client().objecter().cancel(each.tid);
}

void IoRun::submit_more() {
  while (!result_.error && !is_cancelled_ && !cursor_.is_at_end() && in_flight_.size() < kWindow) {
    submit_extent(cursor_.next());
  }
}

void IoRun::submit_extent(const ObjectExtent& extent) {
  ObjectOp op = make_op(extent);
  op.delivery = propose(extent);
  LUNAR_TRACE(lunar_gateway, extent_path, io_id_, next_index_, extent.object_no, extent.offset,
              extent.length, trace_value(op.delivery.delivery), trace_value(op.delivery.reason));
  const uint32_t index = next_index_++;
  const objecter::Tid tid = image_->client().objecter().submit(
      std::move(op),
      [this, extent, index](OpReply reply) { on_extent_reply(index, extent, std::move(reply)); });
  in_flight_.push_back({index, tid});
  LUNAR_TRACE(lunar_gateway, extent_submit, io_id_, tid, extent.object_no, extent.offset,
              extent.length);
}

DeliveryProposal IoRun::propose(const ObjectExtent& extent) const {
  const bool is_plain = work_.type == IoType::kRead || work_.type == IoType::kWrite;
  DeliveryProposal proposal = propose_delivery(image_->client().delivery_policy(),
                                               {extent.length, is_plain, memory_ != nullptr});
  if (proposal.delivery == Delivery::kInline) return proposal;
  const std::byte* const begin =
      work_.type == IoType::kRead ? work_.read_into.data() : work_.data.data();
  const auto into_lease = static_cast<std::size_t>(begin - memory_->bytes().data());
  proposal.slice = {memory_, static_cast<uint32_t>(into_lease + extent.buffer_offset),
                    static_cast<uint32_t>(extent.length)};
  return proposal;
}

ObjectOp IoRun::make_op(const ObjectExtent& extent) const {
  ObjectOp op;
  op.object = {image_->pool(), data_object_name(image_->id(), extent.object_no)};
  op.image = image_->id();
  op.io_id = io_id_;
  if (work_.is_repeatable()) op.flags |= objecter::kOpIdempotent;
  const auto with_data = [&op](SubOp step, ConstBytes data) {
    step.data_length = static_cast<uint32_t>(data.size());
    op.steps.push_back(std::move(step));
    op.data.push_back(data);
  };
  switch (work_.type) {
    case IoType::kRead:
      op.steps.push_back(step_of(OpCode::kRead, extent, false));
      op.read_into = work_.read_into.subspan(extent.buffer_offset, extent.length);
      break;
    case IoType::kWrite:
      with_data(step_of(OpCode::kWrite, extent, fua_),
                work_.data.subspan(extent.buffer_offset, extent.length));
      break;
    case IoType::kOrWrite:
      with_data(step_of(OpCode::kOrWrite, extent, fua_),
                work_.data.subspan(extent.buffer_offset, extent.length));
      break;
    case IoType::kWriteSame:
      with_data(step_of(OpCode::kWriteSame, extent, fua_), work_.data);
      break;
    case IoType::kDiscard:
    case IoType::kWriteZeroes: {
      const bool whole = extent.offset == 0 && extent.length == image_->layout().object_size;
      op.steps.push_back(step_of(whole ? OpCode::kDelete : OpCode::kZero, extent, fua_));
      if (whole) op.steps.back().length = 0;
      break;
    }
    case IoType::kCompareAndWrite:
      with_data(step_of(OpCode::kCmpExt, extent, false), work_.data);
      with_data(step_of(OpCode::kWrite, extent, fua_), work_.second);
      break;
    case IoType::kFlush:
      break;
  }
  return op;
}

void IoRun::submit_flush() {
  const objecter::Tid tid = image_->client().objecter().flush(
      image_->pool(), image_->id(), io_id_, objecter::Objecter::LossHearer::kInitiator,
      [this](std::error_code error) {
        result_.error = error;
        in_flight_.clear();
        finish();
      });
  in_flight_.push_back({0, tid});
}

void IoRun::on_extent_reply(uint32_t index, const ObjectExtent& extent, OpReply reply) {
  const auto submitted =
      std::find_if(in_flight_.begin(), in_flight_.end(),
                   [&](const SubmittedExtent& each) { return each.index == index; });
  LUNAR_CHECK(submitted != in_flight_.end(), "an extent ended twice");
  *submitted = in_flight_.back();
  in_flight_.pop_back();
  if (reply.error == OsdErrc::kNoSuchObject) {
    reply.error = {};
    if (work_.type == IoType::kRead) {  // thin: what was never written is zero
      const Bytes into = work_.read_into.subspan(extent.buffer_offset, extent.length);
      std::memset(into.data(), 0, into.size());
    }
  }
  has_done_some_ |= !reply.error || reply.error == OsdErrc::kUnknownOutcome;
  if (reply.error && !result_.error) {
    result_.error = reply.error;
    result_.reason = reply.reason;
    if (reply.error == OsdErrc::kMiscompare && !reply.steps.empty()) {
      result_.value = reply.steps.front().value;
    }
  }
  result_.bytes_inline += reply.bytes_inline;
  result_.bytes_one_sided += reply.bytes_one_sided;
  submit_more();
  if (in_flight_.empty()) finish();
}

void IoRun::finish() {
  if (is_cancelled_ && !result_.error && !cursor_.is_at_end())
    result_.error = make_error_code(OsdErrc::kCancelled);
  // Of an aborted command nobody hears the end.
  if (is_cancelled_ && result_.error == OsdErrc::kLostWrites)
    image_->client().objecter().on_loss_unheard(image_->id());
  count_in(image_->client().counters());
  LUNAR_TRACE(lunar_gateway, io_done, io_id_, result_.error.value(),
              result_.error ? 0 : work_.length);
  image_->writes_->end(write_);
  if (result_.error == objecter::OsdErrc::kFenced) image_->on_fenced();
  // What must not be done twice is not to be repeated as a whole if a part of it was done.
  if (!result_.reason) result_.reason = result_.error;
  if (result_.error && has_done_some_ && !work_.is_repeatable())
    result_.error = OsdErrc::kUnknownOutcome;
  image_->ios_.remove(*this);
  ImageIoDone done = std::move(done_);
  const IoResult result = result_;
  const std::shared_ptr<Image> image = std::move(image_);
  delete this;
  done(result);
  image->ios_.notify();
}

void IoRun::count_in(GatewayCounters& counters) const {
  const auto took = monotonic_now() - started_;
  // What was asked for, as by COMPARE AND WRITE, and what nobody waits for any more, is no failure.
  const bool is_answer =
      result_.error == OsdErrc::kMiscompare || result_.error == OsdErrc::kCancelled;
  const auto count = [&](auto& of) {
    of.in_flight.dec();
    if (result_.error && !is_answer) of.failed.add();
    if (work_.type == IoType::kRead) {
      of.rd.add();
      of.rd_bytes.add(work_.length);
      of.rd_latency.add(took);
    } else if (work_.type == IoType::kWrite) {
      of.wr.add();
      of.wr_bytes.add(work_.length);
      of.wr_latency.add(took);
    } else if (work_.type == IoType::kDiscard || work_.type == IoType::kWriteZeroes) {
      of.discard.add();
    } else if (work_.type == IoType::kFlush) {
      of.flush.add();
    }
  };
  count(counters);
  count(image_->header_->counters());
  counters.bytes_inline.add(result_.bytes_inline);
  counters.bytes_one_sided.add(result_.bytes_one_sided);
  if (work_.type == IoType::kWriteSame) counters.ws.add();
  if (work_.type == IoType::kCompareAndWrite) counters.cmp.add();
  if (work_.type == IoType::kOrWrite) counters.orw.add();
}

}  // namespace lunar::gateway
