// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <optional>
#include <utility>
#include <vector>

#include "tools/perf_msgr/buffers.h"
#include "tools/perf_msgr/link_frames.h"
#include "tools/perf_msgr/link_opener.h"
#include "tools/perf_msgr/server.h"

namespace lunar::perf_msgr {
namespace {

constexpr std::size_t kMaxConnections = 4096;

// Answers one client on its link. The link may only carry the offer of a faster one, which then
// takes its place. Loop-bound.
class PerfClient final : msgr::LinkHandler {
 public:
  // `over` runs once, when nothing is left of it; it may destroy the client.
  PerfClient(msgr::EventCenter& center, const Environment& environment,
             std::unique_ptr<msgr::Link> link, InlineFunction<void()> over)
      : center_(center), environment_(environment), over_(std::move(over)), link_(std::move(link)) {
    link_->set_handler(this);
  }

  void close() {
    if (is_closing_) return;
    is_closing_ = true;
    buffers_.reset();
    upgrade_.reset();
    close_and_forget(std::move(replaced_));
    link_->close([this] { over_(); });
  }

 private:
  // Memory that a job moves; for kPull one for each op in flight.
  struct Move {
    msgr::RegisteredBuffer buffer;
    bool is_busy = false;
  };

  Bytes payload_for(const msgr::FrameHeader&, ConstBytes) override { return {}; }

  void on_frame(msgr::ReceivedFrame frame) override {
    if (is_closing_) return;
    switch (type_of(frame.header)) {
      case Type::kOffer:
        return offered(std::move(frame.front));
      case Type::kStart:
        return start(frame.front);
      case Type::kRequest:
        if (job_) return requested(frame);
        break;
      case Type::kStop:
        return link_->send(
            make_frame(Type::kStats, 0, encode(ServerStats{ops_, thread_cpu_ns() - cpu_at_start_})),
            {});
      default:
        break;
    }
    close();  // not one of ours
  }

  // Of the link that is in use, or of the one that was left after an upgrade: its client closes it.
  void on_closed(std::error_code) override { close(); }

  // Upgrade

  void offered(std::vector<std::byte> offer) {
    if (upgrade_ != nullptr || job_) return close();
    upgrade_ = environment_.stack.upgrade(center_, *link_);
    if (upgrade_ == nullptr) return refuse("this server runs without it (--type rdma)");
    offer_ = std::move(offer);
    upgrade_->prepare([this](Outcome<std::vector<std::byte>> answer) {
      if (!answer) return refuse(answer.error().message);
      answer_ = std::move(*answer);
      upgrade_->complete(offer_, [this](Result<std::unique_ptr<msgr::Link>> link) {
        if (!link) return refuse(link.error().message());
        upgraded(std::move(*link));
      });
    });
  }

  void upgraded(std::unique_ptr<msgr::Link> link) {
    replaced_ = std::exchange(link_, std::move(link));
    link_->set_handler(this);
    upgrade_->succeeded();
    replaced_->set_handler(&ignore_);
    replaced_->send(make_frame(Type::kAnswer, 0, std::move(answer_)), {});
  }

  void refuse(std::string why) {
    refusal_ = std::move(why);
    link_->send(make_frame(Type::kAnswer, 0, {}, as_const_bytes(refusal_)), {});
  }

  // What becomes of the link that was left is nobody's concern.
  struct Ignore final : msgr::LinkHandler {
    Bytes payload_for(const msgr::FrameHeader&, ConstBytes) override { return {}; }
    void on_frame(msgr::ReceivedFrame) override {}
    void on_closed(std::error_code) override {}
  };

  // Job

  void start(ConstBytes front) {
    const auto job = decode_job(front);
    if (!job || job_ || buffers_) return close();
    if (is_one_sided(job->pattern) && !link_->capabilities().one_sided) return close();
    // What the client moves lies in the pool that may be exposed; what the server moves goes
    // through the pool a store would use; a reply's data is the same buffer every time.
    const bool exposes = job->pattern == Pattern::kRead || job->pattern == Pattern::kWrite;
    auto& pool = exposes ? environment_.stack.front_end_buffers() : environment_.stack.buffers();
    const uint32_t bytes = job->pattern == Pattern::kSend ? job->reply_bytes : job->bytes;
    const uint32_t count = is_moved_by_server(job->pattern) ? job->depth : 1;
    buffers_.emplace(center_, pool, bytes, count,
                     [this, job, bytes, count](std::vector<msgr::RegisteredBuffer> taken) {
                       if (bytes != 0 && taken.size() < count) return close();
                       ready(*job, std::move(taken));
                     });
  }

  void ready(const Job& job, std::vector<msgr::RegisteredBuffer> taken) {
    moves_.resize(std::max<std::size_t>(1, taken.size()));
    for (std::size_t i = 0; i < taken.size(); ++i) moves_[i].buffer = std::move(taken[i]);
    msgr::RemoteKey key;
    if (job.pattern == Pattern::kRead || job.pattern == Pattern::kWrite) {
      const auto access =
          job.pattern == Pattern::kRead ? msgr::RemoteAccess::kRead : msgr::RemoteAccess::kWrite;
      const auto exposed = link_->expose({&moves_[0].buffer, 0, job.bytes}, access);
      if (!exposed) return close();
      key = *exposed;
    }
    job_ = job;
    cpu_at_start_ = thread_cpu_ns();
    link_->send(make_frame(Type::kReady, 0, encode(key)), {});
  }

