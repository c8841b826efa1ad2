// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Peers of a server that say anything, in any order, through whole sessions: connect, send, close,
// come back, while an administrator changes the map. An input is a program of such steps. The
// server must not abort, nor touch what is gone; and an honest client must be served afterwards.

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>

#include "common/check.h"
#include "msgr/loopback/loopback_stack.h"
#include "objecter/protocol/control.h"
#include "objecter/protocol/osd_op.h"
#include "objecter/protocol/placement.h"
#include "objecter/protocol/watch.h"
#include "osd/map/map_authority.h"
#include "osd/server/osd_server.h"
#include "osd/store/mem_store.h"
#include "tests/fuzz/fuzz.h"

namespace lunar::fuzz {
namespace {

using namespace objecter;  // NOLINT(google-build-using-namespace)
using Buffer = std::vector<std::byte>;

// The steps of an input: one byte each, and what belongs to it.
enum Step : uint8_t {
  kConnect,  // peer: connects it, if it is not
  kSend,     // peer, type, u16 length of the front, u8 length of the data, front, data
  kClose,    // peer: closes its session
  kVanish,   // peer: ends its process, without a word
  kTurn,     // lets the loop run
  kCommand,  // u8 length, the command of an administrator
  kSteps,
};
constexpr std::size_t kPeers = 3;
constexpr std::size_t kMaxSteps = 64;

class Peer final : private msgr::Dispatcher {
 public:
  Peer(msgr::EventCenter& center, msgr::NetworkStack& stack, std::string entity,
       std::string instance, uint64_t nonce)
      : center_(center) {
    msgr::MessengerOptions options;
    options.auth_required = false;
    options.entity = std::move(entity);
    options.instance = std::move(instance);
    options.nonce = nonce;
    messenger_ = std::move(*msgr::Messenger::create(center, stack, options, nullptr, nullptr,
                                                    static_cast<msgr::Dispatcher*>(this)));
  }
  ~Peer() override {
    messenger_->shutdown([] {});
    center_.run_until_idle();
  }
  void connect(const msgr::Address& server) {
    if (connection_ == nullptr)
      connection_ = messenger_->connect(server, msgr::Policy::kLosslessClient);
  }
  void close() {
    if (connection_ != nullptr) connection_->close();
    connection_ = nullptr;
  }
  void send(uint16_t type, Buffer front, ConstBytes data, uint64_t tid) {
    if (connection_ == nullptr) return;
    msgr::MessageMeta meta;
    meta.type = type;
    meta.tid = tid;
    connection_->send(std::make_unique<Out>(meta, std::move(front), data));
  }
  std::optional<OsdErrc> last_command;
  std::optional<OsdErrc> last_op;

 private:
  struct Out final : msgr::OutMessage {
    Out(msgr::MessageMeta meta, Buffer f, ConstBytes d)
        : OutMessage(meta), front(std::move(f)), data(d.begin(), d.end()) {}
    void encode(msgr::Link&, uint64_t, msgr::EncodedMessage& out) override {
      out.front = front;
      if (!data.empty()) out.data.emplace_back(data);
    }
    Buffer front;
    Buffer data;
  };
  void on_open(msgr::Connection&) override {}
  void on_message(msgr::Connection&, msgr::InMessage message) override {
    const auto type = static_cast<MessageType>(message.meta.type);
    if (type == MessageType::kCommandReply) {
      if (const auto reply = decode_command_reply(message.front, message.data))
        last_command = reply->error;
    } else if (type == MessageType::kOsdOpReply) {
      const auto reply = decode_osd_reply(message.front, message.data.size());
      LUNAR_CHECK(reply.has_value(), "a reply that cannot be read");
      last_op = reply->error;
    }
  }
  void on_reset(msgr::Connection& connection, std::error_code) override {
    if (connection_.get() == &connection) connection_ = nullptr;
  }

  msgr::EventCenter& center_;
  std::unique_ptr<msgr::Messenger> messenger_;
  msgr::ConnectionRef connection_;
};

class Cluster {
 public:
  Cluster() : center_(std::move(*msgr::EventCenter::create({}))), stack_(msgr::LoopbackOptions()) {
    osd::MemStore::Options options;
    options.identity = {fsid_, Uuid::random(), 0};
    store_ = std::make_unique<osd::MemStore>(*center_, stack_.buffers(), options);
    Buffer record;
    encode(osd::make_first_map(fsid_, 0, options.identity.store), record);
    store_->put_record(osd::kMapRecord, std::move(record), [](std::error_code) {});
    turn();
    osd::OsdServerOptions server;
    server.auth_required = false;
    server_ = std::move(*osd::OsdServer::create(*center_, *store_, server, perf_));
    server_->set_on_refused([](const Error&) { LUNAR_CHECK(false, "refused"); });
    msgr::MessengerOptions messenger;
    messenger.auth_required = false;
    messenger.entity = messenger.instance = "osd.0";
    server_->start(stack_, messenger, nullptr, {{msgr::Address::loopback(6800)}, {}},
                   [this](Outcome<msgr::Address> ready) { address_ = *ready; });
    turn();
    admin_.emplace(*center_, stack_, "client.admin", "admin", 1);
    admin_->connect(address_);
    turn();
    command(R"({"prefix": "pool create", "pool": "rbd"})");
    turn();
  }
  ~Cluster() {
    for (auto& peer : peers_) peer.reset();
    admin_.reset();
    bool is_stopped = false;
    server_->shutdown([&] { is_stopped = true; });
    turn();
    LUNAR_CHECK(is_stopped, "the server does not end");
  }

