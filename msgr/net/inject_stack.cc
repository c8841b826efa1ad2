// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/net/inject_stack.h"

#include <deque>
#include <utility>

#include "common/random.h"
#include "msgr/errors.h"

namespace lunar::msgr {
namespace {

// Loop-bound. Owns the real link, and the frames it holds back.
class InjectLink final : public Link, private LinkHandler {
 public:
  InjectLink(EventCenter& center, std::unique_ptr<Link> inner, const InjectOptions& options,
             uint64_t seed)
      : center_(center),
        inner_(std::move(inner)),
        options_(options),
        random_(seeded_engine(seed)) {}
  ~InjectLink() override {
    *alive_ = false;
    center_.cancel(timer_);
  }

  void set_handler(LinkHandler* handler) override {
    handler_ = handler;
    inner_->set_handler(handler == nullptr ? nullptr : this);
  }
  const LinkCapabilities& capabilities() const noexcept override { return inner_->capabilities(); }
  Address local_address() const override { return inner_->local_address(); }
  Address peer_address() const override { return inner_->peer_address(); }
  std::size_t queued_bytes() const noexcept override { return inner_->queued_bytes(); }
  LinkCounters counters() const noexcept override { return inner_->counters(); }

  void send(Frame frame, IoDone sent) override {
    inner_->send(std::move(frame), std::move(sent));
    if (strikes()) break_link();
  }
  void remote_read(RemoteKey from, RegisteredSlice local, IoDone done) override {
    inner_->remote_read(from, local, std::move(done));
    if (strikes()) break_link();
  }
  void remote_write(RegisteredSlice local, RemoteKey to, IoDone done) override {
    inner_->remote_write(local, to, std::move(done));
    if (strikes()) break_link();
  }

  Result<RemoteKey> expose(RegisteredSlice local, RemoteAccess access) override {
    if (is_broken_) return failure(make_error_code(MsgrErrc::kInjected));
    return inner_->expose(local, access);
  }
  void revoke(const RemoteKey& key, IoDone done) override { inner_->revoke(key, std::move(done)); }

  void wrap_stream(std::unique_ptr<StreamWrap> wrap) override {
    inner_->wrap_stream(std::move(wrap));
  }
  void pause_reading() override {
    is_paused_ = true;
    inner_->pause_reading();
  }
  void resume_reading() override {
    is_paused_ = false;
    if (delayed_.empty()) return inner_->resume_reading();
    if (timer_ == TimerId::kNone) deliver_after({});
  }
  void abandon_payload(uint64_t tid) override {
    inner_->abandon_payload(tid);
    std::erase_if(delayed_, [tid](const ReceivedFrame& frame) {
      return frame.header.tid.value() == tid && !frame.data.empty() && !frame.buffer;
    });
  }

  void close(InlineFunction<void()> closed) override {
    is_closed_ = true;
    drop_delayed();
    if (!is_broken_) return inner_->close(std::move(closed));
    on_inner_closed_ = std::move(closed);
    if (is_inner_closed_) {
      center_.post([this, alive = alive_] {
        if (*alive) run_closed();
      });
    }
  }

 private:
  bool strikes() {
    if (is_broken_ || is_closed_ || options_.socket_failures == 0) return false;
    return random_() % options_.socket_failures == 0;
  }

  // The real link is closed under its user, who hears of it when nothing is in flight any more.
  void break_link() {
    is_broken_ = true;
    drop_delayed();
    inner_->close([this, alive = alive_] {
      if (!*alive) return;
      is_inner_closed_ = true;
      if (is_closed_) {
        run_closed();
      } else if (handler_ != nullptr) {
        handler_->on_closed(MsgrErrc::kInjected);  // may destroy this
      }
    });
  }
  void run_closed() {
    InlineFunction<void()> closed = std::move(on_inner_closed_);
    if (closed) closed();  // may destroy this
  }

  Bytes payload_for(const FrameHeader& header, ConstBytes front) override {
    const Bytes target = handler_->payload_for(header, front);
    if (strikes()) {
      break_link();
      return {};
    }
    return target;
  }

  bool can_take_payload() override { return handler_->can_take_payload(); }
  uint32_t max_front_bytes() const noexcept override {
    return handler_ == nullptr ? UINT32_MAX : handler_->max_front_bytes();
  }

  void on_frame(ReceivedFrame frame) override {
    if (strikes()) return break_link();
    if (!delayed_.empty()) {  // a paused link may still complete what it had begun
      delayed_.push_back(std::move(frame));
    } else if (options_.delay_probability > 0 && chance(random_, options_.delay_probability)) {
      delayed_.push_back(std::move(frame));
      inner_->pause_reading();
      const auto limit = static_cast<uint64_t>(options_.delay_max.count());
      deliver_after(std::chrono::nanoseconds(limit == 0 ? 0 : random_() % limit));
    } else {
      handler_->on_frame(std::move(frame));
    }
  }

