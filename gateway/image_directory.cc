// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/image_directory.h"

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/random.h"
#include "gateway/metadata_object.h"
#include "gateway/trim.h"

// The directory object maps names to ids: {"format": 1, "images": {"NAME": "16 hex digits"}}.
// Order of changes, so that an interruption leaves nothing that lies: create writes the header and
// then the name; remove marks the header, deletes data, header, and last the name.

namespace lunar::gateway {
namespace {

using Json = nlohmann::json;
using objecter::Errc;
using objecter::ObjectId;
using objecter::PoolId;
using Directory = std::map<std::string, ImageId>;

constexpr const char* kDirectoryObject = "lunar_directory";

ObjectId directory_of(PoolId pool) { return {pool, kDirectoryObject}; }

Outcome<Directory> parse_directory(const MetadataContent& content) {
  Directory out;
  if (!content.exists) return out;
  const Json json = Json::parse(content.text, nullptr, /*allow_exceptions=*/false);
  const auto corrupt =
      explain(Errc::kCorrupt, std::string("object ") + kDirectoryObject +
                                  " is not a Lunar image directory: restore it from a backup");
  if (!json.is_object() || !json.contains("format") || !json.contains("images") ||
      !json["images"].is_object()) {
    return corrupt;
  }
  if (json["format"] != 1) {
    return explain(Errc::kIncompatible, std::string("object ") + kDirectoryObject + " has format " +
                                            json["format"].dump() +
                                            ", this build knows format 1: use a newer build");
  }
  for (const auto& [name, id] : json["images"].items()) {
    if (!is_valid_image_name(name) || !id.is_string() ||
        id.get_ref<const std::string&>().size() != 16) {
      return corrupt;
    }
    out[name] = std::strtoull(id.get_ref<const std::string&>().c_str(), nullptr, 16);
  }
  return out;
}

std::string encode_directory(const Directory& directory) {
  Json images = Json::object();
  for (const auto& [name, id] : directory) images[name] = image_id_text(id);
  return Json{{"format", 1}, {"images", std::move(images)}}.dump(1);
}

// Changes the directory by read, edit, compare-and-swap.
void update_directory(Client& client, PoolId pool,
                      UniqueFunction<Outcome<bool>(Directory&)> edit,  // true: something changed
                      UniqueFunction<void(Outcome<void>)> done) {
  auto boxed = std::make_unique<UniqueFunction<Outcome<bool>(Directory&)>>(std::move(edit));
  update_metadata(
      client, directory_of(pool),
      [boxed = std::move(boxed)](const MetadataContent& content) -> Outcome<MetadataEdit> {
        auto directory = parse_directory(content);
        if (!directory) return tl::unexpected(directory.error());
        auto changed = (*boxed)(*directory);
        if (!changed) return tl::unexpected(changed.error());
        if (!*changed) return MetadataEdit{};
        return MetadataEdit{MetadataEdit::Action::kWrite, encode_directory(*directory)};
      },
      std::move(done));
}

void read_directory(Client& client, PoolId pool, UniqueFunction<void(Outcome<Directory>)> done) {
  using Done = UniqueFunction<void(Outcome<Directory>)>;
  read_metadata(
      client, directory_of(pool), client.next_io_id(),
      [pool, boxed = std::make_unique<Done>(std::move(done))](Result<MetadataContent> content) {
        if (!content) {
          return (*boxed)(
              tl::unexpected(metadata_error("read", directory_of(pool), content.error())));
        }
        (*boxed)(parse_directory(*content));
      });
}

Error no_such_image(const ImageSpec& spec) {
  return {make_error_code(Errc::kNoSuchObject), "no image '" + spec.image + "' in pool '" +
                                                    spec.pool + "': see 'lunar ls " + spec.pool +
                                                    "'"};
}

void read_header(Client& client, PoolId pool, ImageId id, const ImageSpec& spec,
                 UniqueFunction<void(Outcome<VersionedHeader>)> done) {
  struct Read {
    ObjectId object;
    ImageSpec spec;
    UniqueFunction<void(Outcome<VersionedHeader>)> done;
  };
  auto read = std::make_unique<Read>(Read{{pool, header_object_name(id)}, spec, std::move(done)});
  const ObjectId object = read->object;
  read_metadata(
      client, object, client.next_io_id(),
      [read = std::move(read)](Result<MetadataContent> content) {
        if (!content) {
          return read->done(tl::unexpected(metadata_error("read", read->object, content.error())));
        }
        if (!content->exists) return read->done(tl::unexpected(no_such_image(read->spec)));
        auto header = decode_image_header(content->text, read->object.name);
        if (!header) return read->done(tl::unexpected(header.error()));
        read->done(VersionedHeader{std::move(*header), content->version});
      });
}

Outcome<void> require_unregistered(const ImageHeader& header, const char* what) {
  if (header.registrations.empty()) return {};
  std::string who;
  for (const auto& each : header.registrations) {
    who += (who.empty() ? "" : ", ") + each.entity + " at " + each.instance;
  }
  return explain(Errc::kBusy, std::string(what) + " image '" + header.name +
                                  "' refused: it is open by " + who +
                                  "; close it there, or strike a dead gateway with 'lunar "
                                  "unregister POOL/IMAGE INSTANCE'");
}

// Shared by the calls that take several steps; keeps the caller's arguments alive.
struct Work {
  Client& client;
  ImageSpec spec;
  PoolId pool = 0;
  ImageHeader header;
  OnProgress on_progress;
  UniqueFunction<void(Outcome<void>)> done;

