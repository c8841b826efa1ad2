// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "common/inline_function.h"
#include "msgr/local/descriptor_mail.h"
#include "msgr/local/key_table.h"
#include "msgr/local/local_counters.h"
#include "msgr/local/local_stream.h"
#include "msgr/local/shared_arena.h"
#include "msgr/net/stream_link.h"

namespace lunar::msgr::local {

// The memory that this end of a link has let the peer reach. A key is taken back at once unless
// the peer is in the middle of writing by it; then this waits, and after kGrace gives the addresses
// other pages, so that the peer never writes into a buffer that is used for something else. What
// the peer reads is not waited for: it finds out afterwards that the key is gone.
// Loop-bound. Part of a link. Borrows arena and counters, shares the mail.
class GivenKeys {
 public:
  static constexpr std::chrono::milliseconds kGrace{20};

  GivenKeys(EventCenter& center, SharedArena& arena, LocalCounters& counters,
            std::shared_ptr<DescriptorMail> mail);
  // The peer reaches nothing any more.
  ~GivenKeys();

  // Errors: operation_not_supported for memory of others, no_buffer_space for what cannot be handed
  // over: too many keys, or a part of a page that is to be written to.
  Result<RemoteKey> expose(const RegisteredSlice& slice, RemoteAccess access);
  // `done` is posted. `is_through`: the peer said that it has ended with the key.
  void revoke(const RemoteKey& key, bool is_through, IoDone done);
  // Takes all keys back; `ended` is posted when that is done. Each `done` that is still owed ends
  // with `why`. If the peer has left, it is in the middle of nothing.
  void end(std::error_code why, bool has_peer_left, InlineFunction<void()> ended);

 private:
  struct GivenKey {
    KeyName name;
    Bytes memory;
    RemoteAccess access = RemoteAccess::kRead;
  };
  struct WaitingKey {
    GivenKey key;
    EventCenter::Clock::time_point until;
    IoDone done;
  };

  std::error_code hand_over_table();
  std::optional<uint32_t> region_number(const std::shared_ptr<const SharedRegion>& region);
  bool take_back(const GivenKey& key);
  bool take_by_force(const GivenKey& key);
  void free(const GivenKey& key) { free_slots_.push_back(key.name.slot); }
  void check_waiting();
  void schedule_check();

  EventCenter& center_;
  SharedArena& arena_;
  LocalCounters& counters_;
  const std::shared_ptr<DescriptorMail> mail_;
  std::unique_ptr<SharedMapping> table_memory_;  // null until the first key
  std::optional<KeyTable> table_;                // together with it
  std::vector<uint32_t> free_slots_;
  uint32_t next_generation_ = 1;                           // never 0
  std::unordered_map<uint32_t, GivenKey> given_;           // by generation
  std::unordered_map<uint64_t, uint32_t> region_numbers_;  // of those handed over, by their id
  std::vector<WaitingKey> waiting_;                        // the peer is in the middle of a move
  TimerId timer_ = TimerId::kNone;                         // runs while somebody waits
  InlineFunction<void()> ended_;                           // of end(), until it is posted
};

// A link over a Unix socket whose ends move memory by themselves: each has mapped what the other
// exposes, and a move is one memcpy(). Loop-bound.
class LocalLink final : public StreamLink {
 public:
  LocalLink(EventCenter& center, UniqueFd fd, const EndAddresses& addresses,
            const StreamLinkOptions& options, BufferPool& buffers, SharedArena& arena,
            LocalCounters& counters);

  void set_handler(LinkHandler* handler) override;
  void remote_read(RemoteKey from, RegisteredSlice local, IoDone done) override;
  void remote_write(RegisteredSlice local, RemoteKey to, IoDone done) override;
  Result<RemoteKey> expose(RegisteredSlice local, RemoteAccess access) override;
  void revoke(const RemoteKey& key, IoDone done) override;
  void close(InlineFunction<void()> closed) override;

 private:
  LocalLink(EventCenter& center, UniqueFd fd, const EndAddresses& addresses,
            const StreamLinkOptions& options, BufferPool& buffers, SharedArena& arena,
            LocalCounters& counters, std::shared_ptr<DescriptorMail> mail);
  void move(const RemoteKey& key, const RegisteredSlice& local, RemoteAccess access, IoDone done);
  std::error_code try_move(const RemoteKey& key, Bytes local, RemoteAccess access);
  bool has_peer_left() const noexcept;

  const std::shared_ptr<DescriptorMail> mail_;
  GivenKeys keys_;
};

}  // namespace lunar::msgr::local
