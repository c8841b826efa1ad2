// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/tcp/tcp_api.h"

#include <unistd.h>

#include <algorithm>
#include <memory>

#include "bstore_plugin/plugin_api.h"
#include "bstore_plugin/tcp/fast_transport.h"

namespace lunar::bstore_plugin {
namespace {

// Registered memory of the plugin, if it has any.
class RegisteredBuffers : public ForeignBuffers {
 public:
  void* allocate(std::size_t bytes) override { return lunar_plugin_alloc_buffer(bytes); }
  void release(void* begin) override { lunar_plugin_free_buffer(begin); }
};

class HostLoop : public TgtLoop {
 public:
  explicit HostLoop(const lunar_tcp_host& host) : host_(host) {}
  void schedule_turn() override { host_.schedule_turn(); }
  void schedule_tick() override { host_.schedule_tick(); }

 private:
  const lunar_tcp_host& host_;
};

class HostConnection : public TgtConnection {
 public:
  HostConnection(const lunar_tcp_host& host, void* connection, int fd)
      : host_(host), connection_(connection), fd_(fd) {}
  void receive() override { host_.receive(connection_); }
  void send() override { host_.send(connection_); }
  Phase phase() const override {
    switch (host_.phase(connection_)) {
      case LUNAR_TCP_FULL:
        return Phase::kFull;
      case LUNAR_TCP_CLOSING:
        return Phase::kClosing;
      case LUNAR_TCP_NEGOTIATING:
        break;
    }
    return Phase::kNegotiating;
  }
  bool has_output() const override { return host_.has_output(connection_) != 0; }
  void set_closing() override { host_.set_closing(connection_); }
  void close() override { host_.close(connection_); }
  void watch(int events) override { host_.watch(fd_, events); }

 private:
  const lunar_tcp_host& host_;
  void* const connection_;
  const int fd_;
};

// What the WRITEs of all initiators may hold: the machine's memory, so that one host has half of
// it, and no queue that an honest one fills comes near its share. 1 GiB at least.
uint64_t max_write_bytes() {
  constexpr uint64_t kLeast = 1u << 30;
  const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_bytes <= 0) return kLeast;
  return std::max(kLeast, static_cast<uint64_t>(pages) * static_cast<uint64_t>(page_bytes));
}

// Never destroyed: tgtd exits with connections open.
struct Tcp {
  Tcp(const lunar_tcp_host& tgt, PerfRegistry& perf)
      : host(tgt), loop(tgt), transport(loop, perf, max_write_bytes()) {
    transport.buffers().set_foreign(&registered);
  }
  const lunar_tcp_host& host;
  HostLoop loop;
  RegisteredBuffers registered;
  FastTransport transport;
};

Tcp* tcp = nullptr;  // null until lunar_tcp_start()

FastConnection* of(lunar_tcp_connection* self) { return reinterpret_cast<FastConnection*>(self); }
lunar_tcp_connection* as_handle(FastConnection* connection) {
  return reinterpret_cast<lunar_tcp_connection*>(connection);
}

FastConnection::Wanted wanted(int wants_input, int wants_output) {
  using enum FastConnection::Wanted;
  if (wants_input) return wants_output ? kBoth : kInput;
  return wants_output ? kOutput : kNothing;
}

}  // namespace
}  // namespace lunar::bstore_plugin

using namespace lunar::bstore_plugin;

extern "C" {

void lunar_tcp_start(const lunar_tcp_host* host, void* registry) {
  if (tcp == nullptr) tcp = new Tcp(*host, *static_cast<lunar::PerfRegistry*>(registry));
}

lunar_tcp_connection* lunar_tcp_find(int fd, const void* connection) {
  return as_handle(tcp->transport.find(fd, connection));
}

lunar_tcp_connection* lunar_tcp_adopt(int fd, void* connection, int wants_input, int wants_output,
                                      const char* initiator) {
  return as_handle(&tcp->transport.adopt(
      fd, connection, std::make_unique<HostConnection>(tcp->host, connection, fd),
      wanted(wants_input, wants_output), initiator));
}

void lunar_tcp_forget(lunar_tcp_connection* self) { tcp->transport.forget(*of(self)); }

long lunar_tcp_read(lunar_tcp_connection* self, void* to, size_t bytes) {
  return of(self)->read(to, bytes);
}

long lunar_tcp_write(lunar_tcp_connection* self, const void* from, size_t bytes, const void* base) {
  const bool is_large = base != nullptr && bytes >= FastConnection::kSmallestReferred;
  return of(self)->write(from, bytes, is_large ? tcp->transport.buffers().find(base) : nullptr);
}

void lunar_tcp_set_wanted(lunar_tcp_connection* self, int wants_input, int wants_output) {
  of(self)->set_wanted(wanted(wants_input, wants_output));
}

void lunar_tcp_add_task(lunar_tcp_connection* self) { of(self)->add_task(); }
void lunar_tcp_remove_task(lunar_tcp_connection* self) { of(self)->remove_task(); }
void lunar_tcp_refused(void) { tcp->transport.counters().refused.add(); }

void lunar_tcp_on_ready(lunar_tcp_connection* self, int events) { of(self)->on_ready(events); }
void lunar_tcp_turn(void) { tcp->transport.turn(); }
void lunar_tcp_tick(void) { tcp->transport.tick(); }

int lunar_tcp_may_hold(lunar_tcp_connection* self, size_t bytes) {
  return self == nullptr || of(self)->may_hold_for_write(bytes);
}

void* lunar_tcp_allocate(lunar_tcp_connection* self, size_t bytes, int is_for_read) {
  BufferOwner* owner = nullptr;
  if (self != nullptr) owner = is_for_read ? &of(self)->reads() : &of(self)->writes();
  CommandBuffers::Buffer* const buffer = tcp->transport.buffers().allocate(bytes, owner);
  return buffer == nullptr ? nullptr : buffer->begin;
}

int lunar_tcp_release(void* begin) {
  CommandBuffers::Buffer* const buffer = tcp->transport.buffers().find(begin);
  if (buffer == nullptr) return 0;
  tcp->transport.buffers().release(*buffer);
  return 1;
}

size_t lunar_tcp_capacity(const void* begin) {
  const CommandBuffers::Buffer* const buffer = tcp->transport.buffers().find(begin);
  return buffer == nullptr ? 0 : buffer->capacity;
}

}  // extern "C"
