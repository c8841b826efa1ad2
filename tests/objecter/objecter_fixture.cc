// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/objecter/objecter_fixture.h"

#include <nlohmann/json.hpp>

namespace lunar::objecter {

LinkFaults::Verdict LinkFaults::on_connect(const msgr::Address& peer) {
  if (refuse && peer == target) return {std::make_error_code(std::errc::connection_refused)};
  return {};
}

LinkFaults::Verdict LinkFaults::on_send(const msgr::Address& peer, std::size_t) {
  if (peer != target) return {};
  if (fail_sends > 0) {
    --fail_sends;
    return {std::make_error_code(std::errc::connection_reset), {}, 0};
  }
  if (stall) return {{}, 1h};
  return {};
}

LinkFaults::Verdict LinkFaults::on_receive(const msgr::Address& peer, std::size_t bytes) {
  if (peer != target || receive_bytes == SIZE_MAX) return {};
  if (receive_bytes == 0) return {{}, 1h};
  const std::size_t limit = std::min(bytes, receive_bytes);
  receive_bytes -= limit;
  return {{}, {}, limit};
}

ObjecterFixture::ObjecterFixture(msgr::LoopbackOptions stack_options) {
  msgr::EventCenter::Options center_options;
  center_options.time = &clock;
  center = std::move(*msgr::EventCenter::create(center_options));
  stack_options.injector = &faults;
  stack = std::make_unique<msgr::LoopbackStack>(stack_options);
  client_options.entity = "client.test";
  client_options.instance = "fixture";
  client_options.inject_seed = 7;  // back-off jitter that repeats
}

void ObjecterFixture::TearDown() {
  shut_down();
  for (std::size_t i = 0; i < servers.size(); ++i) stop_server(static_cast<int>(i));
}

void ObjecterFixture::shut_down() {
  if (objecter == nullptr) return;
  bool is_down = false;
  objecter->shutdown([&] { is_down = true; });
  for (int i = 0; i < 100 && !is_down; ++i) pass(50ms);
  EXPECT_TRUE(is_down) << "shutdown() did not end";
  objecter.reset();
}

void ObjecterFixture::stop_server(int id) {
  test::FakeOsd& server = osd(id);
  if (!server.is_stopped()) server.stop([] {});
  for (int i = 0; i < 100 && !server.is_stopped(); ++i) pass(50ms);
  EXPECT_TRUE(server.is_stopped());
}

void ObjecterFixture::start_servers(int count) {
  map.fsid = *Uuid::parse("01234567-89ab-4def-8123-456789abcdef");
  map.epoch = 5;
  map.next_pool_id = 2;
  PoolInfo pool;
  pool.id = 1;
  pool.name = "rbd";
  pool.store = StoreKind::kMem;
  for (OsdId id = 0; id < count; ++id) {
    servers.push_back(
        std::make_unique<test::FakeOsd>(*center, *stack, id, server_options, server_keyring));
    const msgr::Address address = servers.back()->start();
    map.osds.push_back({id, Uuid::random(), {address}, true});
    pool.members.push_back({id, 0x10000});
  }
  map.pools = {pool};
  set_map(map, false);
}

void ObjecterFixture::set_map(OsdMap next, bool push) {
  ASSERT_TRUE(validate(next)) << validate(next).error().message;
  map = std::move(next);
  for (auto& server : servers) {
    server->map = map;
    if (push) server->push_map();
  }
}

void ObjecterFixture::make_objecter() {
  if (options.bootstrap.empty()) options.bootstrap = {osd(0).address()};
  auto made = Objecter::create(*center, *stack, client_options, options, client_keyring, &perf);
  ASSERT_TRUE(made) << made.error().message;
  objecter = std::move(*made);
}

void ObjecterFixture::pass(std::chrono::nanoseconds time) {
  settle();
  while (time.count() > 0) {
    const auto step = std::min<std::chrono::nanoseconds>(time, 10ms);
    clock.advance(step);
    time -= step;
    settle();
  }
}

void ObjecterFixture::restart(int id, bool same_incarnation) {
  if (!same_incarnation) {
    ++osd(id).hello.incarnation;
    osd(id).hello.remembers_client = false;
  }
  osd(id).drop_sessions();
  pass(3s);
  osd(id).hello.remembers_client = true;
}

std::string ObjecterFixture::object_on(OsdId id, int number) const {
  for (int i = 0;; ++i) {
    std::string name = "object." + std::to_string(i);
    const PoolInfo& pool = *map.find_pool(1);
    if (osd_of_pg(pool, pg_of_object(pool, name)) == id && number-- == 0) return name;
  }
}

ObjectOp ObjecterFixture::write_op(const std::string& name, std::vector<std::byte>& data,
                                   uint16_t flags) {
  ObjectOp op;
  op.object = {1, name};
  op.image = 77;
  op.io_id = 0x1d;
  op.flags = flags;
  const auto size = static_cast<uint32_t>(data.size());
  op.steps = {make_step(OpCode::kWrite, 0, size, size)};
  op.data.push_back(data);
  return op;
}

ObjectOp ObjecterFixture::read_op(const std::string& name, std::vector<std::byte>& into) {
  ObjectOp op;
  op.object = {1, name};
  op.steps = {make_step(OpCode::kRead, 0, into.size())};
  op.read_into = into;
  return op;
}

Tid ObjecterFixture::submit(ObjectOp op, Ended& ended) {
  return objecter->submit(std::move(op), [self = ended.self](OpReply reply) {
    if (*self == nullptr) return;
    Ended& ended = **self;
    ended.is_done = true;
    ++ended.times;
    ended.data.assign(reply.data.begin(), reply.data.end());
    reply.data = {};
    ended.reply = std::move(reply);
  });
}

uint64_t ObjecterFixture::counter(const std::string& name) const {
  const auto json = nlohmann::json::parse(perf.dump("objecter"));
  return json.at("objecter").at(name).get<uint64_t>();
}

std::vector<std::byte> pattern(std::size_t size, uint8_t first) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(first + i * 7);
  return bytes;
}

}  // namespace lunar::objecter
