// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/sim/sim_operator.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "gateway/image_directory.h"
#include "gateway/metadata/run_to_done.h"
#include "gateway/pool_scrub.h"
#include "msgr/awaiters.h"
#include "objecter/protocol/types.h"

namespace lunar::sim {
namespace {

using namespace std::chrono_literals;
using gateway::Client;
using msgr::Completion;
using objecter::OsdErrc;
using Json = nlohmann::json;

constexpr std::chrono::seconds kPatience{10};

Task<Outcome<std::string>> ask_authority(Client& client, Json request) {
  Completion<Outcome<std::string>> asked;
  client.objecter().command(-1, request.dump(), kPatience, asked.callback());
  Outcome<std::string> answer = co_await asked;
  co_return answer;
}

Task<Outcome<void>> make_pool(Client& client, std::string osds) {
  Json request = {{"prefix", "pool create"}, {"pool", kPool}};
  if (!osds.empty()) request["osds"] = osds;
  const Outcome<std::string> answer = co_await ask_authority(client, request);
  if (!answer) co_return failure(answer.error());
  co_return Outcome<void>();
}

Task<Outcome<void>> back_up_map(Client& client, std::function<void(std::string)> keep) {
  const Json request = {{"prefix", "map backup"}};
  const Outcome<std::string> map = co_await ask_authority(client, request);
  if (!map) co_return failure(map.error());
  if (map->find(kPool) != std::string::npos) keep(*map);
  co_return Outcome<void>();
}

Task<Outcome<void>> restore_map(Client& client, std::string backup, bool is_lost) {
  Json request = {
      {"prefix", "map restore"}, {"map", std::move(backup)}, {"yes_i_really_mean_it", true}};
  if (is_lost) request["osd_lost"] = "0";
  const Outcome<std::string> answer = co_await ask_authority(client, request);
  if (!answer) co_return failure(answer.error());
  co_return Outcome<void>();
}

Task<Outcome<void>> make(Client& client, std::string name, uint64_t bytes, uint64_t object_bytes) {
  const gateway::ImageSpec spec{kPool, name};
  const gateway::CreateOptions options{bytes, {object_bytes, object_bytes, 1}};
  Completion<Outcome<gateway::ImageHeader>> made;
  gateway::create_image(client, spec, options, made.callback());
  const Outcome<gateway::ImageHeader> header = co_await made;
  if (!header) co_return failure(header.error());
  co_return Outcome<void>();
}

Task<Outcome<void>> remove(Client& client, std::string name) {
  const gateway::ImageSpec spec{kPool, name};
  Completion<Outcome<void>> removed;
  gateway::remove_image(client, spec, {}, removed.callback());
  Outcome<void> ended = co_await removed;
  co_return ended;
}

Task<Outcome<void>> rename(Client& client, std::string from, std::string to) {
  const gateway::ImageSpec spec{kPool, from};
  Completion<Outcome<void>> renamed;
  gateway::rename_image(client, spec, to, renamed.callback());
  Outcome<void> ended = co_await renamed;
  co_return ended;
}

Task<Outcome<gateway::ImageHeader>> find(Client& client, std::string name) {
  const gateway::ImageSpec spec{kPool, name};
  Completion<Outcome<gateway::VersionedHeader>> completion;
  gateway::find_image(client, spec, completion.callback());
  const Outcome<gateway::VersionedHeader> found = co_await completion;
  if (!found) co_return failure(found.error());
  co_return found->header;
}

// By either name: the header of the image, which has at least one of them at any time.
Task<Outcome<gateway::ImageHeader>> find_disk(Client& client) {
  const std::string first = kNames[0];
  Outcome<gateway::ImageHeader> found = co_await find(client, first);
  if (found || found.error().code != OsdErrc::kNoSuchObject) co_return found;
  const std::string second = kNames[1];
  Outcome<gateway::ImageHeader> other = co_await find(client, second);
  co_return other;
}

Task<Outcome<void>> resize(Client& client, uint64_t bytes) {
  const Outcome<gateway::ImageHeader> found = co_await find_disk(client);
  if (!found) co_return failure(found.error());
  const gateway::ImageSpec spec{kPool, found->name};
  const gateway::ResizeOptions options{bytes, true};
  Completion<Outcome<void>> resized;
  gateway::resize_image(client, spec, options, {}, resized.callback());
  Outcome<void> ended = co_await resized;
  co_return ended;
}

Task<Outcome<void>> unregister(Client& client, std::string instance) {
  const Outcome<gateway::ImageHeader> found = co_await find_disk(client);
  if (!found) co_return failure(found.error());
  const gateway::ImageSpec spec{kPool, found->name};
  Completion<Outcome<void>> struck;
  gateway::unregister(client, spec, instance, struck.callback());
  Outcome<void> ended = co_await struck;
  co_return ended;
}

Task<Outcome<gateway::ScrubReport>> scrub(Client& client) {
  const std::string pool = kPool;
  const gateway::ScrubOptions options;
  Completion<Outcome<gateway::ScrubReport>> scrubbed;
  gateway::scrub_pool(client, pool, options, {}, scrubbed.callback());
  Outcome<gateway::ScrubReport> report = co_await scrubbed;
  co_return report;
}

Task<Outcome<void>> repair(Client& client, gateway::HeaderGuess guess, bool does_name_headers) {
  const Outcome<gateway::ScrubReport> report = co_await scrub(client);
  if (!report) co_return failure(report.error());
  const std::string pool = kPool;
  for (const gateway::ScrubFinding& finding : report->findings) {
    const bool is_named = does_name_headers && finding.kind == gateway::FindingKind::kDamagedHeader;
    if ((finding.must_be_named && !is_named) || finding.repair.empty()) continue;
    Completion<Outcome<std::string>> repaired;
    gateway::repair_finding(client, pool, finding, guess, repaired.callback());
    const Outcome<std::string> ended = co_await repaired;
    if (!ended) {
      co_return failure(ended.error().code, finding.name() + ": " + ended.error().message);
    }
  }
  co_return Outcome<void>();
}

// A disk may lose or damage what it has, which is none of the operators' doing; and a gateway that
// was killed leaves its registration.
bool is_left_over(gateway::FindingKind kind) {
  using gateway::FindingKind;
  return kind != FindingKind::kDamaged && kind != FindingKind::kLostWrites &&
         kind != FindingKind::kRegistration;
}

Task<Outcome<void>> find_nothing_left_over(Client& client) {
  const Outcome<gateway::ScrubReport> report = co_await scrub(client);
  if (!report) co_return failure(report.error());
  for (const gateway::ScrubFinding& finding : report->findings) {
    if (is_left_over(finding.kind)) {
      co_return failure(OsdErrc::kCorrupt, finding.name() + ": " + finding.what);
    }
  }
  if (report->images != 1) {
    co_return failure(OsdErrc::kCorrupt, "there are " + std::to_string(report->images) + " images");
  }
  co_return Outcome<void>();
}

Task<Outcome<void>> tidy_up(Client& client, uint64_t bytes) {
  const Outcome<void> repaired = co_await repair(client, {}, false);
  if (!repaired) co_return failure(repaired.error());
  const Outcome<void> resized = co_await resize(client, bytes);
  if (!resized) co_return failure(resized.error());
  const Outcome<gateway::ImageHeader> found = co_await find_disk(client);
  if (!found) co_return failure(found.error());
  if (found->name != kNames[0]) {
    const std::string from = found->name;
    const std::string to = kNames[0];
    const Outcome<void> renamed = co_await rename(client, from, to);
    if (!renamed) co_return failure(renamed.error());
  }
  const std::string spare = kSpare;
  const Outcome<void> removed = co_await remove(client, spare);
  if (!removed && removed.error().code != OsdErrc::kNoSuchObject) {
    co_return failure(removed.error());
  }
  const Outcome<void> clean = co_await find_nothing_left_over(client);
  if (clean) co_return Outcome<void>();
  // Of what a killed operator was making until its watch ended, the first scrub has said nothing.
  const Outcome<void> repaired_again = co_await repair(client, {}, false);
  if (!repaired_again) co_return failure(repaired_again.error());
  Outcome<void> ended = co_await find_nothing_left_over(client);
  co_return ended;
}

Task<Outcome<void>> do_work(Client& client, OperatorWork work) {
  Completion<Outcome<objecter::OsdMapRef>> waited;
  client.objecter().wait_for_map(kPatience, waited.callback());
  const Outcome<objecter::OsdMapRef> map = co_await waited;
  if (!map) co_return failure(map.error());
  Outcome<void> done = co_await work(client);
  co_return done;
}

}  // namespace

OperatorWork making_pool(const std::string& osds) {
  return [=](Client& client) { return make_pool(client, osds); };
}
OperatorWork backing_up_map(std::function<void(std::string)> keep) {
  return [keep = std::move(keep)](Client& client) { return back_up_map(client, keep); };
}
OperatorWork restoring_map(const std::string& backup, bool is_lost) {
  return [=](Client& client) { return restore_map(client, backup, is_lost); };
}
OperatorWork making(const std::string& name, uint64_t bytes, uint64_t object_bytes) {
  return [=](Client& client) { return make(client, name, bytes, object_bytes); };
}
OperatorWork removing(const std::string& name) {
  return [=](Client& client) { return remove(client, name); };
}
OperatorWork renaming(const std::string& from, const std::string& to) {
  return [=](Client& client) { return rename(client, from, to); };
}
OperatorWork resizing(uint64_t bytes) {
  return [=](Client& client) { return resize(client, bytes); };
}
OperatorWork unregistering(const std::string& instance) {
  return [=](Client& client) { return unregister(client, instance); };
}
OperatorWork repairing() {
  return [](Client& client) { return repair(client, {}, false); };
}
OperatorWork repairing_headers(uint64_t bytes, uint64_t object_bytes) {
  return [=](Client& client) {
    gateway::HeaderGuess guess;
    guess.size = bytes;
    guess.object_size = object_bytes;
    return repair(client, guess, true);
  };
}
OperatorWork tidying_up(uint64_t bytes) {
  return [=](Client& client) { return tidy_up(client, bytes); };
}

void SimOperator::begin(OperatorWork work, Duration lifetime,
                        std::function<void(Outcome<void>)> on_end) {
  auto* const life = new SimClient(place_, "operator." + std::to_string(++begun_), {});
  lives_.push_back(life);
  life->start();
  gateway::run_to_done<Outcome<void>>(
      life->process.center(), do_work(*life->client, std::move(work)),
      [this, life, on_end = std::move(on_end)](Outcome<void> ended) {
        on_end(std::move(ended));
        life->client->shutdown([this, life] { kill(*life); });
      });
  place_.host.after(lifetime, [this, life] { kill(*life); });
}

void SimOperator::kill(SimClient& life) {
  if (std::erase(lives_, &life) > 0) life.process.kill();
}

void SimOperator::kill_all() {
  while (!lives_.empty()) kill(*lives_.back());
}

}  // namespace lunar::sim