  void on_closed(std::error_code why) override {
    drop_delayed();
    if (handler_ != nullptr) handler_->on_closed(why);  // may destroy this
  }

  void deliver_after(std::chrono::nanoseconds delay) {
    timer_ = center_.run_after(delay, [this] { deliver(); });
  }
  void deliver() {
    timer_ = TimerId::kNone;
    const std::shared_ptr<bool> alive = alive_;
    while (!is_paused_ && !delayed_.empty()) {
      ReceivedFrame frame = std::move(delayed_.front());
      delayed_.pop_front();
      handler_->on_frame(std::move(frame));
      if (!*alive || is_broken_ || is_closed_) return;
    }
    if (!is_paused_) inner_->resume_reading();
  }
  void drop_delayed() {
    delayed_.clear();
    center_.cancel(std::exchange(timer_, TimerId::kNone));
  }

  EventCenter& center_;
  const std::unique_ptr<Link> inner_;
  const InjectOptions options_;
  RandomEngine random_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  LinkHandler* handler_ = nullptr;
  std::deque<ReceivedFrame> delayed_;
  TimerId timer_ = TimerId::kNone;
  bool is_paused_ = false;
  bool is_broken_ = false;
  bool is_closed_ = false;
  bool is_inner_closed_ = false;
  InlineFunction<void()> on_inner_closed_;
};

}  // namespace

// An upgrade whose link gets its faults too.
class InjectStack::InjectUpgrade final : public LinkUpgrade {
 public:
  InjectUpgrade(InjectStack& stack, EventCenter& center, std::unique_ptr<LinkUpgrade> inner)
      : stack_(stack), center_(center), inner_(std::move(inner)) {}
  void prepare(Prepared done) override { inner_->prepare(std::move(done)); }
  void complete(ConstBytes told, ConnectDone done) override {
    inner_->complete(told, decorating(std::move(done)));
  }
  bool is_made_by_connector() const noexcept override { return inner_->is_made_by_connector(); }
  void await_link(ConstBytes told, ConnectDone done) override {
    inner_->await_link(told, decorating(std::move(done)));
  }
  std::chrono::nanoseconds time_limit() const noexcept override { return inner_->time_limit(); }
  void succeeded() noexcept override { inner_->succeeded(); }
  bool may_stay(const Error& why) override { return inner_->may_stay(why); }

 private:
  ConnectDone decorating(ConnectDone done) {
    return [&stack = stack_, &center = center_,
            done = std::move(done)](Result<std::unique_ptr<Link>> link) mutable {
      if (link) link = stack.decorate(center, std::move(*link));
      done(std::move(link));
    };
  }

  InjectStack& stack_;
  EventCenter& center_;
  const std::unique_ptr<LinkUpgrade> inner_;
};

InjectStack::InjectStack(NetworkStack& inner, const InjectOptions& options)
    : inner_(inner), options_(options) {
  while (options_.seed == 0) options_.seed = random_u64();
}

std::unique_ptr<Link> InjectStack::decorate(EventCenter& center, std::unique_ptr<Link> link) {
  uint64_t seed = options_.seed + 0x9e3779b97f4a7c15u * links_.fetch_add(1);
  if (seed == 0) seed = 1;
  return std::make_unique<InjectLink>(center, std::move(link), options_, seed);
}

std::unique_ptr<PendingConnect> InjectStack::connect(EventCenter& center, const Address& peer,
                                                     ConnectDone done) {
  return inner_.connect(
      center, peer,
      [this, &center, done = std::move(done)](Result<std::unique_ptr<Link>> link) mutable {
        if (link) link = decorate(center, std::move(*link));
        done(std::move(link));
      });
}

std::unique_ptr<LinkUpgrade> InjectStack::upgrade(EventCenter& center, const Link& over) {
  auto inner = inner_.upgrade(center, over);
  if (inner == nullptr) return nullptr;
  return std::make_unique<InjectUpgrade>(*this, center, std::move(inner));
}

Outcome<std::unique_ptr<Listener>> InjectStack::listen(EventCenter& center, const Address& local,
                                                       AcceptCallback on_accept) {
  return inner_.listen(
      center, local,
      [this, &center, on_accept = std::move(on_accept)](std::unique_ptr<Link> link) mutable {
        on_accept(decorate(center, std::move(link)));
      });
}

}  // namespace lunar::msgr