  void turn() { center_->run_until_idle(); }
  void connect(std::size_t peer) {
    if (!peers_[peer])
      peers_[peer].emplace(*center_, stack_, "client.raw", "raw" + std::to_string(peer), ++nonce_);
    peers_[peer]->connect(address_);
    turn();
  }
  void send(std::size_t peer, uint16_t type, ConstBytes front, ConstBytes data) {
    if (!peers_[peer]) return;
    // Ops and commands carry their tid twice.
    uint64_t tid = 0;
    if (front.size() >= sizeof tid && type == static_cast<uint16_t>(MessageType::kOsdOp))
      tid = ByteReader(front).get<uint64_t>();
    peers_[peer]->send(type, Buffer(front.begin(), front.end()), data, tid);
  }
  void close(std::size_t peer) {
    if (peers_[peer]) peers_[peer]->close();
  }
  void vanish(std::size_t peer) { peers_[peer].reset(); }
  void command(std::string_view text) {
    const ConstBytes bytes = as_const_bytes(text);
    admin_->send(static_cast<uint16_t>(MessageType::kCommand), Buffer(bytes.begin(), bytes.end()),
                 {}, ++tid_);
  }

  // An honest client, whatever the others did.
  void check_service() {
    turn();
    admin_->last_command.reset();
    command(R"({"prefix": "status"})");
    turn();
    LUNAR_CHECK(admin_->last_command == OsdErrc::kOk, "the server answers no command");
    Peer honest(*center_, stack_, "client.honest", "honest", 1);
    honest.connect(address_);
    turn();
    const OsdMap& map = *server_->map();
    if (map.pools.empty()) return;  // the input has removed it
    OsdOpHeader op;
    op.tid = op.oldest_tid = 1;
    op.epoch = map.epoch;
    op.object = "honest";
    op.pg = pg_of_object(map.pools[0], op.object);
    SubOp& step = op.steps.emplace_back();
    step.code = OpCode::kWrite;
    step.length = step.data_length = 4;
    Buffer front;
    encode(op, front);
    honest.send(static_cast<uint16_t>(MessageType::kOsdOp), std::move(front),
                as_const_bytes("data"), 1);
    turn();
    LUNAR_CHECK(honest.last_op == OsdErrc::kOk, "an honest WRITE is not served");
  }

 private:
  const Uuid fsid_ = Uuid::random();
  PerfRegistry perf_;
  std::unique_ptr<msgr::EventCenter> center_;
  msgr::LoopbackStack stack_;
  std::unique_ptr<osd::MemStore> store_;
  std::unique_ptr<osd::OsdServer> server_;
  msgr::Address address_;
  std::optional<Peer> admin_;
  std::array<std::optional<Peer>, kPeers> peers_;
  uint64_t nonce_ = 0;
  uint64_t tid_ = 0;
};

// --- seeds ---

class Program {
 public:
  Program& connect(uint8_t peer) { return step(kConnect, peer); }
  Program& close(uint8_t peer) { return step(kClose, peer); }
  Program& vanish(uint8_t peer) { return step(kVanish, peer); }
  Program& turn() {
    w_.put(kTurn);
    return *this;
  }
  Program& command(std::string_view text) {
    w_.put(kCommand);
    w_.put(static_cast<uint8_t>(text.size()));
    w_.put_bytes(as_const_bytes(text));
    return *this;
  }
  template <typename T>
  Program& send(uint8_t peer, MessageType type, const T& value, std::string_view data = {}) {
    Buffer front;
    encode(value, front);
    return send_front(peer, type, front, data);
  }
  Program& send_front(uint8_t peer, MessageType type, ConstBytes front,
                      std::string_view data = {}) {
    step(kSend, peer);
    w_.put(static_cast<uint8_t>(type));
    w_.put(static_cast<uint16_t>(front.size()));
    w_.put(static_cast<uint8_t>(data.size()));
    w_.put_bytes(front);
    w_.put_bytes(as_const_bytes(data));
    return *this;
  }
  Buffer bytes() const { return bytes_; }

