// SPDX-License-Identifier: LGPL-2.1-or-later
// Cluster handles. Every call of the C API is posted to the handle's thread, where the C++ API
// lives, and answered through a completion or a promise.
#include <memory>

#include "common/signals.h"
#include "gateway/c_api/handles.h"
#include "gateway/c_api/last_error.h"
#include "gateway/lunar.h"
#include "gateway/metadata/run_to_done.h"
#include "msgr/awaiters.h"

using lunar::Error;
using lunar::Outcome;
using lunar::Task;
using lunar::c_api::report;
using lunar::c_api::result_of;
using lunar::gateway::Client;
using lunar::gateway::run_to_done;

namespace {

constexpr std::chrono::nanoseconds kNextTurn{0};

int start_thread(lunar_cluster& cluster) {
  auto center = lunar::msgr::EventCenter::create({.name = "lunar-client"});
  if (!center) return report(Error{center.error(), "cannot make an event loop"});
  cluster.center = std::move(*center);
  const lunar::BlockAllSignals blocked;
  cluster.thread = std::thread([loop = cluster.center.get()] { loop->run(); });
  return 0;
}

// On the thread, as the next one. The caller waits, so the handle stays.
Task<Outcome<void>> connect_client(lunar_cluster& cluster) {
  if (cluster.client == nullptr) {
    auto made = Client::create(cluster.config, {}, *cluster.center, cluster.perf);
    if (!made) co_return failure(made.error());
    cluster.client = std::move(*made);
    cluster.buffers = std::make_unique<lunar::gateway::DataBuffers>(
        cluster.client->front_end_buffers(), cluster.perf);
  }
  Client& client = *cluster.client;
  const auto timeout = cluster.config.get_duration("lunar_open_timeout");
  lunar::msgr::Completion<Outcome<lunar::objecter::OsdMapRef>> mapped;
  client.objecter().wait_for_map(timeout, mapped.callback());
  const Outcome<lunar::objecter::OsdMapRef> map = co_await mapped;
  if (!map) co_return failure(map.error());
  co_return Outcome<void>();
}

Task<Outcome<void>> end_client(lunar_cluster& cluster) {
  if (cluster.client == nullptr) co_return Outcome<void>();
  lunar::msgr::Completion<void> ended;
  cluster.client->shutdown(ended.callback());
  co_await ended;
  lunar::msgr::Sleeper next_turn(*cluster.center);  // the client is still in its callback
  co_await next_turn.sleep(kNextTurn);
  cluster.buffers.reset();
  cluster.client.reset();
  co_return Outcome<void>();
}

}  // namespace

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
    if (const int r = start_thread(*cluster); r != 0) return r;
  }
  return result_of(cluster->wait<void>([cluster](auto done) {
    run_to_done<Outcome<void>>(*cluster->center, connect_client(*cluster), std::move(done));
  }));
}

void lunar_shutdown(lunar_cluster_t cluster) {
  if (cluster == nullptr) return;
  if (cluster->center != nullptr) {
    const auto ended = cluster->wait<void>([cluster](auto done) {
      run_to_done<Outcome<void>>(*cluster->center, end_client(*cluster), std::move(done));
    });
    static_cast<void>(ended);
    cluster->center->stop();
    cluster->thread.join();
  }
  delete cluster;
}

int lunar_buffer_alloc(lunar_cluster_t cluster, size_t length, void** buffer) {
  if (buffer == nullptr || length == 0 || cluster->buffers == nullptr) {
    return report(std::errc::invalid_argument, "connect first, and ask for some bytes");
  }
  *buffer = cluster->buffers->allocate(length);
  if (*buffer != nullptr) return 0;
  return report(std::errc::not_enough_memory,
                "no registered memory is left (ms_async_rdma_front_end_bytes): use plain memory");
}

void lunar_buffer_free(lunar_cluster_t cluster, void* buffer) {
  if (buffer != nullptr && cluster->buffers != nullptr) cluster->buffers->release(buffer);
}
