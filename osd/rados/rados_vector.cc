// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/rados/rados_vector.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/log_limited.h"

// start → read → on_read ─→ finish
//       └──────→ write ←┘└→ write → on_written → finish, or read again

namespace lunar::osd {

using objecter::ObjectVersion;
using objecter::OpCode;
using objecter::OsdErrc;
using objecter::SubOp;
using Kind = RadosStep::Kind;

namespace {

// Ceph refuses ranges beyond osd_max_object_size, which is this by default; no object of an image
// is longer than 32 MiB.
constexpr uint64_t kMaxRadosObjectBytes = 128u << 20;

bool is_all_zero(ConstBytes bytes) noexcept {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

// An absent object stays absent.
bool creates(const SubOp& step) noexcept {
  return step.code != OpCode::kZero && step.code != OpCode::kDelete;
}

void clear(Bytes bytes) { std::fill(bytes.begin(), bytes.end(), std::byte{0}); }

}  // namespace

OsdErrc rados_errc(int negative_errno, bool must_not_repeat) noexcept {
  switch (-negative_errno) {
    case 0:
      return OsdErrc::kOk;
    case ENOENT:
      return OsdErrc::kNoSuchObject;
    case ENODATA:
      return OsdErrc::kNoSuchAttribute;
    case ENOSPC:
    case EDQUOT:
      return OsdErrc::kNoSpace;
    case EFBIG:
    case E2BIG:
    case EMSGSIZE:
      return OsdErrc::kTooLarge;
    case ETIMEDOUT:
    case ECANCELED:
    case ENOTCONN:
      return must_not_repeat ? OsdErrc::kUnknownOutcome : OsdErrc::kBusy;
    case ESHUTDOWN:  // on Ceph's blocklist
      return must_not_repeat ? OsdErrc::kUnknownOutcome : OsdErrc::kShutdown;
    default:
      return OsdErrc::kIoError;
  }
}

RadosVector::RadosVector(msgr::EventCenter& center, ObjectVector wanted, Done done)
    : center_(center), wanted_(std::move(wanted)), done_(std::move(done)) {
  object = wanted_.object.name;
  const auto& all = wanted_.steps;
  std::size_t data_offset = 0;
  for (const SubOp& each : all) {
    data_offsets_.push_back(data_offset);
    data_offset += each.data_length;
  }
  const auto first = std::find_if(all.begin(), all.end(), [](const SubOp& each) {
    return objecter::changes_object(each.code);
  });
  first_change_ = static_cast<std::size_t>(first - all.begin());
  result_.steps.resize(all.size());
}

void RadosVector::start(std::unique_ptr<RadosVector> vector, std::shared_ptr<RadosPool> pool) {
  RadosVector& self = *vector.release();  // finish() destroys it
  self.pool_ = std::move(pool);
  if (self.must_read_first())
    self.read();
  else
    self.write();
}

bool RadosVector::must_read_first() const {
  if (first_change_ == wanted_.steps.size()) return true;
  return std::any_of(wanted_.steps.begin(), wanted_.steps.end(), [](const SubOp& each) {
    switch (each.code) {
      case OpCode::kAssertVersion:  // RADOS has no way to ask for what no object of it has
        return each.version.incarnation != 0 || each.version.counter == 0;
      case OpCode::kCmpExt:
        return false;
      case OpCode::kOrWrite:
        return true;
      default:
        return !objecter::changes_object(each.code);
    }
  });
}

void RadosVector::on_done() {
  center_.post([this] { on_answer(); });
}

void RadosVector::on_answer() {
  result_.is_fenced = result == -ESHUTDOWN;
  if (changes)
    on_written();
  else
    on_read();
}

RadosStep& RadosVector::add(Kind kind, std::size_t index) {
  steps.emplace_back();
  step_of_.push_back(index);
  steps.back().kind = kind;
  return steps.back();
}

// --- reading ---

void RadosVector::read() {
  ++rounds_;
  result_.steps.assign(wanted_.steps.size(), {});
  changes = false;
  steps.clear();
  step_of_.clear();
  for (std::size_t i = 0; i < wanted_.steps.size(); ++i) add_read(i);
  if (steps.empty()) add(Kind::kStat, 0);  // the version of it is what is wanted
  pool_->submit(*this);
}

void RadosVector::add_read(std::size_t index) {
  const SubOp& now = step(index);
  const auto range = [&](Kind kind) {
    RadosStep& read = add(kind, index);
    read.offset = now.offset;
    read.into = wanted_.buffers[index].first(now.length);
  };
  switch (now.code) {
    case OpCode::kRead:
      if (now.length != 0) return range(Kind::kRead);
      add(Kind::kStat, index);
      add(Kind::kRead, index).into = wanted_.buffers[index];
      return;
    case OpCode::kCmpExt:
    case OpCode::kOrWrite:
      return range(Kind::kRead);
    case OpCode::kSparseRead:
      return range(Kind::kSparseRead);
    case OpCode::kStat:
    case OpCode::kMapExtents:
      add(Kind::kStat, index);
      return;
    case OpCode::kGetXattr:
      add(Kind::kGetXattr, index).name = now.name;
      return;
    default:
      return;
  }
}

void RadosVector::on_read() {
  const bool is_absent = result == -ENOENT;
  if (result < 0 && !is_absent) return fail(0, rados_errc(result, false));
  has_read_ = true;
  result_.exists = !is_absent;
  result_.version = is_absent ? ObjectVersion() : ObjectVersion{0, version};
  for (std::size_t i = 0; i < wanted_.steps.size(); ++i) {
    const OsdErrc error = evaluate(i);
    if (error != OsdErrc::kOk) return fail(i, error);
  }
  if (first_change_ == wanted_.steps.size()) return finish();
  write();
}

// Of an absent object there is no answer: a range of it reads as zeroes, and has no space.
OsdErrc RadosVector::evaluate(std::size_t index) {
  const SubOp& now = step(index);
  if (now.code == OpCode::kAssertVersion)
    return now.version == result_.version ? OsdErrc::kOk : OsdErrc::kVersionMismatch;
  RadosStep nothing;
  const auto at = std::find(step_of_.begin(), step_of_.end(), index);
  RadosStep& answer = result_.exists && at != step_of_.end()
                          ? steps[static_cast<std::size_t>(at - step_of_.begin())]
                          : nothing;
  if (answer.result < 0 && now.code != OpCode::kGetXattr) return rados_errc(answer.result, false);
  switch (now.code) {
    case OpCode::kRead:
      return now.length == 0 ? take_whole(index, answer) : take_range(index, answer);
    case OpCode::kSparseRead:
      return take_extents(index, answer);
    case OpCode::kStat:
      result_.steps[index].value = answer.filled;
      return result_.exists ? OsdErrc::kOk : OsdErrc::kNoSuchObject;
    case OpCode::kMapExtents:
      take_map(index, answer.filled);
      return OsdErrc::kOk;
    case OpCode::kGetXattr:
      return take_attribute(index, answer);
    case OpCode::kCmpExt:
      return compare(index, answer);
    case OpCode::kOrWrite: {
      const OsdErrc error = take_range(index, answer);
      const Bytes buffer = wanted_.buffers[index];
      const ConstBytes data = data_of(index);
      for (std::size_t i = 0; i < data.size(); ++i) buffer[i] |= data[i];
      return error;
    }
    default:
      return OsdErrc::kOk;  // a change
  }
}

OsdErrc RadosVector::take_range(std::size_t index, const RadosStep& answer) {
  clear(wanted_.buffers[index].first(step(index).length).subspan(answer.filled));
  result_.steps[index].filled = step(index).length;
  return OsdErrc::kOk;
}

OsdErrc RadosVector::take_whole(std::size_t index, const RadosStep& answer) {
  if (!result_.exists) return OsdErrc::kNoSuchObject;
  if (answer.filled > wanted_.buffers[index].size()) return OsdErrc::kTooLarge;
  result_.steps[index].filled = answer.filled;  // the step after it has read so much
  return OsdErrc::kOk;
}

// In the answer each extent is at its own place in the buffer; a client gets them one after the
// other.
OsdErrc RadosVector::take_extents(std::size_t index, RadosStep& answer) {
  const SubOp& now = step(index);
  VectorStepResult& taken = result_.steps[index];
  const Bytes buffer = wanted_.buffers[index].first(now.length);
  auto& extents = answer.extents;
  if (extents.size() > objecter::max_extents(now.length)) {
    uint64_t end = now.offset;
    for (const auto& [offset, length] : extents) {
      clear(buffer.subspan(end - now.offset, offset - end));
      end = offset + length;
    }
    extents = {{now.offset, end - now.offset}};
  }
  for (const auto& [offset, length] : extents) {
    std::memmove(buffer.data() + taken.filled, buffer.data() + (offset - now.offset), length);
    taken.filled += length;
  }
  taken.extents.extents = std::move(extents);
  return OsdErrc::kOk;
}

OsdErrc RadosVector::take_attribute(std::size_t index, RadosStep& answer) {
  if (!result_.exists) return OsdErrc::kNoSuchObject;
  if (answer.result < 0) return rados_errc(answer.result, false);
  result_.steps[index].attribute = std::move(answer.value);
  return OsdErrc::kOk;
}

OsdErrc RadosVector::compare(std::size_t index, const RadosStep& answer) {
  const Bytes stored = wanted_.buffers[index].first(step(index).length);
  clear(stored.subspan(answer.filled));
  const ConstBytes wanted = data_of(index);
  const auto differ = std::mismatch(wanted.begin(), wanted.end(), stored.begin());
  if (differ.first == wanted.end()) return OsdErrc::kOk;
  result_.steps[index].value = static_cast<uint64_t>(differ.first - wanted.begin());
  return OsdErrc::kMiscompare;
}

// librados does not say in an op where an object has holes: all up to its end counts as space.
void RadosVector::take_map(std::size_t index, uint64_t size) {
  const SubOp& now = step(index);
  if (now.offset >= size || now.length == 0) return;
  result_.steps[index].extents.extents = {{now.offset, std::min(now.length, size - now.offset)}};
}

// --- changing ---

void RadosVector::write() {
  changes = true;
  steps.clear();
  step_of_.clear();
  const bool is_absent = has_read_ && !result_.exists;
  if (is_absent && std::none_of(wanted_.steps.begin() + static_cast<std::ptrdiff_t>(first_change_),
                                wanted_.steps.end(), creates))
    return finish();
  if (is_absent)
    add(Kind::kCreateExclusive, first_change_);
  else if (has_read_)
    add(Kind::kAssertVersion, first_change_).version = result_.version.counter;
  else
    for (std::size_t i = 0; i < first_change_; ++i) add_check(i);
  for (std::size_t i = first_change_; i < wanted_.steps.size(); ++i) add_change(i);
  if (steps.empty()) return center_.post([this] { finish(); });  // zeroes where nothing can be
  pool_->submit(*this);
}

void RadosVector::add_check(std::size_t index) {
  const SubOp& now = step(index);
  if (now.code == OpCode::kAssertVersion) {
    add(Kind::kAssertVersion, index).version = now.version.counter;
    return;
  }
  RadosStep& check = add(Kind::kCompare, index);
  check.offset = now.offset;
  check.data = data_of(index);
}

void RadosVector::add_change(std::size_t index) {
  const SubOp& now = step(index);
  const ConstBytes data = data_of(index);
  const auto change = [&](Kind kind, uint64_t length = 0) -> RadosStep& {
    RadosStep& added = add(kind, index);
    added.offset = now.offset;
    added.length = length;
    added.data = data;
    return added;
  };
  const auto zero = [&] {
    if (now.offset >= kMaxRadosObjectBytes || now.length == 0) return;
    change(Kind::kZero, std::min(now.length, kMaxRadosObjectBytes - now.offset));
  };
  switch (now.code) {
    case OpCode::kWrite:
      change(data.empty() ? Kind::kCreate : Kind::kWrite);
      return;
    case OpCode::kWriteFull:
      change(Kind::kWriteFull);
      return;
    case OpCode::kWriteSame:
      if (is_all_zero(data)) return zero();
      change(Kind::kWriteSame, now.length);
      return;
    case OpCode::kZero:
      return zero();
    case OpCode::kTruncate:
      change(Kind::kCreate);
      change(Kind::kTruncate, now.length);
      return;
    case OpCode::kDelete:
      change(Kind::kRemove);
      return;
    case OpCode::kSetXattr:
      change(Kind::kSetXattr).name = now.name;
      return;
    case OpCode::kOrWrite:
      change(Kind::kWrite).data = wanted_.buffers[index].first(now.length);
      return;
    default:
      LUNAR_CHECK(false, "a step that does not change anything");
  }
}

void RadosVector::on_written() {
  const bool is_conflict = result == -ERANGE || result == -EOVERFLOW || result == -EEXIST;
  if (result == 0) {
    result_.exists = wanted_.steps.back().code != OpCode::kDelete && version != 0;
    result_.version = result_.exists ? ObjectVersion{0, version} : ObjectVersion();
    return finish();
  }
  if (has_read_ && is_conflict) {
    if (rounds_ == kMaxRounds) return fail(first_change_, OsdErrc::kBusy);
    return read();
  }
  if (is_conflict || result <= kMiscompareBase) return fail_check(result);
  fail(first_change_, rados_errc(result, !wanted_.is_repeatable));
}

// By the op's error alone it is known which check has failed, but for the place of several of one
// kind.
void RadosVector::fail_check(int answer) {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const bool is_it = answer <= kMiscompareBase ? steps[i].result <= kMiscompareBase
                                                 : steps[i].kind == Kind::kAssertVersion;
    if (!is_it) continue;
    if (answer > kMiscompareBase) return fail(step_of_[i], OsdErrc::kVersionMismatch);
    result_.steps[step_of_[i]].value = static_cast<uint64_t>(kMiscompareBase - answer);
    return fail(step_of_[i], OsdErrc::kMiscompare);
  }
  fail(first_change_, OsdErrc::kIoError);
}

// --- the end ---

void RadosVector::fail(std::size_t index, OsdErrc error) {
  const bool is_blocklisted = result == -ESHUTDOWN;
  if (error == OsdErrc::kIoError || is_blocklisted)
    LUNAR_LOG_LIMITED(kStore, 0, "RADOS object {}: {}{}", object, std::strerror(-result),
                      is_blocklisted ? ": this server is on Ceph's blocklist" : "");
  result_.error = error;
  result_.steps[index].error = error;
  finish();
}

void RadosVector::refuse(OsdErrc error) {
  result_.error = error;
  if (!result_.steps.empty()) result_.steps.front().error = error;
  done_(result_);
}

void RadosVector::finish() {
  const std::unique_ptr<RadosVector> self(this);
  done_(result_);
}

}  // namespace lunar::osd