 private:
  Program& step(Step what, uint8_t peer) {
    w_.put(what);
    w_.put(peer);
    return *this;
  }
  Buffer bytes_;
  ByteWriter w_{bytes_};
};

OsdOpHeader op_of(Tid tid, OpCode code, const std::string& object = "object") {
  OsdOpHeader op;
  op.tid = tid;
  op.oldest_tid = 1;
  op.epoch = 2;
  op.object = object;
  op.image = 5;
  PoolInfo pool;
  pool.id = 1;
  op.pg = object.empty() ? PgId{1, 0} : pg_of_object(pool, object);
  op.steps.emplace_back().code = code;
  return op;
}

OsdOpHeader write_of(Tid tid) {
  OsdOpHeader op = op_of(tid, OpCode::kWrite);
  op.steps[0].length = op.steps[0].data_length = 4;
  return op;
}

OsdOpHeader read_of(Tid tid) {
  OsdOpHeader op = op_of(tid, OpCode::kRead);
  op.steps[0].length = 4;
  return op;
}

OsdOpHeader watch_of(Tid tid, OpCode code) {
  OsdOpHeader op = op_of(tid, code);
  op.steps[0].offset = 9;
  if (code == OpCode::kNotify) op.steps[0].length = 1000;
  if (code == OpCode::kNotifyAck) op.steps[0].length = 1;
  return op;
}

OsdBoot some_boot() {
  OsdBoot boot;
  boot.osd = 1;
  boot.fsid = boot.store = Uuid::random();
  boot.incarnation = 3;
  boot.addresses = {msgr::Address::loopback(6801)};
  return boot;
}

constexpr std::string_view kNewPool = R"({"prefix": "pool create", "pool": "more"})";
constexpr std::string_view kNoPool =
    R"({"prefix": "pool rm", "pool": "rbd", "yes_i_really_really_mean_it": true})";
constexpr std::string_view kFence =
    R"({"prefix": "osd fence", "entity": "client.raw", "instance": "raw0", "nonce": 9})";

void run(Cluster& cluster, ByteReader& in) {
  const auto step = static_cast<Step>(in.get<uint8_t>() % kSteps);
  if (step == kTurn) return cluster.turn();
  if (step == kCommand) {
    const auto text = in.get_bytes(in.get<uint8_t>());
    if (in.ok()) cluster.command(as_text(text));
    return;
  }
  const std::size_t peer = in.get<uint8_t>() % kPeers;
  switch (step) {
    case kConnect:
      return cluster.connect(peer);
    case kClose:
      return cluster.close(peer);
    case kVanish:
      return cluster.vanish(peer);
    default: {
      const auto type = in.get<uint8_t>();
      const auto front_bytes = in.get<uint16_t>();
      const auto data_bytes = in.get<uint8_t>();
      const ConstBytes front = in.get_bytes(front_bytes);
      const ConstBytes data = in.get_bytes(data_bytes);
      if (in.ok()) cluster.send(peer, type, front, data);
    }
  }
}

}  // namespace

std::vector<Buffer> seeds() {
  const std::byte one{1};
  const ConstBytes unreadable(&one, 1);
  using T = MessageType;
  return {
      Program()
          .connect(0)
          .send(0, T::kMapSubscribe, MapSubscribe{0})
          .turn()
          .command(kNewPool)
          .bytes(),
      // Attack 1 of the review: whoever closes, the tables hear of it.
      Program()
          .connect(0)
          .send(0, T::kMapSubscribe, MapSubscribe{1})
          .turn()
          .send_front(0, T::kOsdBoot, unreadable)
          .turn()
          .command(kNewPool)
          .turn()
          .bytes(),
      Program().connect(0).send(0, T::kOsdBoot, some_boot()).close(0).command(kNewPool).bytes(),
      Program()
          .connect(0)
          .send(0, T::kOsdOp, write_of(1), "data")
          .turn()
          .send(0, T::kOsdOp, read_of(2))
          .send(0, T::kCancel, CancelNote{2})
          .close(0)
          .connect(0)
          .send(0, T::kOsdOp, op_of(3, OpCode::kFlush, ""))
          .bytes(),
      Program()
          .connect(0)
          .connect(1)
          .send(0, T::kOsdOp, write_of(1), "data")
          .send(0, T::kOsdOp, watch_of(2, OpCode::kWatch))
          .turn()
          .send(1, T::kOsdOp, watch_of(1, OpCode::kNotify))
          .turn()
          .send(0, T::kOsdOp, watch_of(3, OpCode::kNotifyAck))
          .send(0, T::kWatchPing, WatchPing{})
          .vanish(0)
          .bytes(),
      Program()
          .connect(0)
          .connect(1)
          .send(0, T::kOsdOp, write_of(1), "data")
          .send(0, T::kOsdOp, watch_of(2, OpCode::kWatch))
          .turn()
          .command(kFence)
          .send(0, T::kOsdOp, watch_of(3, OpCode::kListWatchers))
          .turn()
          .command(kNoPool)
          .bytes(),
  };
}

void run_one(ConstBytes input) {
  const Buffer bytes(input.begin(), input.end());  // a block of exactly its size
  Cluster cluster;
  ByteReader in(bytes);
  for (std::size_t i = 0; i < kMaxSteps && in.ok() && !in.is_finished(); ++i) run(cluster, in);
  cluster.check_service();
}

}  // namespace lunar::fuzz
