// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/cluster_handle.h"

#include <poll.h>

namespace lunar::tools {

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
  auto map = handle->wait<objecter::OsdMapRef>(
      [&](auto done) { handle->client_->objecter().wait_for_map(timeout, std::move(done)); });
  if (!map) return failure(map.error());
  return handle;
}

ClusterHandle::~ClusterHandle() {
  if (client_ == nullptr) return;
  bool ended = false;
  client_->shutdown([&ended] { ended = true; });
  run_until([&ended] { return ended; });
}

void ClusterHandle::run_until(InlineFunction<bool()> finished) {
  center_->process();
  while (!finished()) {
    pollfd ready{center_->fd(), POLLIN, 0};
    if (poll(&ready, 1, -1) < 0) continue;  // EINTR: the center is asked again
    center_->process();
  }
}

Outcome<std::shared_ptr<gateway::Image>> ClusterHandle::open_image(
    const std::string& text, const gateway::OpenOptions& options) {
  const auto spec = gateway::ImageSpec::parse(text);
  if (!spec) return failure(spec.error());
  return wait<std::shared_ptr<gateway::Image>>(
      [&](auto done) { gateway::Image::open(*client_, *spec, options, std::move(done)); });
}

Outcome<void> ClusterHandle::close_image(std::shared_ptr<gateway::Image> image) {
  return wait<void>([&](auto done) { image->close(std::move(done)); });
}

}  // namespace lunar::tools
