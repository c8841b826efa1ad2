// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/inline_function.h"
#include "common/result.h"
#include "gateway/client.h"
#include "gateway/image_header.h"

namespace lunar::gateway {

// The images of a pool: names in one directory object, and creating, removing, resizing them.
// Free functions, loop-bound to the client's center, which must have a map. Every `done` runs once,
// later; errors are sentences.

struct ImageSummary {
  std::string name;
  ImageId id = 0;
};

struct CreateOptions {
  uint64_t size = 0;  // bytes
  StripeLayout layout;
};

// Called now and then during long work, with object counts.
using OnProgress = InlineFunction<void(uint64_t done, uint64_t total)>;

// The pool's object size and the configured striping, with what the caller gave (not 0) instead.
StripeLayout layout_with_defaults(Client& client, const std::string& pool, uint64_t object_size,
                                  uint64_t stripe_unit, uint32_t stripe_count);

void create_image(Client& client, const ImageSpec& spec, const CreateOptions& options,
                  InlineFunction<void(Outcome<ImageHeader>)> done);

void list_images(Client& client, const std::string& pool,
                 InlineFunction<void(Outcome<std::vector<ImageSummary>>)> done);

// The header as it is now.
struct VersionedHeader {
  ImageHeader header;
  objecter::ObjectVersion version;
};
void find_image(Client& client, const ImageSpec& spec,
                InlineFunction<void(Outcome<VersionedHeader>)> done);

// Refuses while a gateway has it open. Deletes the data, then the header, then the name; one that
// was interrupted is finished by doing it again.
void remove_image(Client& client, const ImageSpec& spec, OnProgress on_progress,
                  InlineFunction<void(Outcome<void>)> done);

// Growing is allowed while the image is open: gateways notice within lunar_header_poll. Shrinking
// is refused while any has it open, deletes first and publishes the size last.
void resize_image(Client& client, const ImageSpec& spec, uint64_t size, OnProgress on_progress,
                  InlineFunction<void(Outcome<void>)> done);

// Changes a header by read, edit, compare-and-swap. `edit` may run several times.
void update_header(Client& client, objecter::PoolId pool, ImageId id,
                   InlineFunction<Outcome<void>(ImageHeader&)> edit,
                   InlineFunction<void(Outcome<void>)> done);

// Strikes a gateway that is gone for good from the header. The caller fences it first.
void unregister(Client& client, const ImageSpec& spec, const std::string& instance,
                InlineFunction<void(Outcome<void>)> done);

}  // namespace lunar::gateway
