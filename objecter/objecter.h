// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/inline_function.h"
#include "common/perf_counters.h"
#include "common/result.h"
#include "msgr/event_center.h"
#include "msgr/messenger.h"
#include "objecter/delivery.h"
#include "objecter/protocol/osd_map.h"
#include "objecter/protocol/osd_op.h"

namespace lunar::objecter {

// How an op ended. error keeps its identity: osd_category for what servers and the Objecter say.
struct OpReply {
  std::error_code error;
  ObjectVersion version;
  uint64_t bytes_inline = 0;
  uint64_t bytes_one_sided = 0;
  // How the payload of the last sending travelled, and why.
  Delivery delivery = Delivery::kInline;
  DeliveryReason delivery_reason = DeliveryReason::kLinkLacks;
  std::vector<SubOpResult> steps;
  // Data the steps returned, if it was not placed in ObjectOp::read_into. Valid during `done`.
  ConstBytes data;
};
using OpDone = InlineFunction<void(OpReply)>;

// An op to submit. Built by the caller, taken by submit().
struct ObjectOp {
  ObjectId object;
  ImageId image = 0;
  uint64_t io_id = 0;  // trace id of the IO it serves
  uint16_t flags = 0;  // OpFlag
  std::vector<SubOp> steps;
  // Data of the steps in order; borrowed until done.
  msgr::ConstBuffers data;
  // Where the data of the one READ step goes; borrowed until done. Empty: in OpReply::data.
  Bytes read_into;
  DeliveryProposal delivery;
  std::chrono::nanoseconds timeout{0};  // 0: Options::op_timeout
};

// Sends each op to the OSD that holds its object, and again when the map or the session changes,
// until it is answered, cancelled or out of time.
// Loop-bound to its center. Owns its messenger; borrows center, stack, keyring and registry.
class Objecter {
 public:
  struct Options {
    std::chrono::nanoseconds op_timeout{std::chrono::seconds(20)};  // from submit, over all resends
    uint32_t max_in_flight_ops = 1024;                              // more wait, in submit order
    uint64_t max_in_flight_bytes = 100u << 20;
    // How long a write that timed out or was cancelled waits for its server's word that it is not
    // executing, before it is reported.
    std::chrono::nanoseconds cancel_grace{std::chrono::seconds(2)};
    // How long an op that timed out or was cancelled waits for its server's word before the key to
    // its memory is taken back by force, which may cost the link.
    std::chrono::nanoseconds rkey_revoke_timeout{std::chrono::seconds(2)};
    std::vector<msgr::Address> bootstrap;  // any servers of the cluster; one must answer
    // objecter_* and mon_host.
    static Outcome<Options> from_config(const Config& config);
  };

  static Outcome<std::unique_ptr<Objecter>> create(msgr::EventCenter& center,
                                                   msgr::NetworkStack& stack,
                                                   msgr::MessengerOptions messenger_options,
                                                   Options options, const Keyring* keyring,
                                                   PerfRegistry* perf);
  virtual ~Objecter() = default;  // REQUIRES: shutdown() is done

  // Runs done once a map is there (at once if it is), or with kUnreachable/kAuthFailed … and what
  // was tried, when `timeout` ends first. Trying goes on after that, for whoever waits next.
  virtual void wait_for_map(std::chrono::nanoseconds timeout,
                            InlineFunction<void(Outcome<OsdMapRef>)> done) = 0;
  virtual OsdMapRef map() const = 0;  // null before the first
  // Runs done when the map has at least `epoch`, or kTimedOut.
  virtual void wait_for_epoch(Epoch epoch, std::chrono::nanoseconds timeout,
                              InlineFunction<void(std::error_code)> done) = 0;

  // `done` runs exactly once, later, on the center. Ops on one object that are not resent are
  // applied in submit order. When done runs nothing touches op.data or op.read_into any more.
  // Errors told apart: kTimedOut (may have been applied), kUnknownOutcome, kCancelled, kFenced,
  // kNoSuchPool, and whatever the server says.
  virtual Tid submit(ObjectOp op, OpDone done) = 0;

  // FLUSH to every OSD of the pool, whoever wrote: done with the first error when all answered, but
  // kLostWrites before any other.
  // The Tid cancels all of them.
  virtual Tid flush(PoolId pool, ImageId image, uint64_t io_id,
                    InlineFunction<void(std::error_code)> done) = 0;

  // Asks for the op to end with kCancelled: waits for the server's confirmation up to
  // `cancel_grace`, so that a cancelled op is either known not to run or its time is over. A change
  // that its server turns out to have executed ends with that answer instead. An op that is already
  // done is left alone.
  virtual void cancel(Tid tid) = 0;

  // Names of one PG's objects after `cursor`, at most `limit`; an empty page is the end.
  virtual Tid list(PgId pg, std::string cursor, uint32_t limit,
                   InlineFunction<void(Result<std::vector<std::string>>)> done) = 0;

  // A JSON command for the map authority (`osd`, `pool`, `map` …), or for one OSD if `osd` >= 0.
  virtual void command(OsdId osd, std::string json, std::chrono::nanoseconds timeout,
                       InlineFunction<void(Outcome<std::string>)> done) = 0;

  // JSON for the admin socket: ops in flight (tid, object, osd, age, attempts, state), sessions.
  virtual std::string ops_in_flight_json() const = 0;
  virtual std::string sessions_json() const = 0;

  // Ops in flight end with kShutdown; done runs when no session is left.
  virtual void shutdown(InlineFunction<void()> done) = 0;
};

}  // namespace lunar::objecter
