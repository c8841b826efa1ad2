// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Readiness is level-triggered as epoll's is: an end that is ready for what it waits for gets a
// posted call on its own center, and another one after it if that is still so. The other side posts
// it under the pair's mutex, where an end that is attached cannot go away.

#include "msgr/loopback/pipe_stream.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "common/check.h"
#include "common/result.h"

namespace lunar::msgr {
namespace {

// A ring of bytes. Guarded by its pair's mutex.
class ByteRing {
 public:
  explicit ByteRing(std::size_t capacity) : bytes_(capacity) {}
  std::size_t used() const noexcept { return used_; }
  std::size_t room() const noexcept { return bytes_.size() - used_; }

  void write(ConstBytes from) noexcept {
    while (!from.empty()) {
      const std::size_t at = (begin_ + used_) % bytes_.size();
      const std::size_t take = std::min(from.size(), bytes_.size() - at);
      std::memcpy(bytes_.data() + at, from.data(), take);
      used_ += take;
      from = from.subspan(take);
    }
  }
  void read(Bytes into) noexcept {
    while (!into.empty()) {
      const std::size_t take = std::min(into.size(), bytes_.size() - begin_);
      std::memcpy(into.data(), bytes_.data() + begin_, take);
      begin_ = (begin_ + take) % bytes_.size();
      used_ -= take;
      into = into.subspan(take);
    }
  }

 private:
  std::vector<std::byte> bytes_;
  std::size_t begin_ = 0;
  std::size_t used_ = 0;
};

std::size_t total(std::span<const iovec> iovecs) noexcept {
  std::size_t sum = 0;
  for (const iovec& span : iovecs) sum += span.iov_len;
  return sum;
}

}  // namespace

class PipeStream;

class PipePair {
 public:
  struct PipeEnd {
    explicit PipeEnd(const Address& at, std::size_t capacity) : address(at), inbound(capacity) {}
    const Address address;
    ByteRing inbound;
    EventCenter* center = nullptr;  // while attached
    // Null once the stream is gone; read and written on the center's loop only.
    std::shared_ptr<PipeStream*> stream;
    FdEvents wanted = FdEvents::kNone;
    bool call_posted = false;
    bool delayed = false;  // an injected delay is running: not ready for anything
    bool gone = false;
  };

  PipePair(const Address& address0, const Address& address1, std::size_t capacity)
      : ends{PipeEnd(address0, capacity), PipeEnd(address1, capacity)} {}

  FdEvents ready(int index) const REQUIRES(mutex) {
    const PipeEnd& end = ends[static_cast<std::size_t>(index)];
    const PipeEnd& other = ends[static_cast<std::size_t>(1 - index)];
    if (end.delayed) return FdEvents::kNone;
    const bool over = other.gone || broken;
    return (end.inbound.used() > 0 || over ? FdEvents::kRead : FdEvents::kNone) |
           (other.inbound.room() > 0 || over ? FdEvents::kWrite : FdEvents::kNone) |
           (broken ? FdEvents::kHangUp : FdEvents::kNone);
  }
  void notify(int index) REQUIRES(mutex);

  Mutex mutex;
  std::array<PipeEnd, 2> ends GUARDED_BY(mutex);
  std::error_code broken GUARDED_BY(mutex);
};

// Loop-bound. Shares the pair.
class PipeStream final : public ByteStream {
 public:
  PipeStream(EventCenter& center, std::shared_ptr<PipePair> pair, int index,
             LoopbackInjector* injector)
      : center_(center),
        pair_(std::move(pair)),
        index_(static_cast<std::size_t>(index)),
        injector_(injector),
        self_(std::make_shared<PipeStream*>(this)) {
    const MutexLock lock(pair_->mutex);
    PipePair::PipeEnd& end = pair_->ends[index_];
    LUNAR_CHECK(end.center == nullptr && !end.gone, "an end of a pipe is attached once");
    end.center = &center;
    end.stream = self_;
    local_ = end.address;
    peer_ = pair_->ends[1 - index_].address;
  }
  ~PipeStream() override {
    *self_ = nullptr;
    center_.cancel(delay_timer_);
    drop_pipe_end(*pair_, static_cast<int>(index_));
  }

  StreamResult send(std::span<const iovec> iovecs) override {
    LoopbackInjector::Verdict verdict;
    if (injector_ != nullptr) verdict = injector_->on_send(peer_, total(iovecs));
    if (delay(verdict)) return StreamResult::blocked();
    const MutexLock lock(pair_->mutex);
    PipePair::PipeEnd& other = pair_->ends[1 - index_];
    if (pair_->broken) return StreamResult::failed(pair_->broken);
    if (other.gone) return StreamResult::failed(system_error(EPIPE));
    const std::size_t limit = std::min(other.inbound.room(), verdict.limit);
    StreamResult result;
    for (const iovec& span : iovecs) {
      const std::size_t take = std::min(span.iov_len, limit - result.bytes);
      other.inbound.write({static_cast<const std::byte*>(span.iov_base), take});
      result.bytes += take;
    }
    result.would_block = result.bytes == 0;
    if (verdict.fail) break_pair(verdict.fail, result);
    pair_->notify(static_cast<int>(1 - index_));
    return result;
  }

