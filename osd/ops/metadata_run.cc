// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/metadata_run.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace lunar::osd {

MetadataRun::MetadataRun(const OpEnvironment& environment, const ClientOp& op,
                         std::size_t first_step, std::size_t data_offset, Done done)
    : env_(environment),
      op_(op),
      first_step_(first_step),
      data_offset_(data_offset),
      done_(std::move(done)) {}

void MetadataRun::start() {
  if (needs_content()) return load_size();
  if (const OsdErrc error = apply(); error != OsdErrc::kOk) {
    env_.center.post([this, error] { finish(error); });
    return;
  }
  change();
}

bool MetadataRun::needs_content() const noexcept {
  const OpCode code = op_.header.steps[first_step_].code;
  return code != OpCode::kWriteFull && code != OpCode::kDelete;
}

void MetadataRun::load_size() {
  env_.store.data.stat(op_.object, [this](Result<ObjectData::Stat> stat) {
    if (stat) return load(stat->size);
    const OsdErrc error = wire_error(stat.error());
    if (error != OsdErrc::kNoSuchObject) return finish(error);
    if (const OsdErrc failed = apply(); failed != OsdErrc::kOk) return finish(failed);
    change();
  });
}

void MetadataRun::load(uint64_t size) {
  if (size > env_.limits.max_metadata_bytes) return finish(OsdErrc::kTooLarge);
  exists_ = true;
  resize(size);
  env_.store.data.read(op_.object, 0, content_, [this](std::error_code error) {
    OsdErrc code = wire_error(error);
    if (code == OsdErrc::kOk) code = apply();
    if (code != OsdErrc::kOk) return finish(code);
    change();
  });
}

OsdErrc MetadataRun::apply() {
  std::size_t data_at = data_offset_;
  for (std::size_t i = first_step_; i < op_.header.steps.size(); ++i) {
    const SubOp& step = op_.header.steps[i];
    const ConstBytes data = op_.data().subspan(data_at, step.data_length);
    data_at += step.data_length;
    const bool is_last = i + 1 == op_.header.steps.size();
    if (step.code == OpCode::kWriteFull && is_last) {
      whole_ = data;
      is_whole_ = exists_ = true;
    } else if (const OsdErrc error = apply(step, data); error != OsdErrc::kOk) {
      return error;
    }
  }
  return OsdErrc::kOk;
}

OsdErrc MetadataRun::apply(const SubOp& step, ConstBytes data) {
  const auto extend = [&](uint64_t end) {
    exists_ = true;
    if (end > content_.size()) resize(end);
  };
  const auto zero = [&] {
    const uint64_t end = std::min<uint64_t>(step.offset + step.length, content_.size());
    for (uint64_t at = step.offset; at < end; ++at) content_[at] = std::byte{0};
  };
  switch (step.code) {
    case OpCode::kWrite:
      extend(step.offset + step.length);
      std::memcpy(content_.data() + step.offset, data.data(), data.size());
      return OsdErrc::kOk;
    case OpCode::kWriteFull:
      exists_ = true;
      content_.assign(data.begin(), data.end());
      return OsdErrc::kOk;
    case OpCode::kWriteSame:
      if (std::all_of(data.begin(), data.end(), [](std::byte b) { return b == std::byte{0}; })) {
        zero();
        return OsdErrc::kOk;
      }
      extend(step.offset + step.length);
      for (uint64_t at = 0; at < step.length; at += data.size())
        std::memcpy(content_.data() + step.offset + at, data.data(), data.size());
      return OsdErrc::kOk;
    case OpCode::kZero:
      zero();
      return OsdErrc::kOk;
    case OpCode::kTruncate:
      exists_ = true;
      resize(step.length);
      return OsdErrc::kOk;
    case OpCode::kDelete:
      exists_ = false;
      content_.clear();
      return OsdErrc::kOk;
    case OpCode::kOrWrite:
      extend(step.offset + step.length);
      for (std::size_t i = 0; i < data.size(); ++i) content_[step.offset + i] |= data[i];
      return OsdErrc::kOk;
    default:
      return OsdErrc::kInvalid;
  }
}

void MetadataRun::finish(OsdErrc error) {
  auto done = std::move(done_);  // it may destroy this
  done(error);
}

void MetadataRun::change() {
  env_.versions.change_metadata(op_.object, !exists_, [this](std::error_code error) {
    if (error) return finish(wire_error(error));
    store_content();
  });
}

void MetadataRun::store_content() {
  const auto done = [this](std::error_code error) { finish(wire_error(error)); };
  if (exists_)
    env_.store.names.replace(op_.object, is_whole_ ? whole_ : ConstBytes(content_), done);
  else
    env_.store.names.remove_durably(op_.object, done);
}

}  // namespace lunar::osd
