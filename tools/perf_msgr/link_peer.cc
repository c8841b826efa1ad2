// SPDX-License-Identifier: LGPL-2.1-or-later
#include <optional>
#include <utility>
#include <vector>

#include "msgr/errors.h"
#include "tools/perf_msgr/link_frames.h"
#include "tools/perf_msgr/link_opener.h"
#include "tools/perf_msgr/peer_base.h"

namespace lunar::perf_msgr {
namespace {

// Ops on a bare link: no session, no authentication, nothing replayed. Loop-bound.
class LinkPeer final : public PeerBase, msgr::LinkHandler {
 public:
  LinkPeer(msgr::EventCenter& center, const Environment& environment, const msgr::Address& server,
           const Job& job, PeerEvents& events)
      : PeerBase(center, environment, server, job, events), keys_(job.depth) {}

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

  void close(InlineFunction<void()> closed) override {
    stop();
    opener_.reset();
    if (link_ == nullptr) return center_.post(std::move(closed));
    link_->close(std::move(closed));
  }

  msgr::LinkCounters counters() const override {
    return link_ == nullptr ? msgr::LinkCounters() : link_->counters();
  }

 private:
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
    take_buffers(environment_.stack.front_end_buffers());
  }

  void on_buffers() override { link_->send(make_frame(Type::kStart, 0, encode(job_)), {}); }

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
    keys_[slot] = *key;
    link_->send(make_frame(Type::kRequest, slot, encode(*key)), {});
  }

  // LinkHandler

  Bytes payload_for(const msgr::FrameHeader& header, ConstBytes) override {
    return place_of(type_of(header), header.tid.value(), header.data_length.value());
  }

  void on_frame(msgr::ReceivedFrame frame) override {
    on_answer(type_of(frame.header), frame.header.tid.value(), frame.front);
  }

  void on_ready(ConstBytes front) override {
    const auto key = decode_key(front);
    const bool needs_key = job_.pattern == Pattern::kRead || job_.pattern == Pattern::kWrite;
    if (!key || (needs_key && key->length != job_.bytes)) {
      return fail_with(msgr::MsgrErrc::kBadFrame, "the server refused the job");
    }
    server_key_ = *key;
    events_.on_opened(*this);
  }

  void on_reply(uint32_t slot) override {
    // The reply came on the link the key was sent on: the server is through with it.
    if (keys_[slot]) link_->revoke(*std::exchange(keys_[slot], std::nullopt), {});
    events_.on_done(*this, slot);
  }

  void on_closed(std::error_code why) override {
    if (!is_over_) fail_with(why, "the connection broke");
  }

  std::vector<std::optional<msgr::RemoteKey>> keys_;  // by slot
  std::optional<LinkOpener> opener_;
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
