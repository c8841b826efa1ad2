// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <rdma/rdma_cma.h>

#include <cstddef>
#include <memory>
#include <system_error>
#include <unordered_map>
#include <vector>

#include "common/result.h"
#include "msgr/event_center.h"
#include "msgr/rdma/setup/stack_core.h"

namespace lunar::msgr::rdma {

// librdmacm keeps contexts of its own open, and the removal of a device waits for them: makes it
// look which devices are gone. Blocks. Does nothing in a process that never used it. The last
// device of a host stays open all the same (librdmacm 44 looks no further when it finds none): with
// a driver that waits for contexts, as rxe does, its removal then lasts until the process ends.
void release_removed_cm_devices();

// A copy of an rdma_cm_event, which outlives its acknowledgement.
struct CmEvent {
  explicit CmEvent(const rdma_cm_event& from);
  // Why the connection failed, for an event that ends one.
  std::error_code error() const;

  rdma_cm_event_type type;
  rdma_cm_id* id;
  rdma_cm_id* listen_id;
  int status;
  // Of a request or a response only.
  uint8_t responder_resources = 0;
  uint8_t initiator_depth = 0;
  std::vector<std::byte> private_data;
};

// Receives the events of one id, on the service thread.
struct CmIdOwner {
  virtual ~CmIdOwner() = default;
  virtual void on_event(const CmEvent& event) = 0;
};

// The event channel of a stack, and the ids on it. An event is copied and acknowledged before its
// id's owner hears of it, because rdma_destroy_id(3) waits for that.
// For the service thread only, but for the constructor. Shared; shares the owners of its ids.
class CmChannel {
 public:
  explicit CmChannel(StackCore& with) : core(with) {}

  // Makes an id whose events go to `owner`. Opens the channel if it is closed.
  Result<rdma_cm_id*> make_id(std::shared_ptr<CmIdOwner> owner);
  // Takes the id that came with a connect request.
  void adopt(rdma_cm_id* id, std::shared_ptr<CmIdOwner> owner);
  // Destroys the id. Does nothing if `of` is not its owner: that one's id was destroyed before, and
  // a new id has its address.
  void forget(rdma_cm_id* id, const CmIdOwner* of);
  // Destroys all ids, and the channel.
  void close();

  StackCore& core;

 private:
  std::error_code open();
  void read_events();

  rdma_event_channel* channel_ = nullptr;
  FdWatch watch_;
  std::unordered_map<rdma_cm_id*, std::shared_ptr<CmIdOwner>> owners_;
};

// Keeps the id of a link, and has it destroyed when the link is destroyed. Move-only; any thread.
class CmIdHold {
 public:
  CmIdHold(std::shared_ptr<CmChannel> channel, rdma_cm_id* id, std::shared_ptr<CmIdOwner> owner);
  CmIdHold(CmIdHold&& other) noexcept;
  CmIdHold& operator=(CmIdHold&&) = delete;
  ~CmIdHold();

 private:
  std::shared_ptr<CmChannel> channel_;
  rdma_cm_id* id_;
  std::shared_ptr<CmIdOwner> owner_;  // by its address alone a new id could be taken for it
};

}  // namespace lunar::msgr::rdma
