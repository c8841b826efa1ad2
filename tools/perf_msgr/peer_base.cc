// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/perf_msgr/peer_base.h"

#include <fmt/format.h>

#include <utility>

#include "msgr/errors.h"

namespace lunar::perf_msgr {

PeerBase::PeerBase(msgr::EventCenter& center, const Environment& environment,
                   const msgr::Address& server, const Job& job, PeerEvents& events)
    : center_(center),
      environment_(environment),
      server_(server),
      job_(job),
      events_(events),
      slots_(job.depth) {}

void PeerBase::take_buffers(msgr::BufferPool& pool) { take(pool, &Slot::buffer, job_.bytes); }

void PeerBase::take(msgr::BufferPool& pool, msgr::RegisteredBuffer Slot::*where, uint32_t bytes) {
  request_.emplace(center_, pool, bytes, job_.depth,
                   [this, where, bytes](std::vector<msgr::RegisteredBuffer> taken) {
                     if (bytes != 0 && taken.size() < slots_.size()) {
                       return fail_with(std::make_error_code(std::errc::not_enough_memory),
                                        "the stack has not enough buffers for that size and depth");
                     }
                     for (std::size_t i = 0; i < taken.size(); ++i)
                       slots_[i].*where = std::move(taken[i]);
                     if (where == &Slot::reply) return on_buffers();
                     take(environment_.stack.buffers(), &Slot::reply, job_.reply_bytes);
                   });
}

Bytes PeerBase::place_of(Type type, uint64_t slot, std::size_t bytes) noexcept {
  if (type != Type::kReply || slot >= slots_.size()) return {};
  const Bytes place = slots_[slot].reply.bytes();
  return place.size() == bytes ? place : Bytes();
}

void PeerBase::on_answer(Type type, uint64_t slot, ConstBytes front) {
  if (is_over_) return;
  switch (type) {
    case Type::kReady:
      return on_ready(front);
    case Type::kReply:
      if (slot >= slots_.size())
        return fail_with(msgr::MsgrErrc::kBadFrame, "a reply to no request");
      if (!front.empty()) {
        return fail_with(std::make_error_code(std::errc::io_error),
                         fmt::format("the server says: {}", as_text(front)));
      }
      return on_reply(static_cast<uint32_t>(slot));
    case Type::kStats:
      if (const auto stats = decode_stats(front)) return events_.on_stats(*this, *stats);
      break;
    default:
      break;
  }
  fail_with(msgr::MsgrErrc::kBadFrame, "the server does not answer as lunar-perf-msgr does");
}

void PeerBase::stop() {
  is_over_ = true;
  request_.reset();
}

void PeerBase::fail_with(std::error_code code, const std::string& what) {
  fail({code, fmt::format("{}: {}: {}", server_.to_string(), what, code.message())});
}

void PeerBase::fail(Error error) {
  if (is_over_) return;
  is_over_ = true;
  events_.on_failed(*this, std::move(error));
}

}  // namespace lunar::perf_msgr
