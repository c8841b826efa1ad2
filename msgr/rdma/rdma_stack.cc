// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/rdma_stack.h"

#include <fmt/format.h>

#include <future>
#include <utility>

#include "common/log.h"
#include "common/memlock.h"
#include "msgr/rdma/setup/cm.h"
#include "msgr/rdma/setup/cm_upgrade.h"
#include "msgr/rdma/setup/rdma_upgrade.h"
#include "msgr/rdma/setup/stack_core.h"

namespace lunar::msgr::rdma {
namespace {

// Of each arena, at start; the rest comes as it is needed.
constexpr std::size_t kStagingAtStart = 8u << 20;
constexpr std::size_t kFrontEndAtStart = 4u << 20;

// What one worker registers besides: its receive and its send buffers.
uint64_t worker_bytes(const RdmaOptions& options) noexcept {
  return uint64_t{options.segment_bytes} * (options.receive_buffers + options.send_buffers);
}

// Whether RDMA can work here, as far as that can be told without opening a device.
Outcome<void> check_host(const RdmaOptions& options) {
  auto devices = list_devices();
  if (!devices) return failure(std::move(devices.error()));
  auto choice = choose_port(*devices, options, Address());
  if (!choice) return failure(std::move(choice.error()));
  return check_memlock(raise_memlock(), kStagingAtStart + kFrontEndAtStart + worker_bytes(options),
                       "RDMA at start");
}

struct TwoListeners final : Listener {
  Address local_address() const override { return tcp->local_address(); }
  std::unique_ptr<Listener> tcp;
  std::unique_ptr<Listener> cm;
};

}  // namespace

RdmaStack::RdmaStack(std::unique_ptr<StackCore> core) : core_(std::move(core)) {}

Outcome<std::unique_ptr<RdmaStack>> RdmaStack::create(RdmaOptions options, PosixStackOptions posix,
                                                      PerfRegistry* perf) {
  auto usable = check_host(options);
  if (!usable) {
    if (!options.may_fall_back) {
      return failure(usable.error().code, fmt::format("ms_type = async+rdma cannot work here, and "
                                                      "ms_async_rdma_fallback is off: {}",
                                                      usable.error().message));
    }
    LUNAR_LOG(kMs, 0, "connections will be TCP for now, although ms_type = async+rdma: {}",
              usable.error().message);
  }
  auto core = std::make_unique<StackCore>(std::move(options), perf);
  const auto make_arena = [&](MemoryPurpose purpose, std::size_t budget, std::size_t initial) {
    Arena::Options arena;
    arena.purpose = purpose;
    arena.budget_bytes = budget;
    arena.initial_bytes = initial;
    arena.use_hugepages = core->options.use_hugepages;
    arena.rkey_scope = core->options.rkey_scope;
    return Arena::create(arena, core->service);
  };
  auto staging = make_arena(MemoryPurpose::kStaging, core->options.staging_bytes, kStagingAtStart);
  if (!staging) return failure(std::move(staging.error()));
  auto front_end =
      make_arena(MemoryPurpose::kFrontEnd, core->options.front_end_bytes, kFrontEndAtStart);
  if (!front_end) return failure(std::move(front_end.error()));
  core->staging = std::move(*staging);
  core->front_end = std::move(*front_end);
  core->workers = std::make_unique<WorkerTable>(
      StackResources{core->options, core->service, *core->staging, *core->front_end, perf});
  WorkerTable* const workers = core->workers.get();
  core->devices = std::make_unique<DeviceTable>(
      DeviceTable::Borrowed{core->options,
                            core->service,
                            {core->staging.get(), core->front_end.get()},
                            core->counters,
                            [workers](const Device& device, const ibv_async_event& event) {
                              workers->on_async_event(device, event);
                            },
                            [workers](const Device& device) { workers->on_device_gone(device); }});

  posix.buffers = core->staging.get();
  auto tcp = PosixStack::create(std::move(posix));
  if (!tcp) return failure(std::move(tcp.error()));
  std::unique_ptr<RdmaStack> stack(new RdmaStack(std::move(core)));
  stack->posix_ = std::move(*tcp);
  if (stack->core_->options.use_cm) stack->cm_ = std::make_unique<Cm>(*stack->core_);
  return stack;
}

RdmaStack::~RdmaStack() {
  // The devices' fds are watched by the service thread, and are to be given up there.
  std::promise<void> closed;
  const std::error_code error = core_->service.run([this, &closed] {
    if (cm_ != nullptr) cm_->close();
    core_->devices->close();
    closed.set_value();
  });
  if (!error) closed.get_future().wait();
}

std::unique_ptr<PendingConnect> RdmaStack::connect(EventCenter& center, const Address& peer,
                                                   ConnectDone done) {
  return posix_->connect(center, peer, std::move(done));
}

Outcome<std::unique_ptr<Listener>> RdmaStack::listen(EventCenter& center, const Address& local,
                                                     AcceptCallback on_accept) {
  auto tcp = posix_->listen(center, local, std::move(on_accept));
  if (!tcp || cm_ == nullptr) return tcp;
  auto both = std::make_unique<TwoListeners>();
  both->tcp = std::move(*tcp);
  both->cm = cm_->listen(both->tcp->local_address());
  return std::unique_ptr<Listener>(std::move(both));
}

std::unique_ptr<LinkUpgrade> RdmaStack::upgrade(EventCenter& center, const Link& over) {
  if (cm_ != nullptr) return make_cm_upgrade(*core_, *cm_, center, over.peer_address());
  return make_rdma_upgrade(*core_, center, over.local_address(), over.peer_address());
}

BufferPool& RdmaStack::buffers() noexcept { return *core_->staging; }
BufferPool& RdmaStack::front_end_buffers() noexcept { return *core_->front_end; }

}  // namespace lunar::msgr::rdma
