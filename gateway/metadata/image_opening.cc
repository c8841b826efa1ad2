// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/image_opening.h"

#include <utility>

#include "common/task.h"
#include "gateway/metadata/run_to_done.h"
#include "msgr/awaiters.h"

namespace lunar::gateway {
namespace {

Task<Outcome<std::shared_ptr<Image>>> map_then_open(Client& client, ImageSpec spec,
                                                    OpenOptions options,
                                                    std::chrono::nanoseconds timeout) {
  msgr::Completion<Outcome<objecter::OsdMapRef>> mapped;
  client.objecter().wait_for_map(timeout, mapped.callback());
  const Outcome<objecter::OsdMapRef> map = co_await mapped;
  if (!map) co_return failure(map.error());
  msgr::Completion<Outcome<std::shared_ptr<Image>>> opened;
  Image::open(client, spec, options, opened.callback());
  Outcome<std::shared_ptr<Image>> image = co_await opened;
  co_return image;
}

}  // namespace

void open_image_when_mapped(Client& client, const ImageSpec& spec, const OpenOptions& options,
                            std::chrono::nanoseconds timeout,
                            UniqueFunction<void(Outcome<std::shared_ptr<Image>>)> done) {
  run_to_done(client.center(), map_then_open(client, spec, options, timeout), std::move(done));
}

}  // namespace lunar::gateway
