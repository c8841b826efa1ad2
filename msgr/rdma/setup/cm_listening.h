// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <system_error>

#include "msgr/address.h"
#include "msgr/rdma/setup/cm_awaited.h"
#include "msgr/rdma/setup/cm_channel.h"

namespace lunar::msgr::rdma {

// The service thread's half of a listener: an id that listens whenever there is a device to listen
// on, tried again every second while there is none. A request that shows the ticket of somebody
// who is awaited becomes a CmSetup; any other is rejected, and has cost no more than its id.
// For the service thread, but for the constructor. Shared. Shares whom it awaits.
class CmListening final : public CmIdOwner, public std::enable_shared_from_this<CmListening> {
 public:
  CmListening(std::shared_ptr<CmChannel> channel, std::shared_ptr<CmAwaited> awaited,
              const Address& local);

  void begin();
  void stop();
  void on_event(const CmEvent& event) override;

 private:
  std::error_code try_listen();
  void try_again_later();
  void on_request(const CmEvent& request);
  void reject(const CmEvent& request);

  const std::shared_ptr<CmChannel> channel_;
  const std::shared_ptr<CmAwaited> awaited_;
  const Address local_;
  rdma_cm_id* id_ = nullptr;
  TimerId timer_ = TimerId::kNone;
  bool is_over_ = false;
  bool has_complained_ = false;
};

}  // namespace lunar::msgr::rdma
