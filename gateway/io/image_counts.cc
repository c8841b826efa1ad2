// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/image_counts.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/json.h"
#include "gateway/metadata/header_object.h"

namespace lunar::gateway {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kQuestion = "io counts?";

std::string_view text_of(ConstBytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

uint64_t number_in(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

std::chrono::nanoseconds time_in(const Json& json, const char* name) {
  constexpr uint64_t kLongest = INT64_MAX;
  return std::chrono::nanoseconds(std::min(number_in(json, name), kLongest));
}

// A client that has the image open twice answers twice, with the same.
std::vector<HolderCounts> holders_in(const objecter::NotifyResult& result) {
  std::vector<HolderCounts> holders;
  const auto add = [&holders](const objecter::ClientIdentity& client,
                              std::optional<ImageCounts> counts) {
    const auto known =
        std::find_if(holders.begin(), holders.end(),
                     [&client](const HolderCounts& each) { return each.client == client; });
    if (known == holders.end()) return holders.push_back({client, counts});
    if (!known->counts) known->counts = counts;
  };
  for (const objecter::NotifyAck& ack : result.acks)
    add(ack.who.client, decode_image_counts(text_of(ack.reply)));
  for (const objecter::WatcherId& missed : result.missed) add(missed.client, std::nullopt);
  return holders;
}

}  // namespace

bool asks_image_counts(ConstBytes payload) noexcept { return text_of(payload) == kQuestion; }

std::string encode(const ImageCounts& counts) {
  const Json json = {{"rd", counts.reads},
                     {"rd_bytes", counts.read_bytes},
                     {"rd_ns", counts.read_time.count()},
                     {"wr", counts.writes},
                     {"wr_bytes", counts.write_bytes},
                     {"wr_ns", counts.write_time.count()}};
  return json.dump();
}

std::optional<ImageCounts> decode_image_counts(std::string_view text) {
  const Json json = parse_json_or_null<Json>(text, {objecter::WatchLimits::kMaxPayloadBytes});
  if (!json.is_object()) return std::nullopt;
  ImageCounts counts;
  counts.reads = number_in(json, "rd");
  counts.read_bytes = number_in(json, "rd_bytes");
  counts.read_time = time_in(json, "rd_ns");
  counts.writes = number_in(json, "wr");
  counts.write_bytes = number_in(json, "wr_bytes");
  counts.write_time = time_in(json, "wr_ns");
  return counts;
}

void image_counts(Client& client, objecter::PoolId pool, ImageId id,
                  std::chrono::milliseconds timeout,
                  UniqueFunction<void(Result<std::vector<HolderCounts>>)> done) {
  const ConstBytes question = as_const_bytes(kQuestion);
  client.objecter().notify(
      header_of(pool, id), {question.begin(), question.end()}, timeout,
      [done = std::move(done)](const Result<objecter::NotifyResult>& result) mutable {
        if (!result) return done(failure(result.error()));
        done(holders_in(*result));
      });
}

}  // namespace lunar::gateway