  void fail(Error error) { done(tl::unexpected(std::move(error))); }
};

std::shared_ptr<Work> make_work(Client& client, const ImageSpec& spec, OnProgress on_progress,
                                UniqueFunction<void(Outcome<void>)> done) {
  auto work =
      std::make_shared<Work>(Work{client, spec, 0, {}, std::move(on_progress), std::move(done)});
  return work;
}

void drop_name(const std::shared_ptr<Work>& work) {
  update_directory(
      work->client, work->pool,
      [work](Directory& directory) -> Outcome<bool> {
        const auto found = directory.find(work->spec.image);
        if (found == directory.end() || found->second != work->header.id) return false;
        directory.erase(found);
        return true;
      },
      [work](Outcome<void> result) { work->done(std::move(result)); });
}

void delete_header(const std::shared_ptr<Work>& work) {
  update_metadata(
      work->client, {work->pool, header_object_name(work->header.id)},
      [](const MetadataContent& content) -> Outcome<MetadataEdit> {
        return MetadataEdit{
            content.exists ? MetadataEdit::Action::kDelete : MetadataEdit::Action::kKeep, {}};
      },
      [work](Outcome<void> result) {
        if (!result) return work->fail(result.error());
        drop_name(work);
      });
}

void delete_data(const std::shared_ptr<Work>& work) {
  const uint64_t end = std::max(work->header.size, work->header.trimmed_from);
  trim_image(work->client, work->pool, work->header, 0, end, std::move(work->on_progress),
             [work](std::error_code error) {
               if (error) {
                 return work->fail({error, "deleting the data of image '" + work->spec.image +
                                               "' failed: " + error.message() + "; run it again"});
               }
               delete_header(work);
             });
}

void publish_size(const std::shared_ptr<Work>& work, uint64_t size) {
  update_header(
      work->client, work->pool, work->header.id,
      [work, size](ImageHeader& header) -> Outcome<void> {
        if (size < header.size) {
          if (auto free = require_unregistered(header, "shrinking"); !free) return free;
          header.trimmed_from = std::max(header.trimmed_from, header.size);
        }
        header.size = size;
        return {};
      },
      [work](Outcome<void> result) { work->done(std::move(result)); });
}

void trim_then_publish(const std::shared_ptr<Work>& work, uint64_t from, uint64_t to,
                       uint64_t size) {
  trim_image(work->client, work->pool, work->header, from, to, std::move(work->on_progress),
             [work, size](std::error_code error) {
               if (error) {
                 return work->fail({error, "clearing image '" + work->spec.image +
                                               "' from its old "
                                               "end failed: " +
                                               error.message()});
               }
               publish_size(work, size);
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
                  UniqueFunction<void(Outcome<ImageHeader>)> done) {
  struct Create {
    Client& client;
    PoolId pool = 0;
    ImageHeader header;
    UniqueFunction<void(Outcome<ImageHeader>)> done;
  };
  auto create = std::make_shared<Create>(Create{client, 0, {}, std::move(done)});
  const auto refuse = [&](Error error) {
    client.center().post([create, error = std::make_shared<Error>(std::move(error))] {
      create->done(tl::unexpected(*error));
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
          create->done(tl::unexpected(*why));
        });
  };
  const auto add_name = [create, drop_header] {
    update_directory(
        create->client, create->pool,
        [create](Directory& directory) -> Outcome<bool> {
          const auto [place, is_new] = directory.emplace(create->header.name, create->header.id);
          if (!is_new && place->second != create->header.id) {
            return explain(Errc::kExists, "image '" + create->header.name +
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
        if (!result) return create->done(tl::unexpected(result.error()));
        add_name();
      });
}

void list_images(Client& client, const std::string& pool_name,
                 UniqueFunction<void(Outcome<std::vector<ImageSummary>>)> done) {
  using Done = UniqueFunction<void(Outcome<std::vector<ImageSummary>>)>;
  auto boxed = std::make_shared<Done>(std::move(done));
  const auto pool = client.find_pool(pool_name);
  if (!pool) {
    client.center().post([boxed, error = std::make_shared<Error>(pool.error())] {
      (*boxed)(tl::unexpected(*error));
    });
    return;
  }
  read_directory(client, pool->id, [boxed](Outcome<Directory> directory) {
    if (!directory) return (*boxed)(tl::unexpected(directory.error()));
    std::vector<ImageSummary> images;
    for (const auto& [name, id] : *directory) images.push_back({name, id});
    (*boxed)(std::move(images));
  });
}

void find_image(Client& client, const ImageSpec& spec,
                UniqueFunction<void(Outcome<VersionedHeader>)> done) {
  struct Find {
    Client& client;
    ImageSpec spec;
    UniqueFunction<void(Outcome<VersionedHeader>)> done;
  };
  auto find = std::make_shared<Find>(Find{client, spec, std::move(done)});
  const auto pool = client.find_pool(spec.pool);
  if (!pool) {
    client.center().post([find, error = std::make_shared<Error>(pool.error())] {
      find->done(tl::unexpected(*error));
    });
    return;
  }
  read_directory(client, pool->id, [find, pool_id = pool->id](Outcome<Directory> directory) {
    if (!directory) return find->done(tl::unexpected(directory.error()));
    const auto found = directory->find(find->spec.image);
    if (found == directory->end()) return find->done(tl::unexpected(no_such_image(find->spec)));
    read_header(find->client, pool_id, found->second, find->spec,
                [find](Outcome<VersionedHeader> header) { find->done(std::move(header)); });
  });
}

void remove_image(Client& client, const ImageSpec& spec, OnProgress on_progress,
                  UniqueFunction<void(Outcome<void>)> done) {
  auto work = make_work(client, spec, std::move(on_progress), std::move(done));
  const auto pool = client.find_pool(spec.pool);
  if (pool) work->pool = pool->id;
  const auto mark = [work](const ImageHeader& header) {
    work->header = header;
    update_header(
        work->client, work->pool, header.id,
        [](ImageHeader& current) -> Outcome<void> {
          if (auto free = require_unregistered(current, "removing"); !free) return free;
          current.state = ImageState::kRemoving;
          return {};
        },
        [work](Outcome<void> result) {
          if (!result) return work->fail(result.error());
          delete_data(work);
        });
  };
  find_image(client, spec, [work, mark](Outcome<VersionedHeader> found) {
    if (found) return mark(found->header);
    if (found.error().code != Errc::kNoSuchObject || work->pool == 0) {
      return work->fail(found.error());
    }
    // The header may be gone and the name left, from an interrupted removal.
    const auto had_name = std::make_shared<bool>(false);
    update_directory(
        work->client, work->pool,
        [work, had_name](Directory& directory) -> Outcome<bool> {
          *had_name = directory.erase(work->spec.image) != 0 || *had_name;
          return *had_name;
        },
        [work, had_name, why = std::make_shared<Error>(found.error())](Outcome<void> result) {
          if (!result) return work->fail(result.error());
          if (!*had_name) return work->fail(*why);
          work->done({});
        });
  });
}

void resize_image(Client& client, const ImageSpec& spec, uint64_t size, OnProgress on_progress,
                  UniqueFunction<void(Outcome<void>)> done) {
  auto work = make_work(client, spec, std::move(on_progress), std::move(done));
  if (auto r = validate_image_size(size); !r) {
    client.center().post(
        [work, error = std::make_shared<Error>(r.error())] { work->fail(*error); });
    return;
  }
  const auto pool = client.find_pool(spec.pool);
  if (pool) work->pool = pool->id;
  find_image(client, spec, [work, size](Outcome<VersionedHeader> found) {
    if (!found) return work->fail(found.error());
    const ImageHeader& header = work->header = std::move(found->header);
    if (header.state == ImageState::kRemoving) {
      return work->fail({make_error_code(Errc::kBusy),
                         "image '" + header.name + "' is being removed: finish with 'lunar rm'"});
    }
    if (size < header.size) {
      if (auto free = require_unregistered(header, "shrinking"); !free) {
        return work->fail(free.error());
      }
      return trim_then_publish(work, size, header.size, size);
    }
    const uint64_t old_data_end = std::min(size, header.trimmed_from);
    if (old_data_end > header.size) {
      return trim_then_publish(work, header.size, old_data_end, size);
    }
    publish_size(work, size);
  });
}

void update_header(Client& client, PoolId pool, ImageId id,
                   UniqueFunction<Outcome<void>(ImageHeader&)> edit,
                   UniqueFunction<void(Outcome<void>)> done) {
  const ObjectId object{pool, header_object_name(id)};
  auto boxed = std::make_unique<UniqueFunction<Outcome<void>(ImageHeader&)>>(std::move(edit));
  update_metadata(
      client, object,
      [boxed = std::move(boxed), name = std::make_unique<std::string>(object.name)](
          const MetadataContent& content) -> Outcome<MetadataEdit> {
        if (!content.exists) {
          return explain(Errc::kNoSuchObject, "image header " + *name + " is gone");
        }
        auto header = decode_image_header(content.text, *name);
        if (!header) return tl::unexpected(header.error());
        if (auto edited = (*boxed)(*header); !edited) return tl::unexpected(edited.error());
        std::string text = encode(*header);
        if (text == content.text) return MetadataEdit{};
        return MetadataEdit{MetadataEdit::Action::kWrite, std::move(text)};
      },
      std::move(done));
}

void unregister(Client& client, const ImageSpec& spec, const std::string& instance,
                UniqueFunction<void(Outcome<void>)> done) {
  auto work = make_work(client, spec, {}, std::move(done));
  const auto pool = client.find_pool(spec.pool);
  if (pool) work->pool = pool->id;
  find_image(client, spec,
             [work, who = std::make_shared<std::string>(instance)](Outcome<VersionedHeader> found) {
               if (!found) return work->fail(found.error());
               update_header(
                   work->client, work->pool, found->header.id,
                   [who](ImageHeader& header) -> Outcome<void> {
                     const auto erased = std::erase_if(
                         header.registrations,
                         [&](const Registration& each) { return each.instance == *who; });
                     if (erased != 0) return {};
                     return explain(std::errc::invalid_argument, "image '" + header.name +
                                                                     "' has no registration of '" +
                                                                     *who + "': see 'lunar info'");
                   },
                   [work](Outcome<void> result) { work->done(std::move(result)); });
             });
}

}  // namespace lunar::gateway