  // Ops

  void requested(const msgr::ReceivedFrame& frame) {
    const uint64_t tid = frame.header.tid.value();
    if (!is_moved_by_server(job_->pattern)) {
      const ConstBytes data =
          job_->pattern == Pattern::kSend ? ConstBytes(moves_[0].buffer.bytes()) : ConstBytes();
      return reply(tid, data);
    }
    const auto key = decode_key(frame.front);
    if (!key || key->length != job_->bytes || tid >= moves_.size()) return close();
    const msgr::RegisteredSlice slice{&moves_[tid].buffer, 0, job_->bytes};
    if (job_->pattern == Pattern::kPull) return pull(tid, *key, slice);
    // The reply goes out behind the data on the same queue pair, which is what proves to the client
    // that the data is there. An error breaks the link and the reply with it.
    link_->remote_write(slice, *key, {});
    reply(tid, {});
  }

  void pull(uint64_t tid, const msgr::RemoteKey& key, const msgr::RegisteredSlice& slice) {
    if (std::exchange(moves_[tid].is_busy, true)) return close();
    link_->remote_read(key, slice, [this, tid](std::error_code error) {
      moves_[tid].is_busy = false;
      if (is_closing_) return;
      if (!error) return reply(tid, {});
      const std::string why = "remote_read: " + error.message();
      const ConstBytes text = as_const_bytes(why);
      link_->send(make_frame(Type::kReply, tid, {text.begin(), text.end()}), {});
    });
  }

  void reply(uint64_t tid, ConstBytes data) {
    ++ops_;
    link_->send(make_frame(Type::kReply, tid, {}, data), {});
  }

  msgr::EventCenter& center_;
  const Environment& environment_;
  InlineFunction<void()> over_;
  bool is_closing_ = false;
  Ignore ignore_;
  std::string refusal_;
  std::vector<std::byte> offer_, answer_;
  std::optional<Job> job_;
  std::vector<Move> moves_;  // outlive the link
  uint64_t ops_ = 0;
  uint64_t cpu_at_start_ = 0;
  std::optional<BufferRequest> buffers_;
  std::unique_ptr<msgr::Link> link_;
  std::unique_ptr<msgr::Link> replaced_;
  std::unique_ptr<msgr::LinkUpgrade> upgrade_;
};

// Loop-bound.
class LinkServer final : public Server {
 public:
  LinkServer(msgr::EventCenter& center, const Environment& environment)
      : center_(center), environment_(environment) {}

  Outcome<void> listen(const msgr::Address& address) {
    if (environment_.messenger.auth_required && !address.is_loopback()) {
      return failure(std::errc::permission_denied,
                     fmt::format("refusing to listen on {}: links have no authentication; measure "
                                 "sessions (--level messenger), or say "
                                 "--auth-client-required none on a network you trust",
                                 address.to_string()));
    }
    auto listener = environment_.stack.listen(
        center_, address, [this](std::unique_ptr<msgr::Link> link) { accept(std::move(link)); });
    if (!listener) return failure(listener.error());
    listener_ = std::move(*listener);
    return {};
  }

  msgr::Address address() const override { return listener_->local_address(); }

  void shutdown(InlineFunction<void()> done) override {
    listener_.reset();
    shutdown_done_ = std::move(done);
    for (const auto& client : clients_) client->close();
    if (clients_.empty()) center_.post(std::move(shutdown_done_));
  }

 private:
  void accept(std::unique_ptr<msgr::Link> link) {
    if (clients_.size() >= kMaxConnections) return close_and_forget(std::move(link));
    const auto at = clients_.emplace(clients_.end());
    *at = std::make_unique<PerfClient>(center_, environment_, std::move(link), [this, at] {
      // Not within the client's own call.
      center_.post([this, at] { erase(at); });
    });
  }

  void erase(std::list<std::unique_ptr<PerfClient>>::iterator at) {
    clients_.erase(at);
    if (clients_.empty() && shutdown_done_) center_.post(std::move(shutdown_done_));
  }

  msgr::EventCenter& center_;
  const Environment& environment_;
  std::unique_ptr<msgr::Listener> listener_;
  std::list<std::unique_ptr<PerfClient>> clients_;
  InlineFunction<void()> shutdown_done_;
};

}  // namespace

Outcome<std::unique_ptr<Server>> make_link_server(msgr::EventCenter& center,
                                                  const Environment& environment,
                                                  const msgr::Address& address) {
  auto server = std::make_unique<LinkServer>(center, environment);
  if (const auto listening = server->listen(address); !listening) {
    return failure(listening.error());
  }
  return server;
}

}  // namespace lunar::perf_msgr
