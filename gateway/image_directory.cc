// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/image_directory.h"

#include <memory>
#include <utility>

#include "common/random.h"
#include "gateway/directory_object.h"
#include "gateway/metadata_object.h"

namespace lunar::gateway {
namespace {

using objecter::ObjectId;
using objecter::OsdErrc;
using objecter::PoolId;
Error no_such_image(const ImageSpec& spec) {
  return {make_error_code(OsdErrc::kNoSuchObject), "no image '" + spec.image + "' in pool '" +
                                                       spec.pool + "': see 'lunar ls " + spec.pool +
                                                       "'"};
}

void read_header(Client& client, PoolId pool, ImageId id, const ImageSpec& spec,
                 InlineFunction<void(Outcome<VersionedHeader>)> done) {
  struct Read {
    ObjectId object;
    ImageSpec spec;
    InlineFunction<void(Outcome<VersionedHeader>)> done;
  };
  auto read = std::make_unique<Read>(Read{{pool, header_object_name(id)}, spec, std::move(done)});
  const ObjectId object = read->object;
  read_metadata(
      client, object, client.next_io_id(),
      [read = std::move(read)](Result<MetadataContent> content) {
        if (!content) {
          return read->done(failure(metadata_error("read", read->object, content.error())));
        }
        if (!content->exists) return read->done(failure(no_such_image(read->spec)));
        auto header = decode_image_header(content->text, read->object.name);
        if (!header) return read->done(failure(header.error()));
        read->done(VersionedHeader{std::move(*header), content->version});
      });
}

}  // namespace

StripeLayout layout_with_defaults(Client& client, const std::string& pool_name,
                                  uint64_t object_size, uint64_t stripe_unit,
                                  uint32_t stripe_count) {
  const Config& config = client.config();
  StripeLayout layout;
  const auto pool = client.find_pool(pool_name);
  layout.object_size = object_size != 0 ? object_size
                       : pool           ? pool->object_size
                                        : config.get_size("lunar_default_object_size");
  layout.stripe_unit =
      stripe_unit != 0 ? stripe_unit : config.get_size("lunar_default_stripe_unit");
  if (layout.stripe_unit == 0) layout.stripe_unit = layout.object_size;
  layout.stripe_count = stripe_count != 0
                            ? stripe_count
                            : static_cast<uint32_t>(config.get_uint("lunar_default_stripe_count"));
  return layout;
}

void create_image(Client& client, const ImageSpec& spec, const CreateOptions& options,
                  InlineFunction<void(Outcome<ImageHeader>)> done) {
  struct Create {
    Client& client;
    PoolId pool = 0;
    ImageHeader header;
    InlineFunction<void(Outcome<ImageHeader>)> done;
  };
  auto create = std::make_shared<Create>(Create{client, 0, {}, std::move(done)});
  const auto refuse = [&](Error error) {
    client.center().post([create, error = std::make_shared<Error>(std::move(error))] {
      create->done(failure(*error));
    });
  };
  const auto pool = client.find_pool(spec.pool);
  if (!pool) return refuse(pool.error());
  if (auto r = validate_image_size(options.size); !r) return refuse(r.error());
  if (auto r = validate(options.layout); !r) return refuse(r.error());

  create->pool = pool->id;
  ImageHeader& header = create->header;
  header.id = random_u64() | 1;
  header.name = spec.image;
  header.uuid = Uuid::random();
  header.size = options.size;
  header.layout = options.layout;

  const auto drop_header = [create](Error why) {
    update_metadata(
        create->client, {create->pool, header_object_name(create->header.id)},
        [](const MetadataContent&) -> Outcome<MetadataEdit> {
          return MetadataEdit{MetadataEdit::Action::kDelete, {}};
        },
        [create, why = std::make_shared<Error>(std::move(why))](const Outcome<void>&) {
          create->done(failure(*why));
        });
  };
  const auto add_name = [create, drop_header] {
    update_directory(
        create->client, create->pool,
        [create](Directory& directory) -> Outcome<bool> {
          const auto [place, is_new] = directory.emplace(create->header.name, create->header.id);
          if (!is_new && place->second != create->header.id) {
            return failure(OsdErrc::kExists, "image '" + create->header.name +
                                                 "' exists: choose another name or remove it");
          }
          return is_new;
        },
        [create, drop_header](Outcome<void> result) {
          if (!result) return drop_header(result.error());
          create->done(create->header);
        });
  };
  update_metadata(
      client, {create->pool, header_object_name(header.id)},
      [create](const MetadataContent&) -> Outcome<MetadataEdit> {
        return MetadataEdit{MetadataEdit::Action::kWrite, encode(create->header)};
      },
      [create, add_name](Outcome<void> result) {
        if (!result) return create->done(failure(result.error()));
        add_name();
      });
}

void list_images(Client& client, const std::string& pool_name,
                 InlineFunction<void(Outcome<std::vector<ImageSummary>>)> done) {
  using Done = InlineFunction<void(Outcome<std::vector<ImageSummary>>)>;
  auto boxed = std::make_shared<Done>(std::move(done));
  const auto pool = client.find_pool(pool_name);
  if (!pool) {
    client.center().post(
        [boxed, error = std::make_shared<Error>(pool.error())] { (*boxed)(failure(*error)); });
    return;
  }
  read_directory(client, pool->id, [boxed](Outcome<Directory> directory) {
    if (!directory) return (*boxed)(failure(directory.error()));
    std::vector<ImageSummary> images;
    for (const auto& [name, id] : *directory) images.push_back({name, id});
    (*boxed)(std::move(images));
  });
}

void find_image(Client& client, const ImageSpec& spec,
                InlineFunction<void(Outcome<VersionedHeader>)> done) {
  struct Find {
    Client& client;
    ImageSpec spec;
    InlineFunction<void(Outcome<VersionedHeader>)> done;
  };
  auto find = std::make_shared<Find>(Find{client, spec, std::move(done)});
  const auto pool = client.find_pool(spec.pool);
  if (!pool) {
    client.center().post(
        [find, error = std::make_shared<Error>(pool.error())] { find->done(failure(*error)); });
    return;
  }
  read_directory(client, pool->id, [find, pool_id = pool->id](Outcome<Directory> directory) {
    if (!directory) return find->done(failure(directory.error()));
    const auto found = directory->find(find->spec.image);
    if (found == directory->end()) return find->done(failure(no_such_image(find->spec)));
    read_header(find->client, pool_id, found->second, find->spec,
                [find](Outcome<VersionedHeader> header) { find->done(std::move(header)); });
  });
}

void update_header(Client& client, PoolId pool, ImageId id,
                   InlineFunction<Outcome<void>(ImageHeader&)> edit,
                   InlineFunction<void(Outcome<void>)> done) {
  const ObjectId object{pool, header_object_name(id)};
  auto boxed = std::make_unique<InlineFunction<Outcome<void>(ImageHeader&)>>(std::move(edit));
  update_metadata(
      client, object,
      [boxed = std::move(boxed), name = std::make_unique<std::string>(object.name)](
          const MetadataContent& content) -> Outcome<MetadataEdit> {
        if (!content.exists) {
          return failure(OsdErrc::kNoSuchObject, "image header " + *name + " is gone");
        }
        auto header = decode_image_header(content.text, *name);
        if (!header) return failure(header.error());
        if (auto edited = (*boxed)(*header); !edited) return failure(edited.error());
        std::string text = encode(*header);
        if (text == content.text) return MetadataEdit{};
        return MetadataEdit{MetadataEdit::Action::kWrite, std::move(text)};
      },
      std::move(done));
}

}  // namespace lunar::gateway
