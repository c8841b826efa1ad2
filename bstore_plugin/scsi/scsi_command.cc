// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/scsi/scsi_command.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "bstore_plugin/scsi/command_tracker.h"
#include "common/check.h"
#include "tracing/tracepoints.h"

// Every path ends in finish(), exactly once; the tracker hands the command to tgt later.

namespace lunar::bstore_plugin {

using gateway::IoResult;

namespace {

// What VERIFY reads at a time.
constexpr uint64_t kVerifiedAtOnce = 1u << 20;

}  // namespace

void ScsiCommand::start(CommandTracker& tracker, std::shared_ptr<gateway::Image> image,
                        std::shared_ptr<Reach> reach, std::shared_ptr<CachedWrites> cached,
                        const LunLimits& limits, const lunar_scsi_command& command) {
  auto* self = new ScsiCommand(tracker, std::move(image), std::move(reach), std::move(cached),
                               limits, command);
  tracker.on_started(*self);
  self->execute();
}

ScsiCommand::ScsiCommand(CommandTracker& tracker, std::shared_ptr<gateway::Image> image,
                         std::shared_ptr<Reach> reach, std::shared_ptr<CachedWrites> cached,
                         const LunLimits& limits, const lunar_scsi_command& command)
    : tracker_(tracker),
      image_(std::move(image)),
      reach_(std::move(reach)),
      cached_(std::move(cached)),
      limits_(limits),
      command_(command) {
  io_id_ = tracker_.place().client.next_io_id();
}

void ScsiCommand::execute() {
  const ConstBytes cdb(reinterpret_cast<const std::byte*>(command_.cdb), command_.cdb_bytes);
  const auto parsed = parse_cdb(cdb);
  if (parsed) cdb_ = *parsed;
  const uint8_t op_code = cdb.empty() ? 0 : command_.cdb[0];
  LUNAR_TRACE(lunar_scsi, cmd_start, io_id_, image_->spec().image.c_str(), op_code, cdb_.lba,
              cdb_.num_blocks, cdb_.num_blocks << limits_.block_shift);
  if (!parsed) return refuse(SenseKey::kIllegalRequest, Asc::kInvalidOpCode);
  if (!check_cdb_fields() || !check_cdb()) return;
  if (must_write_back()) return write_back();
  carry_out();
}

bool ScsiCommand::changes_medium() const noexcept {
  switch (cdb_.kind) {
    case CommandKind::kWrite:
    case CommandKind::kWriteAndVerify:
    case CommandKind::kUnmap:
    case CommandKind::kWriteSame:
    case CommandKind::kCompareAndWrite:
    case CommandKind::kOrWrite:
      return true;
    default:
      return false;
  }
}

// The cache was turned off: what it had is durable before anything else changes, or its loss is
// told by this command, as SYNCHRONIZE CACHE is not sent any more.
bool ScsiCommand::must_write_back() const noexcept {
  if (cached_->are_written_back()) return false;
  return cdb_.kind == CommandKind::kWriteBack ||
         (command_.force_unit_access != 0 && changes_medium());
}

void ScsiCommand::write_back() {
  image_->write_back(io_options(), [this, last = cached_->last()](const IoResult& result) {
    if (!result.error) cached_->on_written_back(last);
    has_failed_to_write_back_ = static_cast<bool>(result.error);
    if (result.error) return finish_as(result);
    if (is_cancelled_) return finish_cancelled();
    carry_out();
  });
}

void ScsiCommand::carry_out() {
  if (changes_medium() && !io_options().fua) cached_->on_write();
  switch (cdb_.kind) {
    case CommandKind::kRead:
      return read();
    case CommandKind::kWrite:
    case CommandKind::kWriteAndVerify:
      return write();
    case CommandKind::kVerify:
      return verify();
    case CommandKind::kSynchronizeCache:
      return image_->flush(io_options(), [this](const IoResult& result) { finish_as(result); });
    case CommandKind::kUnmap:
      return unmap();
    case CommandKind::kWriteSame:
      return write_same();
    case CommandKind::kCompareAndWrite:
      return compare_and_write();
    case CommandKind::kOrWrite:
      return or_write();
    // GOOD, and not CONDITION MET: not all of it is in the cache (SBC-4 5.15). Says nothing of the
    // medium.
    case CommandKind::kPreFetch:
      return finish(Sense{});
    case CommandKind::kGetLbaStatus:
      return lba_status();
    case CommandKind::kTestUnitReady:
      return test_unit_ready();
    case CommandKind::kWriteBack:
      result_.transferred_out = command_.data_out_bytes;  // tgt has taken it
      return finish(Sense{});
  }
}

// Fields whose values we do not take, whatever the range.
bool ScsiCommand::check_cdb_fields() {
  const bool has_bad_byte_check =
      cdb_.byte_check == 2 || (cdb_.byte_check == 3 && cdb_.kind == CommandKind::kWriteAndVerify);
  if (cdb_.protect != 0 || cdb_.anchor || cdb_.obsolete_same != 0 || has_bad_byte_check) {
    refuse(SenseKey::kIllegalRequest, Asc::kInvalidFieldInCdb);
    return false;
  }
  return true;
}

bool ScsiCommand::check_range(uint64_t lba, uint64_t num_blocks) {
  const uint64_t capacity = image_->size() >> limits_.block_shift;
  const bool is_outside =
      lba > capacity || num_blocks > capacity - lba || (num_blocks == 0 && lba == capacity);
  if (is_outside) refuse(SenseKey::kIllegalRequest, Asc::kLbaOutOfRange);
  return !is_outside;
}

bool ScsiCommand::check_cdb() {
  uint64_t limit = limits_.max_transfer_bytes;
  switch (cdb_.kind) {
    case CommandKind::kUnmap:
    case CommandKind::kTestUnitReady:
    case CommandKind::kWriteBack:
      return true;
    case CommandKind::kWriteSame:
      limit = limits_.max_write_same_bytes;
      if (cdb_.num_blocks == 0) limit = 0;  // WSNZ
      break;
    case CommandKind::kCompareAndWrite:
      limit = limits_.max_compare_and_write_bytes;
      break;
    case CommandKind::kVerify:
      if (cdb_.byte_check != 1) limit = UINT64_MAX;
      break;
    case CommandKind::kSynchronizeCache:
    case CommandKind::kPreFetch:
    case CommandKind::kGetLbaStatus:
      limit = UINT64_MAX;
      break;
    default:
      break;
  }
  if (!check_range(cdb_.lba, cdb_.num_blocks)) return false;
  if (limit == 0 || length() > limit) {
    refuse(SenseKey::kIllegalRequest, Asc::kInvalidFieldInCdb);
    return false;
  }
  return true;
}

gateway::IoOptions ScsiCommand::io_options() const {
  const bool must_be_durable =
      cdb_.fua || command_.force_unit_access != 0 || cdb_.kind == CommandKind::kWriteAndVerify;
  return {.fua = must_be_durable, .io_id = io_id_};
}

gateway::IoOptions ScsiCommand::io_options(const void* data) const {
  gateway::IoOptions options = io_options();
  if (tracker_.place().data_buffers != nullptr)
    options.memory = tracker_.place().data_buffers->find(data);
  return options;
}

uint64_t ScsiCommand::given_bytes() const noexcept {
  const uint64_t given = std::min<uint64_t>(length(), command_.data_out_bytes);
  return given >> limits_.block_shift << limits_.block_shift;
}

// Answers from what is known: a path checker asks every few seconds, and must not wait.
void ScsiCommand::test_unit_ready() {
  IoResult result;
  result.error = image_->readiness();
  if (!result.error && !reach_->is_reached()) {
    return refuse(SenseKey::kNotReady, Asc::kNotReadyCauseNotReportable);
  }
  finish_as(result);
}

// FUA, SBC-4 5.13: what is read is on the medium.
void ScsiCommand::read() {
  if (!cdb_.fua) return read_stored();
  image_->flush(io_options(), [this](const IoResult& result) {
    if (result.error == objecter::OsdErrc::kLostWrites) image_->on_loss_unheard();
    if (result.error) return finish_as(result);
    if (is_cancelled_) return finish_cancelled();
    read_stored();
  });
}

void ScsiCommand::read_stored() {
  // The initiator may have room for less than it asks for: SAM-5 5.4.2, residuals.
  const uint64_t wanted = std::min<uint64_t>(length(), command_.data_in_bytes);
  result_.transferred_in = static_cast<uint32_t>(length());
  image_->read(offset(), {static_cast<std::byte*>(command_.data_in), wanted},
               io_options(command_.data_in), [this](const IoResult& result) { finish_as(result); });
}

void ScsiCommand::write() {
  const uint64_t given = given_bytes();
  result_.transferred_out = static_cast<uint32_t>(length());
  const ConstBytes data(static_cast<const std::byte*>(command_.data_out), given);
  image_->write(offset(), data, io_options(command_.data_out), [this](const IoResult& result) {
    if (result.error || cdb_.kind != CommandKind::kWriteAndVerify) return finish_as(result);
    if (is_cancelled_) return finish_cancelled();
    verify();
  });
}

void ScsiCommand::verify() {
  if (cdb_.kind == CommandKind::kVerify) {
    const uint64_t compared = cdb_.byte_check == 3 ? uint64_t{1} << limits_.block_shift : length();
    result_.transferred_out = cdb_.byte_check == 0 ? 0 : static_cast<uint32_t>(compared);
    if (cdb_.byte_check != 0 && length() != 0 && command_.data_out_bytes < compared) {
      return refuse(SenseKey::kIllegalRequest, Asc::kInvalidFieldInCdb);
    }
    if (cdb_.byte_check != 0 && length() > limits_.max_transfer_bytes) {
      return refuse(SenseKey::kIllegalRequest, Asc::kInvalidFieldInCdb);
    }
  }
  verify_next();
}

// A piece at a time, SBC-4 5.36. With BYTCHK 0 there is nothing to compare with, and no limit of
// length: every block is read, so that the command is good only if a READ would be. What is not
// allocated is zero, and not fetched.
void ScsiCommand::verify_next() {
  if (is_cancelled_) return finish_cancelled();
  const uint64_t total = cdb_.kind == CommandKind::kVerify ? length() : given_bytes();
  if (verified_bytes_ == total) return finish(Sense{});
  const uint64_t bytes = std::min(total - verified_bytes_, kVerifiedAtOnce);
  if (cdb_.byte_check != 0) return verify_bytes(bytes);
  const uint64_t at = offset() + verified_bytes_;
  image_->allocation_at(at, io_id_, [this, total](Result<gateway::Image::Allocation> found) {
    if (is_cancelled_) return finish_cancelled();
    if (!found) {
      IoResult failed;
      failed.error = found.error();
      return finish_as(failed);
    }
    const uint64_t run = std::min(found->length, total - verified_bytes_);
    if (found->is_allocated) return verify_bytes(std::min(run, kVerifiedAtOnce));
    verified_bytes_ += run;
    verify_next();
  });
}

void ScsiCommand::verify_bytes(uint64_t bytes) {
  if (!scratch_) {
    scratch_ = tracker_.place().client.buffers().allocate(std::min(length(), kVerifiedAtOnce));
    if (!scratch_) return finish(Sense{ScsiStatus::kBusy, SenseKey::kNoSense, Asc::kNone});
  }
  const Bytes into = scratch_.bytes().first(bytes);
  image_->read(offset() + verified_bytes_, into, io_options(),
               [this, into](const IoResult& result) {
                 if (result.error) return finish_as(result);
                 if (cdb_.byte_check != 0) {
                   if (const auto differs = first_difference(into)) {
                     const uint64_t byte = verified_bytes_ + *differs;
                     return miscompare_at(cdb_.lba + (byte >> limits_.block_shift));
                   }
                 }
                 verified_bytes_ += into.size();
                 verify_next();
               });
}

// Where the piece from verified_bytes_ on is not what was sent.
std::optional<uint64_t> ScsiCommand::first_difference(ConstBytes stored) const {
  const auto* const sent = static_cast<const std::byte*>(command_.data_out);
  const bool is_one_block = cdb_.byte_check == 3;  // was sent, for all
  const std::size_t unit = is_one_block ? std::size_t{1} << limits_.block_shift : stored.size();
  for (std::size_t at = 0; at < stored.size(); at += unit) {
    const ConstBytes wanted(is_one_block ? sent : sent + verified_bytes_, unit);
    if (std::memcmp(stored.data() + at, wanted.data(), unit) == 0) continue;
    const ConstBytes found = stored.subspan(at, unit);
    const auto differs = std::mismatch(found.begin(), found.end(), wanted.begin()).first;
    return at + static_cast<uint64_t>(differs - found.begin());
  }
  return std::nullopt;
}

void ScsiCommand::unmap() {
  const ConstBytes list(static_cast<const std::byte*>(command_.data_out), command_.data_out_bytes);
  result_.transferred_out = cdb_.parameter_bytes;
  const auto ranges = parse_unmap_list(list, cdb_.parameter_bytes, limits_.max_unmap_descriptors);
  if (!ranges) {
    return refuse(SenseKey::kIllegalRequest, ranges.error() == UnmapListError::kLength
                                                 ? Asc::kParameterListLength
                                                 : Asc::kInvalidFieldInParameterList);
  }
  uint64_t blocks = 0;
  for (const LbaRange& range : *ranges) {
    if (!check_range(range.lba, range.num_blocks)) return;
    blocks += range.num_blocks;  // at most 256 × 2^32
  }
  if (blocks > limits_.max_unmap_bytes >> limits_.block_shift) {
    return refuse(SenseKey::kIllegalRequest, Asc::kInvalidFieldInParameterList);
  }
  if (ranges->empty()) return finish(Sense{});
  ranges_in_flight_ = static_cast<uint32_t>(ranges->size());
  for (const LbaRange& range : *ranges) {
    image_->discard(range.lba << limits_.block_shift, range.num_blocks << limits_.block_shift,
                    io_options(), [this](const IoResult& result) {
                      if (result.error && !joined_.error) joined_ = result;
                      if (--ranges_in_flight_ == 0) finish_as(joined_);
                    });
  }
}

void ScsiCommand::write_same() {
  const auto done = [this](const IoResult& result) { finish_as(result); };
  const uint32_t block_bytes = 1u << limits_.block_shift;
  if (cdb_.has_no_data_out) {
    if (command_.data_out_bytes != 0) {
      return refuse(SenseKey::kIllegalRequest, Asc::kInvalidFieldInCdb);
    }
    return image_->write_zeroes(offset(), length(), io_options(), done);
  }
  if (command_.data_out_bytes != block_bytes) {
    return refuse(SenseKey::kIllegalRequest, Asc::kInvalidFieldInCdb);
  }
  result_.transferred_out = block_bytes;
  const ConstBytes pattern(static_cast<const std::byte*>(command_.data_out), block_bytes);
  const bool is_zero =
      std::all_of(pattern.begin(), pattern.end(), [](std::byte b) { return b == std::byte{0}; });
  // With the UNMAP bit data that is not zero is written all the same: LBPRZ, SBC-4 5.49.
  if (is_zero) return image_->write_zeroes(offset(), length(), io_options(), done);
  image_->write_same(offset(), length(), pattern, io_options(), done);
}

void ScsiCommand::compare_and_write() {
  const uint64_t bytes = length();
  result_.transferred_out = static_cast<uint32_t>(2 * bytes);
  // A count of 256 arrives as 0, with data: never take less than what was sent for all of it.
  if (command_.data_out_bytes != 2 * bytes) {
    return refuse(SenseKey::kIllegalRequest, Asc::kInvalidFieldInCdb);
  }
  if (bytes == 0) return finish(Sense{});
  const ConstBytes data(static_cast<const std::byte*>(command_.data_out), 2 * bytes);
  image_->compare_and_write(offset(), data.first(bytes), data.subspan(bytes), io_options(),
                            [this](const IoResult& result) {
                              if (result.error == objecter::OsdErrc::kMiscompare) {
                                return miscompare_at(result.value);  // SBC-4 5.3: a byte
                              }
                              finish_as(result);
                            });
}

void ScsiCommand::or_write() {
  const uint64_t given = given_bytes();
  result_.transferred_out = static_cast<uint32_t>(length());
  const ConstBytes data(static_cast<const std::byte*>(command_.data_out), given);
  image_->or_write(offset(), data, io_options(),
                   [this](const IoResult& result) { finish_as(result); });
}

void ScsiCommand::lba_status() {
  if (cdb_.parameter_bytes == 0) return finish(Sense{});
  const std::size_t room = std::min<std::size_t>(cdb_.parameter_bytes, command_.data_in_bytes);
  lba_status_ = std::make_unique<LbaStatusAnswer>(offset(), limits_.block_shift, room);
  ask_lba_status();
}

void ScsiCommand::ask_lba_status() {
  if (!lba_status_->wants_more(image_->size())) return send_lba_status();
  if (command_.is_thin == 0) {  // fully provisioned, and all of it mapped: SBC-4 4.7
    lba_status_->add({image_->size() - lba_status_->next(), true}, image_->size());
    return send_lba_status();
  }
  image_->allocation_at(lba_status_->next(), io_id_,
                        [this](Result<gateway::Image::Allocation> found) {
                          if (is_cancelled_) return finish_cancelled();
                          if (!found) {
                            IoResult failed;
                            failed.error = found.error();
                            return finish_as(failed);
                          }
                          lba_status_->add(*found, image_->size());
                          ask_lba_status();
                        });
}

void ScsiCommand::send_lba_status() {
  const std::vector<std::byte> out = lba_status_->encode();
  const std::size_t sent = std::min<std::size_t>(out.size(), cdb_.parameter_bytes);
  std::memcpy(command_.data_in, out.data(), std::min<std::size_t>(sent, command_.data_in_bytes));
  result_.transferred_in = static_cast<uint32_t>(sent);
  finish(Sense{});
}

void ScsiCommand::finish_as(const IoResult& result) {
  const bool is_write = cdb_.kind != CommandKind::kRead && cdb_.kind != CommandKind::kVerify &&
                        cdb_.kind != CommandKind::kGetLbaStatus;
  ends_with_loss_ = result.error == objecter::OsdErrc::kLostWrites;
  const bool is_of_whole_image =
      has_failed_to_write_back_ || cdb_.kind == CommandKind::kSynchronizeCache ||
      cdb_.kind == CommandKind::kWriteBack || cdb_.kind == CommandKind::kUnmap;
  const std::error_code& reason = result.reason ? result.reason : result.error;
  if (!is_of_whole_image) {
    reach_->on_io(reason, offset(), length());
  } else if (result.error) {  // there may have been nothing to do
    reach_->on_io(reason, 0, image_->size());
  }
  finish(sense_of(result.error, is_write, tracker_.place().is_busy_on_timeout));
}

// Aborted between two of its steps.
void ScsiCommand::finish_cancelled() {
  IoResult result;
  result.error = make_error_code(objecter::OsdErrc::kCancelled);
  finish_as(result);
}

void ScsiCommand::miscompare_at(uint64_t information) {
  result_.has_info = 1;
  result_.info = information;
  refuse(SenseKey::kMiscompare, Asc::kMiscompareDuringVerify);
}

void ScsiCommand::finish(Sense sense) {
  LUNAR_CHECK(!is_finished_, "a SCSI command finished twice");
  is_finished_ = true;
  result_.status = static_cast<uint8_t>(sense.status);
  result_.sense_key = static_cast<uint8_t>(sense.key);
  result_.asc_ascq = static_cast<uint16_t>(sense.asc);
  if (sense.status != ScsiStatus::kGood) result_.transferred_in = result_.transferred_out = 0;
  LUNAR_TRACE(lunar_scsi, cmd_done, io_id_, result_.status, result_.sense_key, result_.asc_ascq);
  tracker_.on_finished(*this);
}

void ScsiCommand::cancel_if_aborted() {
  if (tracker_.place().host.is_aborted(command_.handle) == 0) return;
  if (!std::exchange(is_cancelled_, true)) {
    LUNAR_TRACE(lunar_scsi, cmd_abort, io_id_, command_.cdb[0]);
  }
  image_->cancel(io_id_);  // each time: the command may have begun another
}

void ScsiCommand::complete() {
  // tgt drops the response of an aborted command.
  if (ends_with_loss_ && tracker_.place().host.is_aborted(command_.handle) != 0) {
    image_->on_loss_unheard();
  }
  const lunar_scsi_result result = result_;
  void* const handle = command_.handle;
  const lunar_host& host = tracker_.place().host;
  LUNAR_TRACE(lunar_scsi, cmd_returned, io_id_);
  delete this;
  host.complete(handle, &result);
}

}  // namespace lunar::bstore_plugin
