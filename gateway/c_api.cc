// SPDX-License-Identifier: LGPL-2.1-or-later
#include <condition_variable>
#include <cstring>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/config.h"
#include "common/perf_counters.h"
#include "common/signals.h"
#include "gateway/client.h"
#include "gateway/data_buffers.h"
#include "gateway/errno_of.h"
#include "gateway/image.h"
#include "gateway/image_directory.h"
#include "gateway/lunar.h"

// Every call is posted to the cluster's thread, where the C++ API lives, and answered through a
// completion or a promise.

using lunar::Error;
using lunar::Outcome;
using lunar::gateway::Client;
using lunar::gateway::errno_of;
using lunar::gateway::Image;
using lunar::gateway::ImageSpec;
using lunar::gateway::IoResult;

namespace {

thread_local std::string last_error;

int report(const Error& error) {
  last_error = error.message;
  return -errno_of(error.code);
}
int report(std::errc code, const char* sentence) {
  return report(Error{std::make_error_code(code), sentence});
}

}  // namespace

struct lunar_cluster {
  explicit lunar_cluster(lunar::EntityName name) : config(std::move(name)) {}

  lunar::Config config;
  lunar::PerfRegistry perf;
  std::unique_ptr<lunar::msgr::EventCenter> center;
  std::unique_ptr<Client> client;                        // made and destroyed on the thread
  std::unique_ptr<lunar::gateway::DataBuffers> buffers;  // of the client
  std::thread thread;

  // Runs `start` on the thread with a callback for its outcome, and waits for that.
  template <typename T, typename Start>
  Outcome<T> wait(Start start) {
    const auto promise = std::make_shared<std::promise<Outcome<T>>>();
    auto future = promise->get_future();
    center->post([promise, &start] {
      start([promise](Outcome<T> outcome) { promise->set_value(std::move(outcome)); });
    });
    return future.get();
  }
};

struct lunar_image {
  lunar_cluster* cluster;
  std::shared_ptr<Image> image;  // touched on the thread only
};

struct lunar_completion {
  void* arg = nullptr;
  lunar_callback_t callback = nullptr;
  std::mutex mutex;
  std::condition_variable changed;
  bool complete = false;
  bool in_use = false;
  bool released = false;
  int result = 0;
  uint64_t mismatch = 0;

  void finish(const IoResult& io) {
    result = io.error ? -errno_of(io.error) : 0;
    mismatch = io.value;
    if (callback != nullptr) callback(this, arg);
    std::unique_lock lock(mutex);
    complete = true;
    changed.notify_all();
    if (!released) return;
    lock.unlock();
    delete this;
  }
};

namespace {

// Posts `submit(image, done)` for an asynchronous call.
template <typename Submit>
int start_io(lunar_image_t image, lunar_completion_t completion, Submit submit) {
  if (image == nullptr || completion == nullptr) {
    return report(std::errc::invalid_argument, "image and completion must not be NULL");
  }
  if (std::exchange(completion->in_use, true)) {
    return report(std::errc::invalid_argument, "a completion serves one IO: create another");
  }
  image->cluster->center->post([image, completion, submit = std::move(submit)]() mutable {
    submit(*image->image, [completion](const IoResult& io) { completion->finish(io); });
  });
  return 0;
}

int result_of(const Outcome<void>& outcome) { return outcome ? 0 : report(outcome.error()); }

lunar::Bytes bytes_of(void* data, size_t length) { return {static_cast<std::byte*>(data), length}; }
lunar::ConstBytes bytes_of(const void* data, size_t length) {
  return {static_cast<const std::byte*>(data), length};
}
lunar::gateway::IoOptions options_of(int flags) {
  return {.fua = (flags & LUNAR_OP_FLAG_FUA) != 0};
}

// A completion of the library's own, waited for.
template <typename Start>
int run_io(Start start) {
  lunar_completion_t completion = nullptr;
  if (int r = lunar_completion_create(nullptr, nullptr, &completion); r != 0) return r;
  int r = start(completion);
  if (r == 0) {
    lunar_completion_wait(completion);
    r = completion->result;
    if (r != 0) last_error = std::strerror(-r);
  } else {
    completion->complete = true;
  }
  lunar_completion_release(completion);
  return r;
}

}  // namespace

const char* lunar_last_error(void) { return last_error.c_str(); }

