// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/inline_function.h"
#include "common/perf_counters.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/event_center.h"
#include "msgr/messenger.h"
#include "objecter/delivery.h"
#include "objecter/image_writes.h"
#include "objecter/protocol/osd_map.h"
#include "objecter/protocol/osd_op.h"
#include "objecter/watch_handler.h"

namespace lunar::objecter {

// How an op ended.
struct OpReply {
  // Success, or why not. Keeps its identity: of osd_category if a server or the Objecter says it.
  std::error_code error;
  // With kUnknownOutcome for want of an answer: why there is none, as kTimedOut. Else success.
  std::error_code reason;
  ObjectVersion version;         // of the object after the op; only with an answer of the server
  uint64_t bytes_inline = 0;     // payload in frames, both ways
  uint64_t bytes_one_sided = 0;  // payload that the server moved by RDMA READ or WRITE
  // How the payload of the last sending travelled, and why.
  Delivery delivery = Delivery::kInline;
  DeliveryReason delivery_reason = DeliveryReason::kLinkLacks;
  // One for each step that was executed; the last is the one that failed, if one did.
  std::vector<SubOpResult> steps;
  // Data the steps returned, if it was not placed in ObjectOp::read_into. Valid during `done`.
  ConstBytes data;
};
using OpDone = InlineFunction<void(OpReply)>;

// An op to submit. Built by the caller, taken by submit().
struct ObjectOp {
  ObjectId object;
  ImageId image = 0;         // a FLUSH of this image makes it durable; 0: of none
  uint64_t io_id = 0;        // trace id of the IO it serves
  uint16_t flags = 0;        // OpFlag
  std::vector<SubOp> steps;  // 1 … OsdOpHeader::kMaxSubOps, applied in order, all or none
  // Data of the steps in order; borrowed until done.
  msgr::ConstBuffers data;
  // Where the data of the one READ step goes; borrowed until done. Its size is the length of that
  // step, and no other step may return data. Empty: the data is in OpReply::data.
  Bytes read_into;
  DeliveryProposal delivery;
  std::chrono::nanoseconds timeout{0};  // from submit to done; 0: Options::op_timeout
};

// What a LIST is for.
enum class ListScope : uint8_t {
  kPg,      // the objects of its PG
  kServer,  // those of all PGs of the pool that are on the same server: one walk for all of them
};

// Sends each op to the OSD that holds its object, and again when the map or the session changes,
// until it is answered, cancelled or out of time.
// Loop-bound to its center; every done runs there, exactly once, and never inside the call that
// took it. Owns its messenger; borrows center, stack, keyring and registry.
class Objecter {
 public:
  struct Options {
    std::chrono::nanoseconds op_timeout{std::chrono::seconds(20)};  // from submit, over all resends
    // Ops, and bytes of what they carry and ask for, that may be in flight at the same time; more
    // wait, in submit order. One op alone always goes.
    uint32_t max_in_flight_ops = 1024;
    uint64_t max_in_flight_bytes = 100u << 20;
    // How long a write that timed out or was cancelled waits for its server's word that it is not
    // executing, before it is reported.
    std::chrono::nanoseconds cancel_grace{std::chrono::seconds(2)};
    // How long an op that timed out or was cancelled waits for its server's word before the key to
    // its memory is taken back by force, which may cost the link.
    std::chrono::nanoseconds rkey_revoke_timeout{std::chrono::seconds(2)};
    std::vector<msgr::Address> bootstrap;  // any servers of the cluster; one must answer
    std::optional<OsdId> authority;        // who has to be the map authority; none: the map says

    // From the options objecter_*, mon_host and map_authority. An error is what the parsers of
    // mon_host.h say.
    static Outcome<Options> from_config(const Config& config);
  };

  // Begins to look for a cluster map at once; wait_for_map() tells when there is one. `perf` null:
  // nobody reads the counters. Errors: kUnreachable without a bootstrap address, and those of
  // Messenger::create().
  static Outcome<std::unique_ptr<Objecter>> create(msgr::EventCenter& center,
                                                   msgr::NetworkStack& stack,
                                                   msgr::MessengerOptions messenger_options,
                                                   Options options, const Keyring* keyring,
                                                   PerfRegistry* perf);
  virtual ~Objecter() = default;  // REQUIRES: shutdown() is done

  // Runs done as soon as there is a map; or, when `timeout` ends first, with a sentence about what
  // was tried and kUnreachable, or msgr::MsgrErrc::kAuthFailed or kFeatureMismatch if a server
  // refuses this client. Trying goes on after that, for whoever waits next. kShutdown: shutdown()
  // was called.
  virtual void wait_for_map(std::chrono::nanoseconds timeout,
                            UniqueFunction<void(Outcome<OsdMapRef>)> done) = 0;
  // The newest; null before the first.
  virtual OsdMapRef map() const = 0;
  // Runs done when the map has at least this epoch, or with kTimedOut or kShutdown. Asks the
  // servers for anything newer, once.
  virtual void wait_for_epoch(Epoch epoch, std::chrono::nanoseconds timeout,
                              UniqueFunction<void(std::error_code)> done) = 0;

