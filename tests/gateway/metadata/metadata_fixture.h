// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <utility>

#include "gateway/metadata/run_to_done.h"
#include "tests/gateway/image_fixture.h"

namespace lunar::gateway {

// An ImageFixture that also runs tasks.
class MetadataFixture : public ImageFixture {
 protected:
  explicit MetadataFixture(Settings settings = {}) : ImageFixture({}, std::move(settings)) {
    pool = gateway->find_pool("lunar")->id;
  }

  // Runs a task to its end.
  template <typename T>
  Outcome<T> run(Task<Outcome<T>> task) {
    return wait<T>(
        [&](auto done) { run_to_done<Outcome<T>>(*center, std::move(task), std::move(done)); });
  }

  objecter::PoolId pool = 0;
};

}  // namespace lunar::gateway
