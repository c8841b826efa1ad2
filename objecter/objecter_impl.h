// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "objecter/counters.h"
#include "objecter/map/map_client.h"
#include "objecter/objecter.h"
#include "objecter/op_message.h"
#include "objecter/op_table.h"
#include "objecter/osd_session.h"
#include "objecter/targeting.h"

namespace lunar::objecter {

// The Objecter. Its files follow an op's life: submit.cc (admission, target), session.cc (sending,
// hello, reset), one_sided.cc (how the payload travels), reply.cc, ending.cc (timeout, cancel,
// done), flush.cc; and beside it maps.cc, commands.cc, status_json.cc, and objecter.cc for
// creating, dispatching and shutting down. Loop-bound to its center. Owns everything below; borrows
// the center.
class ObjecterImpl final : public Objecter,
                           private msgr::Dispatcher,
                           private MapEvents,
                           private OpMessageOwner {
 public:
  ObjecterImpl(msgr::EventCenter& center, Options options, PerfRegistry* perf, std::string entity);
  ~ObjecterImpl() override;
  Outcome<void> init(msgr::NetworkStack& stack, msgr::MessengerOptions messenger_options,
                     const Keyring* keyring, PerfRegistry* perf);

  void wait_for_map(std::chrono::nanoseconds timeout,
                    InlineFunction<void(Outcome<OsdMapRef>)> done) override;
  OsdMapRef map() const override { return targeting_.map(); }
  void wait_for_epoch(Epoch epoch, std::chrono::nanoseconds timeout,
                      InlineFunction<void(std::error_code)> done) override;
  Tid submit(ObjectOp request, OpDone done) override;
  Tid flush(PoolId pool, ImageId image, uint64_t io_id,
            InlineFunction<void(std::error_code)> done) override;
  void cancel(Tid tid) override;
  Tid list(PgId pg, std::string cursor, uint32_t limit,
           InlineFunction<void(Result<std::vector<std::string>>)> done) override;
  void command(OsdId osd, std::string json, std::chrono::nanoseconds timeout,
               InlineFunction<void(Outcome<std::string>)> done) override;
  std::string ops_in_flight_json() const override;
  std::string sessions_json() const override;
  void shutdown(InlineFunction<void()> done) override;

 private:
  using TimePoint = Op::Clock::time_point;

  // objecter.cc: Dispatcher
  void on_open(msgr::Connection& connection) override;
  Bytes payload_for(msgr::Connection& connection, const msgr::MessageMeta& meta, ConstBytes front,
                    std::size_t data_bytes) override;
  void on_message(msgr::Connection& connection, msgr::InMessage message) override;
  void on_reset(msgr::Connection& connection, std::error_code why) override;
  void on_link(msgr::Connection& connection, bool up) override;
  void finish_shutdown();

  // submit.cc
  Op& add_op(OpKind kind, ObjectOp request, OpDone done);
  void begin(Op& op);
  void admit_waiting();
  void target(Op& op);
  void retarget(Op& op);
  void wait_for_newer_map(Op& op, Epoch epoch);
  void wait_for_pool(Op& op);
  void assign(Op& op, OsdId osd);

  // session.cc
  OsdSession& session_of(OsdId osd);
  void connect_session(OsdSession& session, const OsdInfo& osd);
  void move_away(OsdSession& session);
  void update_session(OsdSession& session);
  void send_waiting(OsdSession& session);
  void try_send(Op& op);
  void send_cancel(Op& op);
  void on_hello(const ServerRef& server, ConstBytes front);
  void session_began(OsdSession& session);
  void resume(OsdSession& session, Op& op, bool is_remembered, bool is_same_process);
  void session_lost(OsdSession& session);
  void watch_addresses();

  // one_sided.cc
  std::optional<DeliveryDescriptor> describe_payload(Op& op, msgr::Link& link,
                                                     uint64_t link_generation) override;
  DeliveryReason decide_delivery(const Op& op, const msgr::Link& link) const;
  DeliveryDescriptor make_descriptor(const Op& op, const msgr::Link& link) const;
  void release_key(Op& op, const ServerRef& heard_from = nullptr, uint64_t heard_on = 0);
  void key_is_back(Op& op);
  bool is_damaged(const Op& op, const OsdReplyHeader& header) const;

  // reply.cc
  void on_op_reply(const ServerRef& server, msgr::InMessage message);
  void on_cancelled(const ServerRef& server, const msgr::InMessage& message);
  bool fits(const Op& op, const OsdReplyHeader& header, const msgr::InMessage& message) const;
  void retry(Op& op, const OsdReplyHeader& header);
  void retry_inline(Op& op, DeliveryReason because);
  void take_reply(Op& op, OsdReplyHeader header, msgr::InMessage message);
  void take_late_reply(Op& op, OsdReplyHeader header);
  std::error_code account_reply(Op& op, const OsdReplyHeader& header);
  void ignore_reply(const msgr::InMessage& message, const char* why);

  // ending.cc
  void withdraw(Op& op);
  void end(Op& op, std::error_code error);  // whatever it takes; done runs later
  void interrupt(Op& op, std::error_code error, CancelReason reason);
  void interrupt_parts(Tid parent, std::error_code error, CancelReason reason);
  void finish_if_free(Op& op);
  void finish_soon(Op& op);
  void run_finished();
  void finish(Op& op);
  void arm_deadline_timer();
  void on_deadlines();
  void on_message_destroyed(Op& op) override;

  // flush.cc
  void start_flush(Op& parent, const PoolInfo& pool);
  void part_done(Tid parent, std::error_code error);

  // maps.cc
  void on_new_map(OsdMapRef map) override;
  void on_newest_confirmed(uint64_t ticket) override;
  void schedule_retry();
  struct EpochWaiter {
    Epoch epoch;
    msgr::TimerId timer;
    std::chrono::nanoseconds timeout;
    InlineFunction<void(Outcome<OsdMapRef>)> map_done;  // one of the two
    InlineFunction<void(std::error_code)> epoch_done;
  };
  std::list<EpochWaiter>::iterator add_waiter(Epoch epoch, std::chrono::nanoseconds timeout);
  void waiter_timed_out(std::list<EpochWaiter>::iterator waiter);
  void wake_waiters();
  void fail_waiters();

  // commands.cc
  struct Command {
    OsdId osd;
    std::string json;
    TimePoint deadline;
    InlineFunction<void(Outcome<std::string>)> done;
    msgr::TimerId timer = msgr::TimerId::kNone;
    ServerRef server;
    bool is_sent = false;
    std::optional<std::string> answer;  // while it waits for map `epoch`
    Epoch epoch = 0;
  };
  void place_command(Tid tid);
  void place_commands();  // after a new map
  void send_commands(const ServerRef& server);
  void lose_commands(const ServerConnection& server, std::error_code why);
  void on_command_reply(const ServerRef& server, const msgr::InMessage& message);
  void end_command(Tid tid, Outcome<std::string> result);
  std::string describe_target(const Command& command) const;

  msgr::EventCenter& center_;
  const Options options_;
  std::unique_ptr<PerfRegistry> own_perf_;  // if the caller has none
  ObjecterCounters counters_;
  std::unique_ptr<msgr::Messenger> messenger_;
  ServerTable servers_;
  Targeting targeting_;
  OpTable table_;
  OpQueue waiting_for_map_;
  std::unordered_map<OsdId, std::unique_ptr<OsdSession>> sessions_;
  MapClient maps_;
  std::list<EpochWaiter> waiters_;
  std::unordered_map<Tid, Command> commands_;

  std::vector<Op*> finished_;
  std::vector<Op*> finishing_;  // while finished_ is drained
  bool finish_is_posted_ = false;
  msgr::TimerId deadline_timer_ = msgr::TimerId::kNone;
  TimePoint deadline_timer_at_{};
  msgr::TimerId retry_timer_ = msgr::TimerId::kNone;
  msgr::TimerId address_timer_ = msgr::TimerId::kNone;
  bool is_shutting_down_ = false;
  bool messenger_is_down_ = false;
  bool crc_data_ = true;
  uint64_t max_data_bytes_ = 0;  // of a frame of ours
  InlineFunction<void()> shutdown_done_;
};

}  // namespace lunar::objecter
