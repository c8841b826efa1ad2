// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <system_error>
#include <vector>

#include "msgr/address.h"
#include "msgr/rdma/setup/cm_channel.h"
#include "msgr/rdma/setup/cm_setup.h"

namespace lunar::msgr::rdma {

// The service thread's half of a listener: an id that listens whenever there is a device to listen
// on, tried again every second while there is none. Each request becomes a CmSetup.
// For the service thread, but for the constructor. Shared.
class CmListening final : public CmIdOwner, public std::enable_shared_from_this<CmListening> {
 public:
  CmListening(std::shared_ptr<CmChannel> channel, std::shared_ptr<CmWaiter> waiter,
              const Address& local);

  void begin();
  void stop();
  void on_event(const CmEvent& event) override;

 private:
  std::error_code try_listen();
  void try_again_later();
  void accept(const CmEvent& request);

  const std::shared_ptr<CmChannel> channel_;
  const std::shared_ptr<CmWaiter> waiter_;
  const Address local_;
  rdma_cm_id* id_ = nullptr;
  TimerId timer_ = TimerId::kNone;
  std::vector<std::weak_ptr<CmSetup>> setups_;  // under way, and those of links that are up
  bool is_over_ = false;
  bool has_complained_ = false;
};

}  // namespace lunar::msgr::rdma