int lunar_create(lunar_cluster_t* out, const char* conf_path, const char* entity) {
  const auto name = lunar::EntityName::parse(entity == nullptr ? "client.admin" : entity);
  if (out == nullptr || !name) {
    return report(std::errc::invalid_argument, "give a handle, and an entity as TYPE.ID");
  }
  auto cluster = std::make_unique<lunar_cluster>(*name);
  if (auto r = cluster->config.load(conf_path == nullptr ? "" : conf_path); !r) {
    return report(r.error());
  }
  *out = cluster.release();
  return 0;
}

int lunar_conf_set(lunar_cluster_t cluster, const char* option, const char* value) {
  return result_of(cluster->config.set(option, value));
}

int lunar_connect(lunar_cluster_t cluster) {
  if (cluster->center == nullptr) {
    auto center = lunar::msgr::EventCenter::create({.name = "lunar-client"});
    if (!center) return report(Error{center.error(), "cannot make an event loop"});
    cluster->center = std::move(*center);
    const lunar::BlockAllSignals blocked;
    cluster->thread = std::thread([loop = cluster->center.get()] { loop->run(); });
  }
  const auto timeout = cluster->config.get_duration("lunar_open_timeout");
  return result_of(cluster->wait<void>([cluster, timeout](auto done) {
    if (cluster->client == nullptr) {
      auto client = Client::create(cluster->config, {}, *cluster->center, cluster->perf);
      if (!client) return done(failure(client.error()));
      cluster->client = std::move(*client);
      cluster->buffers = std::make_unique<lunar::gateway::DataBuffers>(
          cluster->client->front_end_buffers(), cluster->perf);
    }
    cluster->client->objecter().wait_for_map(
        timeout, [done](Outcome<lunar::objecter::OsdMapRef> map) mutable {
          if (!map) return done(failure(map.error()));
          done(Outcome<void>{});
        });
  }));
}

void lunar_shutdown(lunar_cluster_t cluster) {
  if (cluster == nullptr) return;
  if (cluster->center != nullptr) {
    const auto ended = cluster->wait<void>([cluster](auto done) {
      if (cluster->client == nullptr) return done(Outcome<void>{});
      cluster->client->shutdown([cluster, done]() mutable {
        cluster->center->post([cluster, done]() mutable {
          cluster->buffers.reset();
          cluster->client.reset();
          done(Outcome<void>{});
        });
      });
    });
    static_cast<void>(ended);
    cluster->center->stop();
    cluster->thread.join();
  }
  delete cluster;
}

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
  const auto spec = ImageSpec::parse(text);
  if (!spec) return report(spec.error());
  return result_of(cluster->wait<void>(
      [&](auto done) { lunar::gateway::resize_image(*cluster->client, *spec, size, {}, done); }));
}

int64_t lunar_image_list(lunar_cluster_t cluster, const char* pool, char* names, size_t length) {
  using Images = std::vector<lunar::gateway::ImageSummary>;
  const auto images = cluster->wait<Images>(
      [&](auto done) { lunar::gateway::list_images(*cluster->client, pool, done); });
  if (!images) return report(images.error());
  std::string joined;
  for (const auto& image : *images) joined.append(image.name).push_back('\0');
  if (joined.size() <= length) std::memcpy(names, joined.data(), joined.size());
  return static_cast<int64_t>(joined.size());
}

