// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/sim/sim_run.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "objecter/protocol/types.h"
#include "tests/history/history_checker.h"
#include "tests/sim/sim_operator.h"

namespace lunar::sim {
namespace {

using namespace std::chrono_literals;

constexpr unsigned kServers = 3;
constexpr unsigned kGateways = 2;
constexpr uint64_t kObjectBytes = Workload().object_blocks * SimGateway::kBlock;
// What the gateways use of the image; it may be larger.
constexpr uint64_t kImageBytes = Workload().image_blocks * SimGateway::kBlock;

class Run {
 public:
  explicit Run(const RunOptions& options)
      : options_(options), host_(options.seed), wire_(msgr::LoopbackOptions{}) {}

  RunResult go() {
    if (set_up()) {
      play();
      if (heal() && operate("tidying up", tidying_up(kImageBytes), 180s)) read_everything();
      judge();
    }
    result_.trace_hash = host_.trace_hash();
    result_.simulated = host_.elapsed();
    result_.turns = host_.turns();
    for (const auto& gateway : gateways_) result_.commands += gateway->commands();
    for (const auto& gateway : retired_) result_.commands += gateway->commands();
    return std::move(result_);
  }

 private:
  void say(const std::string& text) {
    if (options_.is_verbose) {
      fmt::print("{:>12.6f} {}\n", std::chrono::duration<double>(host_.elapsed()).count(), text);
    }
  }
  bool wrong(const std::string& sentence) {
    result_.faults.push_back(sentence);
    say("WRONG: " + sentence);
    return false;
  }
  bool all_servers_ready() const {
    for (const auto& server : servers_) {
      if (!server->is_ready()) return false;
    }
    return true;
  }
  bool run_for(Duration limit, const std::function<bool()>& until) {
    return host_.run(until, host_.now() + limit);
  }

  bool set_up();
  bool make_image();
  // Until it has ended well, again while something is busy; or it is wrong.
  bool operate(const std::string& what, const OperatorWork& work, Duration limit);
  OperatorWork work_of(const Fault& fault);
  void play();
  void strike(const Fault& fault);
  void lose_authority(Duration lifetime);
  bool restore_map_if_lost();
  void swap_stores(SimServer& server, bool is_copy, Duration length);
  bool heal();
  // In half of the seeds the authority is a server without objects, and may lose its store.
  bool is_authority_apart() const { return options_.seed % 2 == 0; }
  // One gateway at a time has the image: of a third of the seeds.
  bool is_exclusive() const { return options_.seed % 3 == 0; }
  void read_everything();
  void judge();
  bool run_command(SimGateway& gateway, const HistoryOp& op, HistoryOutcome* how);

