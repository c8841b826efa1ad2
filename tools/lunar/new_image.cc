// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/new_image.h"

#include <cstdio>

#include "common/visible_text.h"
#include "tools/lunar/stop_signals.h"

namespace lunar::tools {
namespace {

// Fills the image that this command has just made, and makes it whole.
Outcome<void> fill_image(ClusterHandle& cluster, gateway::ImageId id, const std::string& text,
                         const gateway::ImageSpec& spec,
                         UniqueFunction<Outcome<void>(gateway::Image&)> fill) {
  auto image = cluster.open_image(text, {.is_import = true});
  if (!image) return failure(image.error());
  Outcome<void> done;
  if ((*image)->id() != id) {
    done = failure(objecter::OsdErrc::kBusy, "image '" + text + "' is another one by now");
  } else {
    done = fill(**image);
  }
  if (done) {
    done = cluster.wait<void>([&](auto finished) {
      gateway::finish_import(cluster.client(), id, spec, std::move(finished));
    });
  }
  const auto closed = cluster.close_image(std::move(*image));
  if (done && !closed) {
    print_visible(stderr, "lunar: image '%s' is whole, but closing it failed: %s\n", text.c_str(),
                  closed.error().message.c_str());
  }
  return done;
}

}  // namespace

Outcome<void> make_filled_image(ClusterHandle& cluster, const std::string& text,
                                gateway::CreateOptions options,
                                UniqueFunction<Outcome<void>(gateway::Image&)> fill) {
  const auto spec = gateway::ImageSpec::parse(text);
  if (!spec) return failure(spec.error());
  options.is_import = true;
  const StopSignals stop_signals;
  const auto created = cluster.wait<gateway::ImageHeader>(
      [&](auto done) { gateway::create_image(cluster.client(), *spec, options, std::move(done)); });
  if (!created) return failure(created.error());
  const auto filled = fill_image(cluster, created->id, text, *spec, std::move(fill));
  if (filled) return {};
  const auto removed = cluster.wait<void>([&](auto done) {
    gateway::abandon_import(cluster.client(), created->id, *spec, std::move(done));
  });
  const std::string& why = filled.error().message;
  if (removed) return failure(filled.error().code, why + "; no image was made");
  return failure(filled.error().code,
                 why + "; what was made was not removed: " + removed.error().message);
}

std::error_code flush_image(ClusterHandle& cluster, gateway::Image& image) {
  std::error_code error;
  bool is_flushed = false;
  image.flush({}, [&](const gateway::IoResult& result) {
    error = result.error;
    is_flushed = true;
  });
  cluster.run_until([&is_flushed] { return is_flushed; });
  return error;
}

}  // namespace lunar::tools
