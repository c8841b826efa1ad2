// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tracing/analysis/clock_align.h"

#include <algorithm>
#include <cmath>

namespace lunar::tracing {
namespace {

// The best sample of each stretch is kept: clocks drift by some us per second at most.
constexpr int64_t kStretch = 30'000'000'000;
// Frames waiting for their other end; connections are few, so any frame of each will do.
constexpr std::size_t kMaxFrames = 4096;
constexpr std::size_t kMaxUnpaired = 64;

}  // namespace

void ClockAlign::add(const TraceEvent& event, const Processes& processes) {
  const LinkEnd end{event.process, event.conn};
  switch (event.kind) {
    case EventKind::kFrameSent:
    case EventKind::kFrameReceived: {
      if (event.io_id == 0 || peer_.contains(end)) return;
      // One clock may be behind the other, so either end may come first.
      const bool is_sent = event.kind == EventKind::kFrameSent;
      const FrameKey key{event.io_id, event.tid, event.type, event.seq};
      const auto other = frames_.find(key);
      if (other == frames_.end()) {
        if (frames_.size() >= kMaxFrames) frames_.erase(frames_.begin());
        frames_.emplace(key, FrameEnd{end, is_sent});
      } else if (other->second.is_sent != is_sent) {
        peer_[end] = other->second.end;
        peer_[other->second.end] = end;
        frames_.erase(other);
      }
      return;
    }
    case EventKind::kKeepalive: {
      const Sample sample{event.time_ns, event.offset_ns, event.rtt_ns};
      if (const auto peer = peer_.find(end); peer != peer_.end()) {
        add_sample(processes[end.process].host, processes[peer->second.process].host, sample);
      } else if (auto& waiting = unpaired_[end]; waiting.size() < kMaxUnpaired) {
        waiting.push_back(sample);
      }
      return;
    }
    default:
      return;
  }
}

void ClockAlign::add_sample(const std::string& from, const std::string& to, Sample sample) {
  if (from == to) return;
  HostClock& clock = pairs_[{from, to}];
  ++clock.samples;
  Curve& curve = clock.curve;
  if (curve.empty() || sample.at / kStretch != curve.back().at / kStretch) {
    curve.push_back(sample);
  } else if (sample.rtt_ns < curve.back().rtt_ns) {
    curve.back() = sample;
  }
}

void ClockAlign::solve(const Processes& processes) {
  for (const auto& [end, samples] : unpaired_) {
    const auto peer = peer_.find(end);
    if (peer == peer_.end()) continue;
    for (const Sample& sample : samples) {
      add_sample(processes[end.process].host, processes[peer->second.process].host, sample);
    }
  }
  std::erase_if(unpaired_, [this](const auto& each) { return peer_.contains(each.first); });
  hosts_.clear();
  reference_.clear();
  const auto choose = [&](bool TracedProcess::*role) {
    if (!reference_.empty()) return;
    for (const TracedProcess& process : processes) {
      if ((role == nullptr || process.*role) && (reference_.empty() || process.host < reference_)) {
        reference_ = process.host;
      }
    }
  };
  choose(&TracedProcess::is_target);
  choose(&TracedProcess::is_gateway);
  choose(nullptr);
  hosts_[reference_] = {};
  // Both ends send keepalives: what `to` measured of `from` is the same with the sign turned.
  bool found = true;
  while (found) {
    found = false;
    for (const auto& [names, clock] : pairs_) {
      for (const bool turned : {false, true}) {
        const std::string& known = turned ? names.second : names.first;
        const std::string& other = turned ? names.first : names.second;
        const auto base = hosts_.find(known);
        if (base == hosts_.end() || hosts_.contains(other)) continue;
        const auto back = pairs_.find({names.second, names.first});
        Curve all = clock.curve;
        for (Sample& each : all) each.offset_ns = turned ? -each.offset_ns : each.offset_ns;
        if (back != pairs_.end()) {
          for (Sample each : back->second.curve) {
            each.offset_ns = turned ? each.offset_ns : -each.offset_ns;
            all.push_back(each);
          }
        }
        std::sort(all.begin(), all.end(),
                  [](const Sample& a, const Sample& b) { return a.at < b.at; });
        HostClock result;
        result.samples = clock.samples + (back == pairs_.end() ? 0 : back->second.samples);
        for (Sample each : all) {
          each.offset_ns += at(base->second.curve, each.at);
          Curve& curve = result.curve;
          if (!curve.empty() && each.at / kStretch == curve.back().at / kStretch) {
            if (each.rtt_ns < curve.back().rtt_ns) curve.back() = each;
          } else {
            curve.push_back(each);
          }
        }
        hosts_[other] = std::move(result);
        found = true;
      }
    }
  }
  by_process_.clear();
  for (const TracedProcess& process : processes) {
    const auto host = hosts_.find(process.host);
    by_process_.push_back(host == hosts_.end() ? nullptr : &host->second);
  }
  for (const auto& [name, clock] : hosts_) {
    for (const Sample& each : clock.curve) largest_ = std::max(largest_, std::abs(each.offset_ns));
  }
}

int64_t ClockAlign::at(const Curve& curve, int64_t time_ns) noexcept {
  if (curve.empty()) return 0;
  const auto after = std::find_if(curve.begin(), curve.end(),
                                  [&](const Sample& each) { return each.at >= time_ns; });
  if (after == curve.begin()) return curve.front().offset_ns;
  if (after == curve.end()) return curve.back().offset_ns;
  const Sample& before = *(after - 1);
  const double share = static_cast<double>(time_ns - before.at) /
                       static_cast<double>(std::max<int64_t>(after->at - before.at, 1));
  return before.offset_ns + static_cast<int64_t>(std::llround(
                                share * static_cast<double>(after->offset_ns - before.offset_ns)));
}

int64_t ClockAlign::offset_of(uint32_t process, int64_t time_ns) const noexcept {
  if (process >= by_process_.size() || by_process_[process] == nullptr) return 0;
  return at(by_process_[process]->curve, time_ns);
}

std::vector<ClockAlign::Estimate> ClockAlign::estimates() const {
  std::vector<Estimate> all;
  for (const auto& [name, clock] : hosts_) {
    Estimate estimate{name, 0, 0, clock.samples, name == reference_ || !clock.curve.empty()};
    if (!clock.curve.empty()) {
      const Sample& middle = clock.curve[clock.curve.size() / 2];
      estimate.offset_ns = middle.offset_ns;
      for (const Sample& each : clock.curve) {
        estimate.error_ns = std::max(estimate.error_ns, each.rtt_ns / 2);
      }
    }
    all.push_back(std::move(estimate));
  }
  return all;
}

}  // namespace lunar::tracing
