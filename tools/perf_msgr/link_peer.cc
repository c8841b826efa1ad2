// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fmt/format.h>

#include <optional>
#include <utility>
#include <vector>

#include "msgr/errors.h"
#include "tools/perf_msgr/buffers.h"
#include "tools/perf_msgr/link_frames.h"
#include "tools/perf_msgr/link_opener.h"
#include "tools/perf_msgr/peer.h"

namespace lunar::perf_msgr {
namespace {

// Ops on a bare link: no session, no authentication, nothing replayed. Loop-bound.
class LinkPeer final : public Peer, msgr::LinkHandler {
 public:
  LinkPeer(msgr::EventCenter& center, const Environment& environment, const msgr::Address& server,
           const Job& job, PeerEvents& events)
      : center_(center),
        environment_(environment),
        server_(server),
        job_(job),
        events_(events),
        slots_(job.depth) {}

  void open() override {
    opener_.emplace(center_, environment_.stack, server_,
                    [this](Outcome<std::unique_ptr<msgr::Link>> link) { opened(std::move(link)); });
  }

  void submit(uint32_t slot) override {
    Slot& at = slots_[slot];
    const msgr::RegisteredSlice slice{&at.buffer, 0, job_.bytes};
    switch (job_.pattern) {
      case Pattern::kSend:
        return link_->send(make_frame(Type::kRequest, slot, {}, at.buffer.bytes()), {});
      case Pattern::kRead:
        return link_->remote_read(server_key_, slice, done_of(slot));
      case Pattern::kWrite:
        return link_->remote_write(slice, server_key_, done_of(slot));
      case Pattern::kPull:
      case Pattern::kPush:
        return expose_and_ask(slot, slice);
    }
  }

  void ask_stats() override { link_->send(make_frame(Type::kStop, 0, {}), {}); }

  void close(UniqueFunction<void()> closed) override {
    is_over_ = true;
    buffers_.reset();
    opener_.reset();
    if (link_ == nullptr) return center_.post(std::move(closed));
    link_->close(std::move(closed));
  }

  msgr::LinkCounters counters() const override {
    return link_ == nullptr ? msgr::LinkCounters() : link_->counters();
  }

 private:
  struct Slot {
    msgr::RegisteredBuffer buffer;  // sent from or moved to
    msgr::RegisteredBuffer reply;   // where a reply's data goes
    std::optional<msgr::RemoteKey> key;
  };

  // Opening

  void opened(Outcome<std::unique_ptr<msgr::Link>> link) {
    if (!link) return fail(std::move(link.error()));
    link_ = std::move(*link);
    link_->set_handler(this);
    if (is_one_sided(job_.pattern) && !link_->capabilities().one_sided) {
      return fail_with(std::make_error_code(std::errc::operation_not_supported),
                       "one-sided ops need RDMA on both sides (--type rdma)");
    }
    // What is exposed has to come from the front-end pool; the other patterns take what a server
    // of an image would.
    auto& pool = environment_.stack.front_end_buffers();
    buffers_.emplace(center_, pool, job_.bytes, job_.depth,
                     [this](std::vector<msgr::RegisteredBuffer> taken) {
                       take_buffers(std::move(taken), &Slot::buffer, job_.bytes);
                     });
  }

  void take_buffers(std::vector<msgr::RegisteredBuffer> taken, msgr::RegisteredBuffer Slot::*where,
                    uint32_t bytes) {
    if (bytes != 0 && taken.size() < slots_.size()) {
      return fail_with(std::make_error_code(std::errc::not_enough_memory),
                       "the stack has not enough buffers for that size and depth");
    }
    for (std::size_t i = 0; i < taken.size(); ++i) slots_[i].*where = std::move(taken[i]);
    if (where == &Slot::buffer) {
      buffers_.emplace(center_, environment_.stack.buffers(), job_.reply_bytes, job_.depth,
                       [this](std::vector<msgr::RegisteredBuffer> replies) {
                         take_buffers(std::move(replies), &Slot::reply, job_.reply_bytes);
                       });
      return;
    }
    link_->send(make_frame(Type::kStart, 0, encode(job_)), {});
  }

