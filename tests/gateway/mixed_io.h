// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/random.h"
#include "gateway/client.h"
#include "gateway/image.h"

namespace lunar::gateway {

// Verified random IO on an image of zeroes that nobody else changes: of 512 bytes to a whole
// region, of the kinds that move payload, in memory of every kind. One IO at a time in each region.
// Loop-bound. Borrows the engine.
class MixedIo {
 public:
  struct Io {
    enum class Kind : uint8_t { kRead, kWrite, kWriteSame, kCompareAndWrite };
    Kind kind = Kind::kRead;
    uint64_t offset = 0;
    std::string expected;  // in the range, once it is done
    std::string given;     // in our memory before it
    msgr::RegisteredBuffer lease;
    std::vector<std::byte> plain;  // without a lease
    std::optional<IoResult> result;
    Bytes memory() { return lease ? lease.bytes() : Bytes(plain); }
  };

  MixedIo(RandomEngine& random, uint64_t image_bytes, uint64_t regions);

  std::unique_ptr<Io> start(Client& client, Image& image, uint64_t region);
  // Call it when the result has come. A sentence about a mismatch; empty if there is none.
  std::string finish(Io& io);
  const std::string& model() const noexcept { return model_; }  // the expected content

 private:
  void choose_range(Io& io, uint64_t region, uint64_t* length);
  void take_memory(Io& io, Client& client, uint64_t bytes);
  void fill(Bytes memory);

  RandomEngine& random_;
  const uint64_t region_bytes_;
  std::string model_;
  // Leases that no device of a client knows.
  const std::unique_ptr<msgr::BufferPool> foreign_;
};

}  // namespace lunar::gateway
