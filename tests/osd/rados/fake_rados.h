// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "osd/rados/rados_client.h"

namespace lunar::osd::test {

// RADOS in memory, with those of its ways that matter to who uses it: an op is all or nothing, what
// is absent compares as zeroes, ZERO up to the end cuts the object, versions only grow.
// Thread-safe. Shared by the client and its pools.
class FakeRados {
 public:
  using Place = std::pair<std::string, std::string>;  // pool, namespace
  struct Object {
    std::string bytes;
    std::map<std::string, std::string> xattrs;
    uint64_t version = 0;
  };

  void add_pool(const std::string& name);
  // Every call that changes, and every make(), ends with this from now on, and has changed nothing;
  // 0: none does.
  void fail_changes(int error) { change_error_ = error; }
  // Runs before each call that changes: what somebody else does in between.
  void set_before_change(std::function<void()> run) { before_change_ = std::move(run); }
  void put(const Place& place, const std::string& name, const std::string& bytes);
  std::string content(const Place& place, const std::string& name);
  int calls() const { return calls_; }

  // The monitor answers with this error from now on, 0: none, or is silent until the next call.
  void set_monitor(int error, bool is_silent = false);
  std::vector<std::string> blocklisted();
  int catch_ups();  // calls of RadosClient::catch_up() that began

  // Each client has an address of its own; one that is on the blocklist can do nothing.
  std::unique_ptr<RadosClient> connect();

 private:
  class Client;
  class Pool;
  int blocklist(const std::string& address);
  int catch_up();
  void apply(const std::string& client, const Place& place, RadosCall& call);
  int change(Object& object, bool& exists, RadosStep& step);
  static int read(const Object& object, RadosStep& step);

  std::mutex mutex_;
  std::map<std::string, bool> pools_;
  std::map<Place, std::map<std::string, Object>> objects_;
  uint64_t version_ = 0;
  int change_error_ = 0;
  int calls_ = 0;
  std::function<void()> before_change_;
  int clients_ = 0;
  std::vector<std::string> blocklist_;
  int monitor_error_ = 0;
  bool is_monitor_silent_ = false;
  std::condition_variable monitor_answers_;
  int catch_ups_ = 0;
};

}  // namespace lunar::osd::test
