// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/cluster_handle.h"

#include <poll.h>

#include <algorithm>
#include <cstdio>

#include "common/uuid.h"
#include "common/visible_text.h"

namespace lunar::tools {
namespace {

constexpr std::chrono::duration<int, std::milli> kLookEvery{200};
constexpr std::chrono::milliseconds kLockWaitIsLong{900};
constexpr std::chrono::nanoseconds kRefusedWithin{1'000'000'000};

}  // namespace

Outcome<std::unique_ptr<ClusterHandle>> ClusterHandle::open(const Config& config,
                                                            PerfRegistry& perf) {
  std::unique_ptr<ClusterHandle> handle(new ClusterHandle);
  auto center = msgr::EventCenter::create({.name = "lunar"});
  if (!center) return failure(center.error(), "cannot make an event loop");
  handle->center_ = std::move(*center);
  auto client = gateway::Client::create(config, {}, *handle->center_, perf);
  if (!client) return failure(client.error());
  handle->client_ = std::move(*client);
  const auto timeout = config.get_duration("objecter_op_timeout");
  handle->notes_.emplace(std::chrono::steady_clock::now(), timeout);
  // Who is refused will be refused: that is known long before a silent server is given up.
  Outcome<objecter::OsdMapRef> map = handle->wait_for_map(std::min(timeout, kRefusedWithin));
  const bool may_come = !map && map.error().code == objecter::OsdErrc::kUnreachable;
  if (may_come) map = handle->wait_for_map(timeout);
  if (!map) return failure(map.error());
  const std::string fsid = config.get_string("fsid");
  if (!fsid.empty() && Uuid::parse(fsid) != (*map)->fsid) {
    return failure(std::errc::invalid_argument,
                   "the servers of mon_host are of cluster " + (*map)->fsid.to_string() +
                       ", and fsid = " + fsid + ": mend whichever is wrong");
  }
  return handle;
}

Outcome<objecter::OsdMapRef> ClusterHandle::wait_for_map(std::chrono::nanoseconds timeout) {
  return wait<objecter::OsdMapRef>(
      [&](auto done) { client_->objecter().wait_for_map(timeout, std::move(done)); });
}

ClusterHandle::~ClusterHandle() {
  if (client_ == nullptr) return;
  bool ended = false;
  client_->shutdown([&ended] { ended = true; });
  run_until([&ended] { return ended; });
}

void ClusterHandle::run_until(InlineFunction<bool()> finished, int fd) {
  center_->process();
  while (!finished()) {
    pollfd ready[] = {{center_->fd(), POLLIN, 0}, {fd, POLLIN, 0}};
    const int num_ready = poll(ready, std::size(ready), kLookEvery.count());
    if (num_ready < 0) continue;  // EINTR: the center is asked again
    center_->process();
    say_what_is_waited_for();
    if (ready[1].revents != 0) return;
  }
}

void ClusterHandle::say_what_is_waited_for() {
  const auto now = std::chrono::steady_clock::now();
  if (!notes_ || now < next_look_) return;
  next_look_ = now + kLookEvery;
  const auto& objecter = client_->objecter();
  for (const std::string& note : notes_->look(
           objecter.ops_in_flight_json(), objecter.sessions_json(), objecter.map().get(), now)) {
    print_visible(stderr, "lunar: %s\n", note.c_str());
  }
  if (!lock_wait_.empty() && now - lock_wait_since_ >= kLockWaitIsLong) {
    print_visible(stderr, "lunar: %s\n", lock_wait_.c_str());
    lock_wait_.clear();
  }
}

void ClusterHandle::begin_lock_wait(const std::string& spec) {
  lock_wait_ = "waiting for whoever has image '" + spec + "' open: 'lunar lock ls " + spec +
               "' says who; the dead are fenced after lunar_lock_timeout";
  lock_wait_since_ = std::chrono::steady_clock::now();
}

Outcome<std::shared_ptr<gateway::Image>> ClusterHandle::open_image(
    const std::string& text, const gateway::OpenOptions& options) {
  const auto spec = gateway::ImageSpec::parse(text);
  if (!spec) return failure(spec.error());
  if (!options.read_only) begin_lock_wait(text);
  auto image = wait<std::shared_ptr<gateway::Image>>(
      [&](auto done) { gateway::Image::open(*client_, *spec, options, std::move(done)); });
  end_of_lock_wait();
  return image;
}

Outcome<void> ClusterHandle::close_image(std::shared_ptr<gateway::Image> image) {
  return wait<void>([&](auto done) { image->close(std::move(done)); });
}

}  // namespace lunar::tools