  const RunOptions options_;
  SimHost host_;
  msgr::LoopbackStack wire_;
  test::History history_;
  std::optional<SimOperator> operator_;
  std::vector<std::unique_ptr<SimServer>> servers_;
  std::vector<std::unique_ptr<SimGateway>> gateways_;
  std::vector<std::unique_ptr<SimGateway>>
      retired_;  // what is planned for them may still refer to them
  uint64_t next_id_ = 1;
  int owner_ = 0;
  std::string backup_;       // of the map: the last one
  std::string lost_backup_;  // the last one when the authority lost its store
  bool is_map_lost_ = false;
  bool loses_authority_ = false;  // the script says so
  bool may_have_damage_ = false;
  bool is_healed_ = false;
  RunResult result_;
};

bool Run::set_up() {
  history_.let_writes_repeat();  // docs/durability.md
  std::vector<msgr::Address> addresses;
  const SimServer::Place place{host_, wire_, options_.folder, Uuid::random()};
  for (unsigned id = 0; id < kServers; ++id) {
    servers_.push_back(std::make_unique<SimServer>(place, static_cast<osd::OsdId>(id)));
    addresses.push_back(servers_.back()->address());
    servers_.back()->disk().on_loss = [this, id] { history_.sync_failed(static_cast<int>(id)); };
    servers_.back()->make_store();
    servers_.back()->start();
  }
  operator_.emplace(SimOperator::Place{host_, wire_, addresses});
  const SimGateway::Place gateway_place{host_,
                                        wire_,
                                        history_,
                                        addresses,
                                        [this] { return next_id_++; },
                                        [this](const std::string& sentence) { wrong(sentence); },
                                        owner_};
  for (unsigned i = 0; i < kGateways; ++i) {
    Workload workload;
    workload.gateways = kGateways;
    workload.is_exclusive = is_exclusive();
    gateways_.push_back(
        std::make_unique<SimGateway>(gateway_place, static_cast<int>(i + 1), workload));
  }
  if (!run_for(60s, [this] { return all_servers_ready(); })) {
    std::string why;
    for (const auto& server : servers_) why += server->last_exit();
    return wrong("the servers do not start: " + why);
  }
  return make_image();
}

bool Run::operate(const std::string& what, const OperatorWork& work, Duration limit) {
  const TimePoint end = host_.now() + limit;
  for (;;) {
    std::optional<Outcome<void>> ended;
    operator_->begin(work, limit, [&ended](Outcome<void> how) { ended = std::move(how); });
    run_for(end - host_.now(), [&ended] { return ended.has_value(); });
    operator_->kill_all();
    if (!ended) return wrong(what + " does not end");
    if (ended->has_value()) return true;
    say(what + ": " + ended->error().message);
    const bool may_be_repeated = ended->error().code == objecter::OsdErrc::kBusy;
    if (!may_be_repeated || host_.now() >= end) return wrong(what + ": " + ended->error().message);
    run_for(2s, [] { return false; });
  }
}

bool Run::make_image() {
  return operate("making the pool", making_pool(is_authority_apart() ? "1,2" : ""), 60s) &&
         operate("saving the map", backing_up_map([this](std::string map) { backup_ = map; }),
                 60s) &&
         operate("making the image", making(kNames[0], kImageBytes, kObjectBytes), 60s);
}

void Run::play() {
  result_.script = options_.has_script
                       ? options_.script
                       : make_script(host_.random(), options_.length, kServers, kGateways);
  loses_authority_ =
      is_authority_apart() &&
      std::any_of(result_.script.begin(), result_.script.end(),
                  [](const Fault& each) { return each.kind == Fault::Kind::kLoseAuthority; });
  const bool has_operator = std::any_of(result_.script.begin(), result_.script.end(),
                                        [](const Fault& each) { return each.is_of_operator(); });
  for (const auto& gateway : gateways_) {
    if (has_operator) gateway->allow_fences();  // who is silent for long may be taken for dead
    gateway->start();
  }
  for (const Fault& fault : result_.script) {
    host_.after(fault.at, [this, fault] { strike(fault); });
  }
  run_for(options_.length, [] { return false; });
}

void Run::strike(const Fault& fault) {
  if (is_healed_) return;
  history_.set_time(std::chrono::nanoseconds(host_.elapsed()).count());
  say(fault.to_string());
  history_.note(fault.to_string());
  SimServer& server = *servers_[fault.target % kServers];
  SimGateway& gateway = *gateways_[fault.target % kGateways];
  const auto later = [this, &fault](std::function<void()> undo) {
    host_.after(fault.length, std::move(undo));
  };
  switch (fault.kind) {
    case Fault::Kind::kKillServer:
      server.kill();
      history_.server_crashed(server.id(), false);
      server.restart_after(fault.length);
      break;
    case Fault::Kind::kCutPower:
      server.cut_power();
      history_.server_crashed(server.id(), true);
      server.restart_after(fault.length);
      break;
    case Fault::Kind::kPauseServer:
      server.pause(true);
      later([&server] { server.pause(false); });
      break;
    case Fault::Kind::kKillGateway:
      gateway.kill();
      gateway.restart_after(fault.length);
      break;
    case Fault::Kind::kPauseGateway:
      gateway.pause(true);
      later([&gateway] { gateway.pause(false); });
      break;
    case Fault::Kind::kCutServerLinks:
      if (SimNetwork* network = server.network()) {
        network->is_cut = true;
        later([network] { network->is_cut = false; });
      }
      break;
    case Fault::Kind::kCutGatewayLinks:
      if (SimNetwork* network = gateway.network()) {
        network->is_cut = true;
        later([network] { network->is_cut = false; });
      }
      break;
    case Fault::Kind::kSilenceServer:
      if (SimNetwork* network = server.network())
        network->silent_until = host_.now() + fault.length;
      break;
    case Fault::Kind::kSilenceGateway:
      if (SimNetwork* network = gateway.network())
        network->silent_until = host_.now() + fault.length;
      break;
    case Fault::Kind::kFlakyServer:
      if (SimNetwork* network = server.network()) {
        network->cuts = 0.05;
        later([network] { network->cuts = 0; });
      }
      break;
    case Fault::Kind::kFailSync:
      server.disk().failing_syncs += fault.count;
      may_have_damage_ = true;  // until the object is written whole, its READs are medium errors
      break;
    case Fault::Kind::kFailOpen:
      server.disk().failing_opens += fault.count;
      break;
    case Fault::Kind::kFailUnlink:
      server.disk().failing_unlinks += fault.count;
      break;
    case Fault::Kind::kFailRename:
      server.disk().failing_renames += fault.count;
      break;
    case Fault::Kind::kFailWrite:
      server.disk().failing_writes += fault.count;
      may_have_damage_ = true;  // as above: one that was to be durable may have been a write-back
      break;
    case Fault::Kind::kShortWrite:
      server.disk().short_writes += fault.count;
      break;
    case Fault::Kind::kFullDisk:
      server.disk().fill();
      later([&server] { server.disk().make_room(); });
      break;
    case Fault::Kind::kSlowDisk:
      server.disk().slowness = 20ms * (1 + fault.count);
      later([&server] { server.disk().slowness = {}; });
      break;
    case Fault::Kind::kTurnBackClock:
      gateway.kill();
      gateway.turn_back_clock(std::chrono::hours(24));
      gateway.restart_after(fault.length);
      break;
    case Fault::Kind::kNewStore:
    case Fault::Kind::kOldCopy:
      if (loses_authority_)
        break;  // an authority without its map takes any store: docs/durability.md
      if (fault.kind == Fault::Kind::kOldCopy) server.disk().copy();
      swap_stores(server, fault.kind == Fault::Kind::kOldCopy, fault.length);
      break;
    case Fault::Kind::kReopen:
      gateway.reopen();
      break;
    case Fault::Kind::kLoseAuthority:
      if (is_authority_apart()) lose_authority(fault.length);
      break;
    case Fault::Kind::kResize:
    case Fault::Kind::kRename:
    case Fault::Kind::kMakeImage:
    case Fault::Kind::kRemoveImage:
    case Fault::Kind::kUnregister:
    case Fault::Kind::kRepair:
    case Fault::Kind::kBackUpMap:
    case Fault::Kind::kRestoreMap:
      operator_->begin(work_of(fault), fault.length, [this, fault](Outcome<void> ended) {
        say(fault.to_string() + ": " + (ended ? "done" : ended.error().message));
      });
      break;
  }
}

// docs/operations.md: a new store with the same fsid, and then the restore.
void Run::lose_authority(Duration lifetime) {
  history_.server_crashed(0, true);
  if (!is_map_lost_) lost_backup_ = backup_;
  is_map_lost_ = true;
  servers_[0]->lose_store();
  servers_[0]->restart_after(10ms);
  operator_->begin(restoring_map(lost_backup_, true), lifetime, [this](Outcome<void> ended) {
    say(std::string("restoring the map: ") + (ended ? "done" : ended.error().message));
    if (ended) is_map_lost_ = false;
  });
}

// What a killed operator has done is done again.
bool Run::restore_map_if_lost() {
  if (!is_map_lost_) return true;
  return run_for(60s, [this] { return servers_[0]->is_running(); }) &&
         operate("restoring the map", restoring_map(lost_backup_, true), 120s);
}

OperatorWork Run::work_of(const Fault& fault) {
  switch (fault.kind) {
    case Fault::Kind::kResize:
      return resizing(kImageBytes + fault.count % 3 * kObjectBytes);
    case Fault::Kind::kRename:
      return renaming(kNames[fault.count % 2], kNames[1 - fault.count % 2]);
    case Fault::Kind::kMakeImage:
      return making(kSpare, kImageBytes, kObjectBytes);
    case Fault::Kind::kRemoveImage:
      return removing(kSpare);
    case Fault::Kind::kUnregister:
      return unregistering(gateways_[fault.target % kGateways]->instance());
    case Fault::Kind::kBackUpMap:
      return backing_up_map([this](std::string map) { backup_ = std::move(map); });
    case Fault::Kind::kRestoreMap:
      return restoring_map(is_map_lost_ ? lost_backup_ : backup_, is_map_lost_);
    default:
      return repairing();
  }
}

// The real store is started once more, so that a copy is known to be old; then the other one.
void Run::swap_stores(SimServer& server, bool is_copy, Duration length) {
  server.kill();
  history_.server_crashed(server.id(), false);
  server.restart_after(10ms);
  host_.after(2s, [this, &server, is_copy, length] {
    if (!server.is_ready() || is_healed_) return;
    history_.server_crashed(server.id(), false);
    server.stop_and_swap(is_copy);
    server.restart_after(10ms);
    host_.after(length, [this, &server] {
      if (is_healed_) return;
      history_.server_crashed(server.id(), false);
      server.swap_back();
      server.restart_after(10ms);
    });
  });
}

bool Run::heal() {
  say("heal");
  is_healed_ = true;
  operator_->kill_all();
  for (const auto& server : servers_) {
    server->disk().heal();
    server->pause(false);
    if (server->disk().is_swapped()) server->swap_back();
    if (may_have_damage_ && server->is_running()) {  // a store whose disk failed is to be restarted
      server->kill();
      history_.server_crashed(server->id(), false);
    }
    if (SimNetwork* network = server->network()) network->heal();
    if (!server->is_running()) server->restart_after(1s);
  }
  if (is_exclusive()) {  // the first one is to have it
    gateways_[0]->kill();
    for (unsigned i = 1; i < kGateways; ++i) gateways_[i]->retire();
    std::move(gateways_.begin() + 1, gateways_.end(), std::back_inserter(retired_));
    gateways_.resize(1);
  }
  for (const auto& gateway : gateways_) {
    gateway->pause(false);
    if (SimNetwork* network = gateway->network()) network->heal();
    if (!gateway->is_running()) gateway->restart_after(1s);
    gateway->stop_working();
  }
  const auto is_well = [this] {
    if (!all_servers_ready()) return false;
    for (const auto& server : servers_) {
      if (!server->sees_all_up()) return false;  // it was cut off, or its map is old
    }
    for (const auto& gateway : gateways_) {
      if (!gateway->has_image() || !gateway->is_idle()) return false;
    }
    return true;
  };
  if (!restore_map_if_lost()) return wrong("the map is lost");
  if (run_for(180s, is_well)) return true;
  // A disk that failed may have taken the header, which only a person can mend.
  if (may_have_damage_ &&
      operate("repairing", repairing_headers(kImageBytes, kObjectBytes), 120s) &&
      run_for(180s, is_well))
    return true;
  std::string why;
  for (const auto& server : servers_) {
    if (!server->is_ready())
      why += fmt::format(" osd.{} is not ready ({});", server->id(), server->last_exit());
    else if (!server->sees_all_up())
      why += fmt::format(" osd.{} knows of one that is down;", server->id());
  }
  for (const auto& gateway : gateways_) {
    if (!gateway->has_image())
      why += fmt::format(" a gateway has no image ({});", gateway->last_error());
    else if (!gateway->is_idle())
      why += " a command has no end;";
  }
  return wrong("three minutes after the last fault the cluster does not work:" + why);
}

bool Run::run_command(SimGateway& gateway, const HistoryOp& op, HistoryOutcome* how) {
  bool is_over = false;
  gateway.command(op, [&](HistoryOutcome outcome) {
    *how = outcome;
    is_over = true;
  });
  return run_for(60s, [&] { return is_over; }) || wrong("a command has no end");
}

void Run::read_everything() {
  for (const auto& gateway : gateways_) {
    HistoryOutcome how = HistoryOutcome::kFailed;
    for (int i = 0; i < 4 && how != HistoryOutcome::kGood; ++i) {
      if (i > 0) run_for(3s, [] { return false; });  // one that finds itself fenced starts again
      if (!run_for(60s, [&] { return gateway->has_image(); })) break;
      if (!run_command(*gateway, {HistoryCommand::kFlush}, &how)) return;
    }
    if (how != HistoryOutcome::kGood)
      wrong("a healthy cluster does not flush: " + gateway->last_error());
  }
  for (const auto& gateway : gateways_) {
    for (uint64_t block = 0; block < Workload().image_blocks; ++block) {
      HistoryOp op;
      op.lba = block;
      op.num_blocks = 1;
      HistoryOutcome how = HistoryOutcome::kFailed;
      if (!run_command(*gateway, op, &how)) return;
      if (how != HistoryOutcome::kGood && !may_have_damage_) {
        wrong(fmt::format("block {} cannot be read: {}", block, gateway->last_error()));
      }
    }
  }
}

void Run::judge() {
  for (const auto& server : servers_) {
    // If syncs fail as well, it has no way left to record that writes may be lost.
    if (!server->exit_for_space().empty() && !may_have_damage_) {
      wrong(fmt::format("osd.{} has ended on a full disk: {}", server->id(),
                        server->exit_for_space()));
    }
  }
  for (uint64_t block = 0; gateways_[0]->has_image() && block < Workload().image_blocks; ++block) {
    history_.place(block, gateways_[0]->server_of(block));
  }
  const test::HistoryVerdict verdict = test::judge(history_);
  for (const test::HistoryViolation& violation : verdict.violations) {
    wrong(fmt::format("{}: {}", test::name_of(violation.fault), violation.explanation));
  }
  result_.undecided = verdict.undecided.size();
}

}  // namespace

RunResult run_once(const RunOptions& options) {
  auto* const run = new Run(options);  // never destroyed: what was killed refers to it
  return run->go();
}

}  // namespace lunar::sim
