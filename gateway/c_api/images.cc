// SPDX-License-Identifier: LGPL-2.1-or-later
// Creating, listing and changing images; opening and closing them.
#include <cstring>
#include <string>
#include <vector>

#include "gateway/c_api/handles.h"
#include "gateway/c_api/last_error.h"
#include "gateway/image_directory.h"
#include "gateway/lunar.h"

using lunar::Outcome;
using lunar::c_api::report;
using lunar::c_api::result_of;
using lunar::gateway::Image;
using lunar::gateway::ImageSpec;

int lunar_image_create(lunar_cluster_t cluster, const char* text, uint64_t size,
                       uint64_t object_size, uint64_t stripe_unit, uint32_t stripe_count) {
  const auto spec = ImageSpec::parse(text);
  if (!spec) return report(spec.error());
  const auto created = cluster->wait<lunar::gateway::ImageHeader>([&](auto done) {
    lunar::gateway::CreateOptions options;
    options.size = size;
    options.layout = lunar::gateway::layout_with_defaults(*cluster->client, spec->pool, object_size,
                                                          stripe_unit, stripe_count);
    lunar::gateway::create_image(*cluster->client, *spec, options, done);
  });
  return created ? 0 : report(created.error());
}

int lunar_image_remove(lunar_cluster_t cluster, const char* text) {
  const auto spec = ImageSpec::parse(text);
  if (!spec) return report(spec.error());
  return result_of(cluster->wait<void>(
      [&](auto done) { lunar::gateway::remove_image(*cluster->client, *spec, {}, done); }));
}

int lunar_image_resize(lunar_cluster_t cluster, const char* text, uint64_t size) {
  return lunar_image_resize2(cluster, text, size, 0);
}

int lunar_image_resize2(lunar_cluster_t cluster, const char* text, uint64_t size,
                        int allow_shrink) {
  const auto spec = ImageSpec::parse(text);
  if (!spec) return report(spec.error());
  const lunar::gateway::ResizeOptions options{.size = size, .allows_shrink = allow_shrink != 0};
  return result_of(cluster->wait<void>([&](auto done) {
    lunar::gateway::resize_image(*cluster->client, *spec, options, {}, done);
  }));
}

int64_t lunar_image_list(lunar_cluster_t cluster, const char* pool, char* names, size_t length) {
  int missing = 0;
  const int64_t size = lunar_image_list2(cluster, pool, names, length, &missing);
  return missing == 0 ? size : -EHOSTUNREACH;
}

int64_t lunar_image_list2(lunar_cluster_t cluster, const char* pool, char* names, size_t length,
                          int* missing) {
  using lunar::gateway::ImageList;
  *missing = 0;
  const auto list = cluster->wait<ImageList>(
      [&](auto done) { lunar::gateway::list_images(*cluster->client, pool, {}, done); });
  if (!list) return report(list.error());
  *missing = static_cast<int>(list->missing.size());
  if (*missing != 0) report(missing_error(*list));
  std::string joined;
  for (const auto& image : list->images) joined.append(image.name).push_back('\0');
  if (joined.size() <= length) std::memcpy(names, joined.data(), joined.size());
  return static_cast<int64_t>(joined.size());
}

int lunar_open(lunar_cluster_t cluster, const char* text, int flags, lunar_image_t* out) {
  const auto spec = ImageSpec::parse(text);
  if (!spec) return report(spec.error());
  Image::OpenOptions options{.read_only = (flags & LUNAR_OPEN_READ_ONLY) != 0};
  if ((flags & LUNAR_OPEN_SHARED) != 0) options.lock = lunar::gateway::OpenLock::kShared;
  if ((flags & LUNAR_OPEN_TAKEOVER) != 0) options.lock = lunar::gateway::OpenLock::kTakeover;
  auto image = cluster->wait<std::shared_ptr<Image>>(
      [&](auto done) { Image::open(*cluster->client, *spec, options, done); });
  if (!image) return report(image.error());
  *out = new lunar_image{cluster, std::move(*image)};
  return 0;
}

int lunar_close(lunar_image_t image) {
  const auto closed = image->cluster->wait<void>([image](auto done) {
    image->image->close([image, done](Outcome<void> result) mutable {
      image->image.reset();
      done(std::move(result));
    });
  });
  delete image;
  return result_of(closed);
}

int lunar_stat(lunar_image_t image, lunar_image_info_t* info) {
  const auto filled = image->cluster->wait<void>([&](auto done) {
    const Image& open = *image->image;
    *info = {};
    info->size = open.size();
    info->object_size = open.layout().object_size;
    info->stripe_unit = open.layout().stripe_unit;
    info->stripe_count = open.layout().stripe_count;
    std::strncpy(info->id, lunar::gateway::image_id_text(open.id()).c_str(), sizeof info->id - 1);
    std::strncpy(info->uuid, open.uuid().to_string().c_str(), sizeof info->uuid - 1);
    done(Outcome<void>{});
  });
  return result_of(filled);
}
