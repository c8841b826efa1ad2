// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "common/config.h"
#include "common/perf_counters.h"
#include "gateway/client.h"
#include "gateway/data_buffers.h"
#include "gateway/image.h"
#include "gateway/lunar.h"
#include "msgr/event_center.h"

// A cluster handle: a thread that drives one event loop, and the client on it. Any thread may post
// to the center; the client and its images are touched on the handle's thread only.
struct lunar_cluster {
  explicit lunar_cluster(lunar::EntityName name) : config(std::move(name)) {}

  lunar::Config config;
  lunar::PerfRegistry perf;
  std::unique_ptr<lunar::msgr::EventCenter> center;      // null until lunar_connect(), with thread
  std::unique_ptr<lunar::gateway::Client> client;        // made and destroyed on the thread
  std::unique_ptr<lunar::gateway::DataBuffers> buffers;  // of the client; null exactly if it is
  std::thread thread;

  // Runs `start` on the thread with a callback for its outcome, and waits for that. Not to be
  // called on the thread itself.
  template <typename T, typename Start>
  lunar::Outcome<T> wait(Start start) {
    const auto promise = std::make_shared<std::promise<lunar::Outcome<T>>>();
    auto future = promise->get_future();
    center->post([promise, &start] {
      start([promise](lunar::Outcome<T> outcome) { promise->set_value(std::move(outcome)); });
    });
    return future.get();
  }
};

// An image handle, from lunar_open() to lunar_close().
struct lunar_image {
  lunar_cluster* cluster;
  std::shared_ptr<lunar::gateway::Image> image;  // touched on the thread only
};