  StreamResult receive(std::span<const iovec> iovecs) override {
    LoopbackInjector::Verdict verdict;
    if (injector_ != nullptr) verdict = injector_->on_receive(peer_, total(iovecs));
    if (delay(verdict)) return StreamResult::blocked();
    const MutexLock lock(pair_->mutex);
    PipePair::PipeEnd& end = pair_->ends[index_];
    StreamResult result;
    const std::size_t limit = std::min(end.inbound.used(), verdict.limit);
    for (const iovec& span : iovecs) {
      const std::size_t take = std::min(span.iov_len, limit - result.bytes);
      end.inbound.read({static_cast<std::byte*>(span.iov_base), take});
      result.bytes += take;
    }
    if (verdict.fail) {
      break_pair(verdict.fail, result);
      pair_->notify(static_cast<int>(1 - index_));
    } else if (result.bytes > 0) {
      pair_->notify(static_cast<int>(1 - index_));
    } else if (end.inbound.used() > 0) {
      result.would_block = true;
    } else if (pair_->broken) {
      result.error = pair_->broken;
    } else {
      result.has_ended = pair_->ends[1 - index_].gone;
      result.would_block = !result.has_ended;
    }
    return result;
  }

  std::error_code start(FdEvents events, InlineFunction<void(FdEvents)> on_ready) override {
    on_ready_ = std::move(on_ready);
    set_events(events);
    return {};
  }
  void set_events(FdEvents events) override {
    const MutexLock lock(pair_->mutex);
    pair_->ends[index_].wanted = events;
    pair_->notify(static_cast<int>(index_));
  }
  std::error_code take_error() noexcept override {
    const MutexLock lock(pair_->mutex);
    return pair_->broken;
  }
  Address local_address() const override { return local_; }
  Address peer_address() const override { return peer_; }

  void call_if_ready() {
    FdEvents events;
    {
      const MutexLock lock(pair_->mutex);
      PipePair::PipeEnd& end = pair_->ends[index_];
      end.call_posted = false;
      const auto wanted = static_cast<uint32_t>(end.wanted | FdEvents::kHangUp);
      events = static_cast<FdEvents>(static_cast<uint32_t>(pair_->ready(static_cast<int>(index_))) &
                                     wanted);
    }
    if (events == FdEvents::kNone || !on_ready_) return;
    const std::shared_ptr<PipeStream*> self = self_;
    auto on_ready = std::move(on_ready_);  // the callback may destroy this stream
    on_ready(events);
    if (*self == nullptr) return;
    if (!on_ready_) on_ready_ = std::move(on_ready);  // unless it called start()
    const MutexLock lock(pair_->mutex);
    pair_->notify(static_cast<int>(index_));
  }

 private:
  // The bytes moved so far arrive; then the pipe is broken for both.
  void break_pair(std::error_code why, StreamResult& result) REQUIRES(pair_->mutex) {
    pair_->broken = why;
    if (result.bytes == 0) result = StreamResult::failed(why);
  }

  // Starts an injected delay, unless this step has just had its own.
  bool delay(const LoopbackInjector::Verdict& verdict) {
    if (verdict.delay <= EventCenter::Clock::duration::zero() ||
        std::exchange(delayed_once_, false)) {
      return false;
    }
    delayed_once_ = true;
    set_delayed(true);
    center_.cancel(delay_timer_);
    delay_timer_ = center_.run_after(verdict.delay, [this] { set_delayed(false); });
    return true;
  }
  void set_delayed(bool delayed) {
    const MutexLock lock(pair_->mutex);
    pair_->ends[index_].delayed = delayed;
    pair_->notify(static_cast<int>(index_));
  }

  EventCenter& center_;
  const std::shared_ptr<PipePair> pair_;
  const std::size_t index_;
  LoopbackInjector* const injector_;
  const std::shared_ptr<PipeStream*> self_;
  Address local_;
  Address peer_;
  InlineFunction<void(FdEvents)> on_ready_;  // empty before start(), and while it is called
  TimerId delay_timer_ = TimerId::kNone;
  bool delayed_once_ = false;
};

void PipePair::notify(int index) {
  PipeEnd& end = ends[static_cast<std::size_t>(index)];
  if (end.center == nullptr || end.gone || end.call_posted) return;
  const auto wanted = static_cast<uint32_t>(end.wanted | FdEvents::kHangUp);
  if ((static_cast<uint32_t>(ready(index)) & wanted) == 0) return;
  end.call_posted = true;
  end.center->post([stream = end.stream] {
    if (*stream != nullptr) (*stream)->call_if_ready();
  });
}

std::shared_ptr<PipePair> make_pipe_pair(const Address& address0, const Address& address1,
                                         std::size_t capacity_bytes) {
  return std::make_shared<PipePair>(address0, address1, capacity_bytes);
}

std::unique_ptr<ByteStream> attach_pipe(EventCenter& center, std::shared_ptr<PipePair> pair,
                                        int end, LoopbackInjector* injector) {
  return std::make_unique<PipeStream>(center, std::move(pair), end, injector);
}

void drop_pipe_end(PipePair& pair, int end) {
  const MutexLock lock(pair.mutex);
  pair.ends[static_cast<std::size_t>(end)].gone = true;
  pair.notify(1 - end);
}

}  // namespace lunar::msgr
