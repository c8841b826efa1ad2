// SPDX-License-Identifier: LGPL-2.1-or-later
// Renaming an image: it gets the new name, its header says so, and the old name goes. Between these
// steps both names lead to the image; whoever repeats the command finishes it, and so does a
// removal, which takes out the header's name too.
#include <utility>

#include "gateway/image_directory.h"
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/name_object.h"
#include "gateway/metadata/run_to_done.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

// Inside the compare-and-swap: of two renamings of one image only the first happens.
Outcome<void> rename_header(ImageHeader& header, const std::string& from, const std::string& to) {
  if (header.state == ImageState::kRemoving) {
    return failure(OsdErrc::kBusy, "image '" + from + "' is being removed: finish with 'lunar rm'");
  }
  if (header.name != from && header.name != to) {
    return failure(OsdErrc::kBusy, "image '" + from + "' has the name '" + header.name +
                                       "' in its header: it was renamed meanwhile, or 'lunar "
                                       "scrub' shows what is wrong");
  }
  header.name = to;
  return {};
}

Task<Outcome<void>> rename(Client& client, ImageSpec spec, std::string to) {
  if (!is_valid_image_name(to)) {
    co_return failure(std::errc::invalid_argument,
                      "'" + to +
                          "' is no image name: use 1 to 128 of A-Z a-z 0-9 . _ -, not "
                          "beginning with . or -");
  }
  if (to == spec.image) {
    co_return failure(OsdErrc::kExists, "the image has the name '" + to + "' already");
  }
  const Outcome<VersionedHeader> found = co_await find_header(client, spec);
  if (!found) co_return failure(found.error());
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  const ImageId id = found->header.id;
  // Before the new name is there: what cannot happen changes nothing.
  ImageHeader tried = found->header;
  if (auto allowed = rename_header(tried, spec.image, to); !allowed)
    co_return failure(allowed.error());
  const Outcome<void> added = co_await add_name(client, pool->id, to, id);
  if (!added) co_return failure(added.error());
  HeaderEditor edit = [&](ImageHeader& header) { return rename_header(header, spec.image, to); };
  const Outcome<void> renamed = co_await update_header(client, pool->id, id, std::move(edit));
  if (!renamed) {
    // Of any other error it is not known whether the header has the new name.
    const std::error_code why = renamed.error().code;
    if (why == OsdErrc::kBusy || why == OsdErrc::kNoSuchObject || why == OsdErrc::kNotPermitted) {
      const Outcome<void> dropped = co_await drop_name(client, pool->id, to, id);
      static_cast<void>(dropped);  // a name without a header is in nobody's way: 'lunar rm'
    }
    co_return failure(renamed.error());
  }
  Outcome<void> dropped = co_await drop_name(client, pool->id, spec.image, id);
  co_return dropped;
}

}  // namespace

void rename_image(Client& client, const ImageSpec& spec, const std::string& name,
                  UniqueFunction<void(Outcome<void>)> done) {
  run_to_done(client.center(), rename(client, spec, name), std::move(done));
}

}  // namespace lunar::gateway
