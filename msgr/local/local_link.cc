// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/local/local_link.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/log_limited.h"
#include "msgr/errors.h"
#include "msgr/memory/buddy.h"

namespace lunar::msgr::local {
namespace {

constexpr std::chrono::milliseconds kCheckInterval{1};
constexpr auto kMaxMoveBytes = static_cast<uint32_t>(Buddy::kLargest);

Bytes bytes_of(const RegisteredSlice& slice) noexcept {
  const Bytes memory = slice.buffer->bytes();
  LUNAR_CHECK(slice.offset <= memory.size() && slice.length <= memory.size() - slice.offset,
              "a slice lies in its buffer");
  return memory.subspan(slice.offset, slice.length);
}

// Whether its pages can be replaced without touching bytes of others: the pool lends whole pages,
// so those of a buffer's end are its own.
bool has_whole_pages(const RegisteredSlice& slice) noexcept {
  const bool is_end = slice.offset + slice.length == slice.buffer->bytes().size();
  return slice.offset % kPage == 0 && (is_end || slice.length % kPage == 0);
}

}  // namespace

// --- GivenKeys ---

GivenKeys::GivenKeys(EventCenter& center, SharedArena& arena, LocalCounters& counters,
                     std::shared_ptr<DescriptorMail> mail)
    : center_(center), arena_(arena), counters_(counters), mail_(std::move(mail)) {}

GivenKeys::~GivenKeys() {
  end(make_error_code(MsgrErrc::kClosed), false, std::move(ended_));
  center_.cancel(timer_);
  for (const WaitingKey& waiting : waiting_) {
    LUNAR_CHECK(take_by_force(waiting.key),
                "memory cannot be taken back from a peer that writes to it");
  }
  if (ended_) center_.post(std::move(ended_));
}

std::error_code GivenKeys::hand_over_table() {
  auto fd = make_sealed_memory(kKeyTableBytes);
  if (!fd) return fd.error();
  auto mapped = SharedMapping::map(*fd, kKeyTableBytes);
  if (!mapped) return mapped.error();
  table_memory_ = std::move(*mapped);
  table_.emplace(table_memory_->bytes());
  for (uint32_t slot = kMaxKeys; slot-- > 0;) free_slots_.push_back(slot);
  auto region = std::make_shared<SharedRegion>();
  region->fd = std::move(*fd);
  mail_->post(std::move(region));
  return {};
}

std::optional<uint32_t> GivenKeys::region_number(
    const std::shared_ptr<const SharedRegion>& region) {
  const auto known = region_numbers_.find(region->id);
  if (known != region_numbers_.end()) return known->second;
  if (region_numbers_.size() >= kMaxRegions) return std::nullopt;
  const auto number = static_cast<uint32_t>(region_numbers_.size() + 1);
  region_numbers_.emplace(region->id, number);
  mail_->post(region);
  counters_.regions_out.add_shared();
  return number;
}

Result<RemoteKey> GivenKeys::expose(const RegisteredSlice& slice, RemoteAccess access) {
  const Bytes memory = bytes_of(slice);
  const auto place = arena_.find(memory);
  if (!place) return failure(std::make_error_code(std::errc::operation_not_supported));
  const auto no_room = failure(std::make_error_code(std::errc::no_buffer_space));
  if (access == RemoteAccess::kWrite && !has_whole_pages(slice)) return no_room;
  if (!table_) {
    if (const auto error = hand_over_table()) return failure(error);
  }
  if (free_slots_.empty()) return no_room;
  const auto region = region_number(place->region);
  if (!region) return no_room;
  GivenKey given;
  given.name = {free_slots_.back(), next_generation_};
  given.memory = memory;
  given.access = access;
  free_slots_.pop_back();
  next_generation_ = next_generation_ == UINT32_MAX ? 1 : next_generation_ + 1;
  const KeyRange range{*region, place->offset, slice.length, access};
  table_->publish(given.name, range);
  given_.emplace(given.name.generation, given);
  return given.name.encode(range);
}

void GivenKeys::revoke(const RemoteKey& key, bool is_through, IoDone done) {
  const auto found = given_.find(key.rkey);
  if (found == given_.end()) {
    return center_.post_done(std::move(done),
                             std::make_error_code(std::errc::operation_not_supported));
  }
  const GivenKey given = found->second;
  given_.erase(found);
  if (is_through) table_->force(given.name);
  if (is_through || take_back(given)) {
    free(given);
    return center_.post_done(std::move(done), {});
  }
  counters_.keys_waited.add_shared();
  waiting_.push_back({given, center_.now() + kGrace, std::move(done)});
  schedule_check();
}

void GivenKeys::end(std::error_code why, bool has_peer_left, InlineFunction<void()> ended) {
  for (const auto& [generation, given] : given_) {
    if (take_back(given) || has_peer_left) continue;
    counters_.keys_waited.add_shared();
    waiting_.push_back({given, center_.now() + kGrace, {}});
  }
  given_.clear();
  for (WaitingKey& waiting : waiting_) center_.post_done(std::move(waiting.done), why);
  if (has_peer_left) waiting_.clear();
  ended_ = std::move(ended);
  check_waiting();
}

// Whether the peer can reach the memory no more.
bool GivenKeys::take_back(const GivenKey& key) {
  if (key.access == RemoteAccess::kWrite) return table_->take_back(key.name);
  table_->force(key.name);
  return true;
}

bool GivenKeys::take_by_force(const GivenKey& key) {
  if (const auto error = arena_.replace(key.memory)) {
    LUNAR_LOG_LIMITED(kMs, 0, "a buffer stays with a peer that does not end its move: {}",
                      error.message());
    return false;
  }
  table_->force(key.name);
  counters_.keys_forced.add_shared();
  return true;
}

void GivenKeys::check_waiting() {
  std::erase_if(waiting_, [this](WaitingKey& waiting) {
    const bool is_back = table_->take_back(waiting.key.name) ||
                         (center_.now() >= waiting.until && take_by_force(waiting.key));
    if (!is_back) return false;
    free(waiting.key);
    center_.post_done(std::move(waiting.done), {});
    return true;
  });
  if (!waiting_.empty()) return schedule_check();
  if (ended_) center_.post(std::exchange(ended_, {}));
}

void GivenKeys::schedule_check() {
  if (timer_ != TimerId::kNone) return;
  timer_ = center_.run_after(kCheckInterval, [this] {
    timer_ = TimerId::kNone;
    check_waiting();
  });
}

// --- LocalLink ---

LocalLink::LocalLink(EventCenter& center, UniqueFd fd, const EndAddresses& addresses,
                     const StreamLinkOptions& options, BufferPool& buffers, SharedArena& arena,
                     LocalCounters& counters)
    : LocalLink(center, std::move(fd), addresses, options, buffers, arena, counters,
                std::make_shared<DescriptorMail>()) {}

LocalLink::LocalLink(EventCenter& center, UniqueFd fd, const EndAddresses& addresses,
                     const StreamLinkOptions& options, BufferPool& buffers, SharedArena& arena,
                     LocalCounters& counters, std::shared_ptr<DescriptorMail> mail)
    : StreamLink(center, make_local_stream(center, std::move(fd), addresses, mail), buffers,
                 options),
      mail_(mail),
      keys_(center, arena, counters, std::move(mail)) {
  mutable_capabilities().one_sided = true;
  mutable_capabilities().max_fragment_bytes = kMaxMoveBytes;
}

void LocalLink::set_handler(LinkHandler* handler) {
  // Handshakes bound their fronts; sessions do not.
  if (handler != nullptr && handler->max_front_bytes() == UINT32_MAX) mail_->open();
  StreamLink::set_handler(handler);
}

void LocalLink::remote_read(RemoteKey from, RegisteredSlice local, IoDone done) {
  move(from, local, RemoteAccess::kRead, std::move(done));
}

void LocalLink::remote_write(RegisteredSlice local, RemoteKey to, IoDone done) {
  move(to, local, RemoteAccess::kWrite, std::move(done));
}

void LocalLink::move(const RemoteKey& key, const RegisteredSlice& local, RemoteAccess access,
                     IoDone done) {
  center().assert_in_loop();
  LUNAR_CHECK(local.length <= kMaxMoveBytes, "a fragment that is too long");
  const Bytes memory = bytes_of(local);
  if (!is_open()) return center().post_done(std::move(done), error());
  // Moved now, so before any frame that is queued from here on; told later.
  const auto result = try_move(key, memory, access);
  center().post_done(std::move(done), result);
  if (result) fail(result);
}

std::error_code LocalLink::try_move(const RemoteKey& key, Bytes local, RemoteAccess access) {
  const auto refused = std::make_error_code(std::errc::permission_denied);
  uint32_t number = 0;
  uint32_t offset = 0;
  const KeyName name = KeyName::decode(key, number, offset);
  if (mail_->table() == nullptr || name.slot >= kMaxKeys || local.size() > key.length) {
    return refused;
  }
  KeyTable table(mail_->table()->bytes());
  const auto range = table.begin_move(name);
  if (!range) return refused;
  const Bytes region = mail_->region(number);
  const bool is_inside = range->region == number && range->access == access &&
                         offset >= range->offset && offset - range->offset <= range->length &&
                         local.size() <= range->length - (offset - range->offset) &&
                         offset <= region.size() && local.size() <= region.size() - offset;
  if (is_inside && !local.empty()) {
    std::byte* const remote = region.data() + offset;
    const bool is_write = access == RemoteAccess::kWrite;
    std::memcpy(is_write ? remote : local.data(), is_write ? local.data() : remote, local.size());
  }
  const bool is_still_open = table.end_move(name);
  return is_inside && is_still_open ? std::error_code() : refused;
}

Result<RemoteKey> LocalLink::expose(RegisteredSlice local, RemoteAccess access) {
  center().assert_in_loop();
  if (!is_open()) return failure(error());
  return keys_.expose(local, access);
}

void LocalLink::revoke(const RemoteKey& key, IoDone done) {
  center().assert_in_loop();
  if (!is_open()) return center().post_done(std::move(done), error());
  const bool is_through = !done;
  keys_.revoke(key, is_through, std::move(done));
}

// Its socket is closed with the last of what it was doing, and a process that was killed has left
// its address space before its sockets.
bool LocalLink::has_peer_left() const noexcept {
  return !is_open() &&
         (error() == MsgrErrc::kClosedByPeer || error() == std::errc::connection_reset ||
          error() == std::errc::broken_pipe);
}

void LocalLink::close(InlineFunction<void()> closed) {
  center().assert_in_loop();
  const bool is_peer_gone = has_peer_left();
  StreamLink::close({});
  keys_.end(make_error_code(MsgrErrc::kClosed), is_peer_gone, std::move(closed));
}

}  // namespace lunar::msgr::local