  // Ops on one object that are not resent are applied in submit order. When done runs nothing
  // touches op.data or op.read_into any more.
  // Errors told apart: kTimedOut (may have been applied), kUnknownOutcome, kCancelled, kFenced,
  // kNoSuchPool, kInvalid and kTooLarge (it was not sent), and whatever the server says.
  virtual Tid submit(ObjectOp op, OpDone done) = 0;

  // Who learns of lost writes by a FLUSH that ends with kLostWrites.
  enum class LossHearer : uint8_t {
    kInitiator,  // whoever the image is for: the loss counts as heard, and no further flush says it
                 // again; but if a write (writes_of()) was in flight that may be part of it, the
                 // next one does
    kNobody,     // only the caller, for purposes of its own: every flush says it as before
  };
  // FLUSH to every OSD of the pool, whoever wrote: done with the first error when all answered, but
  // kLostWrites before any other for an initiator, and after any other for nobody. Passes ops that
  // wait because of the limits in flight. Covers the writes of this image that were done before the
  // call. The Tid cancels all of it.
  virtual Tid flush(PoolId pool, ImageId image, uint64_t io_id, LossHearer hearer,
                    UniqueFunction<void(std::error_code)> done) = 0;
  // Where whoever changes the image says when a write of several ops begins and ends, so that no
  // flush hides that a part of it was lost. The same object for all who hold it.
  virtual std::shared_ptr<ImageWrites> writes_of(ImageId image) = 0;
  // Whom the last kLostWrites of the image was for could not be told: the next flush says it again.
  virtual void on_loss_unheard(ImageId image) = 0;

  // Asks for the op to end with kCancelled: waits for the server's confirmation up to
  // `cancel_grace`, so that a cancelled op is either known not to run or its time is over. A change
  // that its server turns out to have executed ends with that answer instead. An op that is already
  // done is left alone.
  virtual void cancel(Tid tid) = 0;

  // Names of objects after `cursor` (empty: from the first), sorted, at most `limit` (1 …
  // OsdOpHeader::kMaxListed); an empty page is the end. Errors: kInvalid (also of a server that
  // lists only PG by PG), and those of submit().
  virtual Tid list(PgId pg, ListScope scope, std::string cursor, uint32_t limit,
                   UniqueFunction<void(Result<std::vector<std::string>>)> done) = 0;

  // A JSON command for the map authority (`osd`, `pool`, `map` …), or for one OSD if `osd` >= 0.
  // Sent once at most; the answer is JSON too, and comes with a map that shows what was changed.
  // Errors, each with a sentence: kUnreachable (it was not sent), kTimedOut and kUnknownOutcome (it
  // may have been executed), kShutdown, and whatever the server says.
  virtual void command(OsdId osd, std::string json, std::chrono::nanoseconds timeout,
                       UniqueFunction<void(Outcome<std::string>)> done) = 0;

  // Watches the object under this cookie, which no other watch of it by this Objecter may have
  // (kExists). After done without error the watch lives until unwatch() or on_watch_lost(): it is
  // taken up again after a lost connection, a restart of the server, or a move to another one.
  // `handler` is borrowed until one of these two, or an error of `done`, or shutdown(), after which
  // it is not called any more. It may be called before `done` runs. A cookie whose last watch was
  // lost, or given up without an answer, waits until the server has let go of that. Errors:
  // kNoSuchObject, kBusy (too many watches), kIncompatible (the server knows no watches), and those
  // of submit().
  virtual void watch(ObjectId object, uint64_t cookie, WatchHandler& handler,
                     UniqueFunction<void(std::error_code)> done) = 0;
  // Ends a watch. done without error: the server has it no more. Later calls for a watch that is
  // lost or unknown ask the server all the same: for what an earlier call left behind.
  virtual void unwatch(ObjectId object, uint64_t cookie,
                       UniqueFunction<void(std::error_code)> done) = 0;
  // How long ago the server was last known to have the watch: it has it for the watch timeout from
  // then, whatever happens. kWatchLost: no such watch, or it is not confirmed yet.
  virtual Result<std::chrono::nanoseconds> watch_check(const ObjectId& object,
                                                       uint64_t cookie) const = 0;
  // Tells every watcher of the object, this process's too, and waits up to `timeout` (at most
  // WatchLimits::kMaxTimeout) for their acks. `payload` has at most WatchLimits::kMaxPayloadBytes
  // (kTooLarge). Watchers that time out are no error. After a restart of the server they may be
  // told twice. kNoSuchObject, kBusy (too many notifies at once), and those of submit().
  virtual void notify(ObjectId object, std::vector<std::byte> payload,
                      std::chrono::milliseconds timeout,
                      UniqueFunction<void(Result<NotifyResult>)> done) = 0;
  // Who watches the object. kNoSuchObject, kIncompatible, and those of submit().
  virtual void list_watchers(ObjectId object, UniqueFunction<void(Result<WatcherList>)> done) = 0;

  // JSON for the admin socket: ops in flight (tid, object, osd, age, attempts, state), sessions.
  virtual std::string ops_in_flight_json() const = 0;
  virtual std::string sessions_json() const = 0;

  // Ops in flight, waiters and commands end with kShutdown; done runs when no session is left, and
  // may destroy the Objecter. Once.
  virtual void shutdown(UniqueFunction<void()> done) = 0;
};

}  // namespace lunar::objecter