  // Ops

  msgr::IoDone done_of(uint32_t slot) {
    return [this, slot](std::error_code error) {
      if (is_over_) return;
      if (error) return fail_with(error, "a one-sided op failed");
      events_.on_done(*this, slot);
    };
  }

  void expose_and_ask(uint32_t slot, const msgr::RegisteredSlice& slice) {
    const auto access =
        job_.pattern == Pattern::kPull ? msgr::RemoteAccess::kRead : msgr::RemoteAccess::kWrite;
    const auto key = link_->expose(slice, access);
    if (!key) return fail_with(key.error(), "cannot expose a buffer");
    slots_[slot].key = *key;
    link_->send(make_frame(Type::kRequest, slot, encode(*key)), {});
  }

  // LinkHandler

  Bytes payload_for(const msgr::FrameHeader& header, ConstBytes) override {
    const uint64_t slot = header.tid.value();
    if (type_of(header) != Type::kReply || slot >= slots_.size()) return {};
    const Bytes place = slots_[slot].reply.bytes();
    return place.size() == header.data_length.value() ? place : Bytes();
  }

  void on_frame(msgr::ReceivedFrame frame) override {
    if (is_over_) return;
    switch (type_of(frame.header)) {
      case Type::kReady:
        return ready(frame);
      case Type::kReply:
        return replied(frame);
      case Type::kStats:
        if (const auto stats = decode_stats(frame.front)) return events_.on_stats(*this, *stats);
        break;
      default:
        break;
    }
    fail_with(msgr::Errc::kBadFrame, "the server does not answer as lunar-perf-msgr does");
  }

  void ready(const msgr::ReceivedFrame& frame) {
    const auto key = decode_key(frame.front);
    const bool needs_key = job_.pattern == Pattern::kRead || job_.pattern == Pattern::kWrite;
    if (!key || (needs_key && key->length != job_.bytes)) {
      return fail_with(msgr::Errc::kBadFrame, "the server refused the job");
    }
    server_key_ = *key;
    events_.on_opened(*this);
  }

  void replied(const msgr::ReceivedFrame& frame) {
    const uint64_t slot = frame.header.tid.value();
    if (slot >= slots_.size()) return fail_with(msgr::Errc::kBadFrame, "a reply to no request");
    if (!frame.front.empty()) {
      return fail_with(std::make_error_code(std::errc::io_error),
                       fmt::format("the server says: {}", as_text(frame.front)));
    }
    // The reply came on the link the key was sent on: the server is through with it.
    if (slots_[slot].key) link_->revoke(*std::exchange(slots_[slot].key, std::nullopt), {});
    events_.on_done(*this, static_cast<uint32_t>(slot));
  }

  void on_closed(std::error_code why) override {
    if (!is_over_) fail_with(why, "the connection broke");
  }

  void fail_with(std::error_code code, const std::string& what) {
    fail({code, fmt::format("{}: {}: {}", server_.to_string(), what, code.message())});
  }
  void fail(Error error) {
    if (is_over_) return;
    is_over_ = true;
    events_.on_failed(*this, std::move(error));
  }

  msgr::EventCenter& center_;
  const Environment& environment_;
  const msgr::Address server_;
  const Job job_;
  PeerEvents& events_;
  bool is_over_ = false;
  std::vector<Slot> slots_;  // outlive the link, which may touch them until it is closed
  std::optional<LinkOpener> opener_;
  std::optional<BufferRequest> buffers_;
  std::unique_ptr<msgr::Link> link_;
  msgr::RemoteKey server_key_;
};

}  // namespace

std::unique_ptr<Peer> make_link_peer(msgr::EventCenter& center, const Environment& environment,
                                     const msgr::Address& server, const Job& job,
                                     PeerEvents& events) {
  return std::make_unique<LinkPeer>(center, environment, server, job, events);
}

}  // namespace lunar::perf_msgr
