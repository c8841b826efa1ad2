// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The records that a server finds in its store: after a fault of a disk they may hold anything. A
// start either works or says what is damaged. The first byte of an input chooses the record.

#include <map>
#include <string>

#include "common/check.h"
#include "osd/clients/fence_table.h"
#include "osd/map/map_authority.h"
#include "osd/records/object_versions.h"
#include "osd/records/store_starts.h"
#include "osd/records/unflushed_ledger.h"
#include "tests/fuzz/fuzz.h"

namespace lunar::fuzz {
namespace {

using Buffer = std::vector<std::byte>;
using osd::StoreDone;

// In memory; each put is done at the next turn of the loop.
class Records final : public osd::ServerRecords, public osd::Durability {
 public:
  explicit Records(msgr::EventCenter& center) : center_(center) {}
  void put_record(const std::string& key, RecordValue value, StoreDone done) override {
    if (value.empty())
      records[key].clear();
    else
      records[key] = std::move(value);
    finish(std::move(done));
  }
  Result<RecordValue> get_record(const std::string& key) const override {
    const auto at = records.find(key);
    if (at == records.end() || at->second.empty())
      return failure(make_error_code(objecter::OsdErrc::kNoSuchObject));
    return at->second;
  }
  std::vector<std::string> record_keys(const std::string& prefix) const override {
    std::vector<std::string> keys;
    for (const auto& [key, value] : records)
      if (key.starts_with(prefix) && !value.empty()) keys.push_back(key);
    return keys;
  }
  void flush(StoreDone done) override { finish(std::move(done)); }
  void set_on_loss(OnLoss) override {}
  bool may_have_lost_writes() const noexcept override { return false; }
  void acknowledge_loss(StoreDone done) override { finish(std::move(done)); }

  std::map<std::string, RecordValue> records;

 private:
  void finish(StoreDone done) {
    center_.post([done = std::move(done)]() mutable { done(std::error_code()); });
  }
  msgr::EventCenter& center_;
};

template <typename T>
void expect_sentence(const Outcome<T>& outcome) {
  if (!outcome) LUNAR_CHECK(!outcome.error().message.empty(), "an error without a sentence");
}

void load_ledger(msgr::EventCenter& center, Records& records) {
  std::unique_ptr<osd::UnflushedLedger> ledger;
  bool is_loaded = false;
  osd::UnflushedLedger::load(center, records, records, 7,
                             [&](Outcome<std::unique_ptr<osd::UnflushedLedger>> loaded) {
                               is_loaded = true;
                               expect_sentence(loaded);
                               if (loaded) ledger = std::move(*loaded);
                             });
  center.run_until_idle();
  LUNAR_CHECK(is_loaded, "the ledger is never loaded");
  if (ledger == nullptr) return;
  LUNAR_CHECK(!ledger->to_json().empty(), "a ledger that cannot be shown");
  ledger->shutdown([] {});
  center.run_until_idle();
}

// One of what a server loads, by its record's name.
void load(const std::string& key, msgr::EventCenter& center, Records& records) {
  if (key == osd::kMapRecord) return expect_sentence(osd::load_map(records));
  if (key == "starts") {
    const osd::StoreIdentity identity{Uuid::random(), Uuid::random(), 0};
    return expect_sentence(osd::StoreStarts::load(records, identity, nullptr));
  }
  if (key == "clients") return expect_sentence(osd::FenceTable::load(records));
  if (key == "unflushed" || key == "losses") return load_ledger(center, records);
  expect_sentence(osd::ObjectVersions::load(records, 7));
}

// What a server writes when it begins: the records to begin with.
std::map<std::string, Buffer> written() {
  const auto center = std::move(*msgr::EventCenter::create({}));
  Records records(*center);
  Buffer map;
  encode(osd::make_first_map(Uuid::random(), 0, Uuid::random()), map);
  records.records[osd::kMapRecord] = map;
  const osd::StoreIdentity identity{Uuid::random(), Uuid::random(), 0};
  auto starts = std::move(*osd::StoreStarts::load(records, identity, nullptr));
  starts->record([](std::error_code) {});
  auto fences = std::move(*osd::FenceTable::load(records));
  fences->claim({"client.a", "host/1"}, 5, [](std::error_code) {});
  fences->fence({"client.b", "host/2"}, 9, [](std::error_code) {});
  auto versions = std::move(*osd::ObjectVersions::load(records, 7));
  versions->change_metadata({1, "0000000000000001.header"}, false, [](std::error_code) {});
  versions->change_metadata({1, "0000000000000002.header"}, true, [](std::error_code) {});
  std::unique_ptr<osd::UnflushedLedger> ledger;
  osd::UnflushedLedger::load(*center, records, records, 7,
                             [&](auto loaded) { ledger = std::move(*loaded); });
  center->run_until_idle();
  if (!ledger->begin_write(3)) ledger->wait_marked(3, "client.a", [](std::error_code) {});
  center->run_until_idle();
  std::map<std::string, Buffer> all = records.records;
  ledger->end_write(3);
  ledger->shutdown([] {});
  center->run_until_idle();
  return all;
}

const std::map<std::string, Buffer>& originals() {
  static const auto& all = *new std::map<std::string, Buffer>(written());
  return all;
}

}  // namespace

std::vector<Buffer> seeds() {
  std::vector<Buffer> out;
  uint8_t number = 0;
  for (const auto& [key, value] : originals()) {
    Buffer bytes;
    ByteWriter w(bytes);
    w.put(number++);
    w.put_bytes(value);
    out.push_back(std::move(bytes));
  }
  return out;
}

void run_one(ConstBytes input) {
  if (input.empty()) return;
  const auto center = std::move(*msgr::EventCenter::create({}));
  Records records(*center);
  records.records = originals();
  auto damaged = records.records.begin();
  std::advance(damaged, static_cast<uint8_t>(input[0]) % records.records.size());
  damaged->second.assign(input.begin() + 1, input.end());
  load(damaged->first, *center, records);
  center->run_until_idle();
}

}  // namespace lunar::fuzz