int lunar_open(lunar_cluster_t cluster, const char* text, int flags, lunar_image_t* out) {
  const auto spec = ImageSpec::parse(text);
  if (!spec) return report(spec.error());
  const Image::OpenOptions options{.read_only = (flags & LUNAR_OPEN_READ_ONLY) != 0};
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

int lunar_completion_create(void* arg, lunar_callback_t callback, lunar_completion_t* out) {
  if (out == nullptr) return report(std::errc::invalid_argument, "completion must not be NULL");
  *out = new lunar_completion;
  (*out)->arg = arg;
  (*out)->callback = callback;
  return 0;
}

int lunar_completion_wait(lunar_completion_t completion) {
  std::unique_lock lock(completion->mutex);
  completion->changed.wait(lock, [completion] { return completion->complete; });
  return 0;
}

int lunar_completion_is_complete(lunar_completion_t completion) {
  const std::lock_guard lock(completion->mutex);
  return completion->complete ? 1 : 0;
}

int lunar_completion_result(lunar_completion_t completion) { return completion->result; }
uint64_t lunar_completion_mismatch(lunar_completion_t completion) { return completion->mismatch; }

void lunar_completion_release(lunar_completion_t completion) {
  std::unique_lock lock(completion->mutex);
  completion->released = true;
  const bool ended = completion->complete || !completion->in_use;
  lock.unlock();
  if (ended) delete completion;
}

int lunar_buffer_alloc(lunar_cluster_t cluster, size_t length, void** buffer) {
  if (buffer == nullptr || length == 0 || cluster->buffers == nullptr) {
    return report(std::errc::invalid_argument, "connect first, and ask for some bytes");
  }
  *buffer = cluster->buffers->allocate(length);
  if (*buffer != nullptr) return 0;
  return report(std::errc::not_enough_memory,
                "no registered memory is left (ms_async_rdma_front_end_bytes); plain memory does");
}

void lunar_buffer_free(lunar_cluster_t cluster, void* buffer) {
  if (buffer != nullptr && cluster->buffers != nullptr) cluster->buffers->release(buffer);
}

int lunar_aio_read(lunar_image_t image, uint64_t offset, size_t length, void* buffer,
                   lunar_completion_t completion) {
  if (image == nullptr) return report(std::errc::invalid_argument, "image must not be NULL");
  const auto* memory = image->cluster->buffers->find(buffer);
  return start_io(image, completion,
                  [offset, into = bytes_of(buffer, length), memory](auto& to, auto done) {
                    to.read(offset, into, {.memory = memory}, done);
                  });
}

int lunar_aio_write(lunar_image_t image, uint64_t offset, size_t length, const void* buffer,
                    int flags, lunar_completion_t completion) {
  if (image == nullptr) return report(std::errc::invalid_argument, "image must not be NULL");
  struct Args {
    uint64_t offset;
    lunar::ConstBytes from;
    lunar::gateway::IoOptions options;
  };
  auto args = std::make_unique<Args>(Args{offset, bytes_of(buffer, length), options_of(flags)});
  args->options.memory = image->cluster->buffers->find(buffer);
  return start_io(image, completion, [args = std::move(args)](auto& to, auto done) {
    to.write(args->offset, args->from, args->options, done);
  });
}

int lunar_aio_discard(lunar_image_t image, uint64_t offset, uint64_t length,
                      lunar_completion_t completion) {
  return start_io(image, completion,
                  [offset, length](auto& to, auto done) { to.discard(offset, length, {}, done); });
}

int lunar_aio_write_zeroes(lunar_image_t image, uint64_t offset, uint64_t length,
                           lunar_completion_t completion) {
  return start_io(image, completion, [offset, length](auto& to, auto done) {
    to.write_zeroes(offset, length, {}, done);
  });
}

int lunar_aio_write_same(lunar_image_t image, uint64_t offset, uint64_t length, const void* pattern,
                         size_t pattern_length, int flags, lunar_completion_t completion) {
  struct Args {
    uint64_t offset, length;
    lunar::ConstBytes pattern;
    int flags;
  };
  auto args =
      std::make_unique<Args>(Args{offset, length, bytes_of(pattern, pattern_length), flags});
  return start_io(image, completion, [args = std::move(args)](auto& to, auto done) {
    to.write_same(args->offset, args->length, args->pattern, options_of(args->flags), done);
  });
}

int lunar_aio_compare_and_write(lunar_image_t image, uint64_t offset, size_t length,
                                const void* compare, const void* buffer, int flags,
                                lunar_completion_t completion) {
  struct Args {
    uint64_t offset;
    lunar::ConstBytes compare, write;
    int flags;
  };
  auto args = std::make_unique<Args>(
      Args{offset, bytes_of(compare, length), bytes_of(buffer, length), flags});
  return start_io(image, completion, [args = std::move(args)](auto& to, auto done) {
    to.compare_and_write(args->offset, args->compare, args->write, options_of(args->flags), done);
  });
}

int lunar_aio_flush(lunar_image_t image, lunar_completion_t completion) {
  return start_io(image, completion, [](auto& to, auto done) { to.flush({}, done); });
}

int64_t lunar_read(lunar_image_t image, uint64_t offset, size_t length, void* buffer) {
  const int r = run_io([&](lunar_completion_t completion) {
    return lunar_aio_read(image, offset, length, buffer, completion);
  });
  return r != 0 ? r : static_cast<int64_t>(length);
}

int64_t lunar_write(lunar_image_t image, uint64_t offset, size_t length, const void* buffer) {
  const int r = run_io([&](lunar_completion_t completion) {
    return lunar_aio_write(image, offset, length, buffer, 0, completion);
  });
  return r != 0 ? r : static_cast<int64_t>(length);
}

int lunar_discard(lunar_image_t image, uint64_t offset, uint64_t length) {
  return run_io([&](lunar_completion_t completion) {
    return lunar_aio_discard(image, offset, length, completion);
  });
}

int lunar_flush(lunar_image_t image) {
  return run_io([&](lunar_completion_t completion) { return lunar_aio_flush(image, completion); });
}
