// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/osd/rados/fake_rados.h"

#include <algorithm>
#include <cerrno>

namespace lunar::osd::test {

using StepKind = RadosStep::Kind;

void FakeRados::add_pool(const std::string& name) { pools_[name] = true; }

void FakeRados::put(const Place& place, const std::string& name, const std::string& bytes) {
  const std::lock_guard lock(mutex_);
  Object& object = objects_[place][name];
  object.bytes = bytes;
  object.version = ++version_;
}

std::string FakeRados::content(const Place& place, const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = objects_[place].find(name);
  return found == objects_[place].end() ? "(absent)" : found->second.bytes;
}

int FakeRados::read(const Object& object, RadosStep& step) {
  const std::string& bytes = object.bytes;
  switch (step.kind) {
    case StepKind::kRead:
    case StepKind::kSparseRead:
      if (step.offset < bytes.size()) {
        step.filled = std::min<uint64_t>(step.into.size(), bytes.size() - step.offset);
        std::copy_n(as_const_bytes(bytes).begin() + static_cast<std::ptrdiff_t>(step.offset),
                    step.filled, step.into.begin());
      }
      if (step.kind == StepKind::kSparseRead && step.filled > 0)
        step.extents = {{step.offset, step.filled}};
      return 0;
    case StepKind::kStat:
      step.filled = bytes.size();
      return 0;
    default: {
      const auto found = object.xattrs.find(std::string(step.name));
      if (found == object.xattrs.end()) {
        step.result = -ENODATA;
        return 0;  // as with OP_FAILOK
      }
      const ConstBytes value = as_const_bytes(found->second);
      step.value.assign(value.begin(), value.end());
      return 0;
    }
  }
}

int FakeRados::change(Object& object, bool& exists, RadosStep& step) {
  std::string& bytes = object.bytes;
  const std::string_view data = as_text(step.data);
  const auto write = [&](uint64_t offset, std::string_view from) {
    exists = true;
    bytes.resize(std::max<std::size_t>(bytes.size(), offset + from.size()));
    std::copy(from.begin(), from.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
  };
  switch (step.kind) {
    case StepKind::kAssertVersion:
      if (step.version < object.version) return -ERANGE;
      return step.version > object.version ? -EOVERFLOW : 0;
    case StepKind::kCompare:
      for (std::size_t i = 0; i < data.size(); ++i) {
        const char there = step.offset + i < bytes.size() ? bytes[step.offset + i] : '\0';
        if (there != data[i]) return step.result = kMiscompareBase - static_cast<int>(i);
      }
      return 0;
    case StepKind::kCreateExclusive:
      if (exists) return -EEXIST;
      exists = true;
      return 0;
    case StepKind::kCreate:
      exists = true;
      return 0;
    case StepKind::kWrite:
      write(step.offset, data);
      return 0;
    case StepKind::kWriteFull:
      exists = true;
      bytes = data;
      return 0;
    case StepKind::kWriteSame:
      for (uint64_t at = 0; at < step.length; at += data.size()) write(step.offset + at, data);
      return 0;
    case StepKind::kZero:
      if (!exists || step.offset >= bytes.size()) return 0;
      if (step.offset + step.length >= bytes.size())
        bytes.resize(step.offset);
      else
        std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(step.offset), step.length, '\0');
      return 0;
    case StepKind::kTruncate:
      if (exists) bytes.resize(step.length);
      return 0;
    case StepKind::kRemove:
      exists = false;
      object = {};
      return 0;
    default:
      exists = true;
      object.xattrs[std::string(step.name)] = data;
      return 0;
  }
}

void FakeRados::apply(const std::string& client, const Place& place, RadosCall& call) {
  if (call.changes && before_change_) before_change_();
  const std::lock_guard lock(mutex_);
  ++calls_;
  if (std::find(blocklist_.begin(), blocklist_.end(), client) != blocklist_.end()) {
    call.result = -ESHUTDOWN;
    return;
  }
  auto& objects = objects_[place];
  const auto found = objects.find(call.object);
  bool exists = found != objects.end();
  if (!call.changes && !exists) {
    call.result = -ENOENT;
    return;
  }
  Object object = exists ? found->second : Object();
  call.result = call.changes ? change_error_ : 0;
  for (RadosStep& step : call.steps) {
    if (call.result != 0) return;
    call.result = call.changes ? change(object, exists, step) : read(object, step);
  }
  if (call.result != 0) return;
  if (call.changes) object.version = ++version_;
  call.version = object.version;
  if (!call.changes) return;
  if (exists)
    objects[call.object] = std::move(object);
  else
    objects.erase(call.object);
}

class FakeRados::Pool final : public RadosPool {
 public:
  Pool(FakeRados& rados, std::string client, Place place)
      : rados_(rados), client_(std::move(client)), place_(std::move(place)) {}
  void submit(RadosCall& call) override {
    call.result = 0;
    call.version = 0;
    rados_.apply(client_, place_, call);
    call.on_done();
  }
  int make(const std::string& object, const std::string& content) override {
    if (rados_.change_error_ != 0) return rados_.change_error_;
    std::string there;
    if (look(object, there) == 0) return -EEXIST;
    rados_.put(place_, object, content);
    return 0;
  }
  int look(const std::string& object, std::string& content) override {
    const std::string there = rados_.content(place_, object);
    if (there == "(absent)") return -ENOENT;
    content = there;
    return 0;
  }
  int list(const std::function<void(const std::string&)>& visit) override {
    const std::lock_guard lock(rados_.mutex_);
    for (const auto& [name, object] : rados_.objects_[place_]) visit(name);
    return 0;
  }

 private:
  FakeRados& rados_;
  const std::string client_;
  const Place place_;
};

class FakeRados::Client final : public RadosClient {
 public:
  Client(FakeRados& rados, std::string address) : rados_(rados), address_(std::move(address)) {}
  int open_pool(const std::string& pool, const std::string& name_space,
                std::unique_ptr<RadosPool>& opened) override {
    if (!rados_.pools_.contains(pool)) return -ENOENT;
    opened = std::make_unique<Pool>(rados_, address_, Place{pool, name_space});
    return 0;
  }
  int space(Space& space) override {
    space = {100, 40, 60};
    return 0;
  }
  std::string address() const override { return address_; }
  int blocklist(const std::string& address) override { return rados_.blocklist(address); }
  int catch_up() override { return rados_.catch_up(); }

 private:
  FakeRados& rados_;
  const std::string address_;
};

int FakeRados::blocklist(const std::string& address) {
  const std::lock_guard lock(mutex_);
  if (monitor_error_ != 0) return monitor_error_;
  blocklist_.push_back(address);
  return 0;
}

int FakeRados::catch_up() {
  std::unique_lock lock(mutex_);
  ++catch_ups_;
  monitor_answers_.wait(lock, [this] { return !is_monitor_silent_; });
  return monitor_error_;
}

void FakeRados::set_monitor(int error, bool is_silent) {
  const std::lock_guard lock(mutex_);
  monitor_error_ = error;
  is_monitor_silent_ = is_silent;
  monitor_answers_.notify_all();
}

std::vector<std::string> FakeRados::blocklisted() {
  const std::lock_guard lock(mutex_);
  return blocklist_;
}

int FakeRados::catch_ups() {
  const std::lock_guard lock(mutex_);
  return catch_ups_;
}

std::unique_ptr<RadosClient> FakeRados::connect() {
  return std::make_unique<Client>(*this, "fake/" + std::to_string(++clients_));
}

}  // namespace lunar::osd::test
