// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/records.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/log.h"
#include "osd/store/store_error.h"

namespace lunar::osd {
namespace {
constexpr const char* kFolder = "meta";
constexpr std::string_view kPrefix = "r.";
constexpr std::size_t kMaxKeyBytes = 200;
}  // namespace

bool is_valid_record_key(std::string_view key) noexcept {
  return !key.empty() && key.size() <= kMaxKeyBytes &&
         std::all_of(key.begin(), key.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                  c == '-';
         });
}

Outcome<void> Records::load(const std::string& path) {
  auto entries = tree_.entries(kFolder);
  if (!entries) {
    return failure(file_error(path + "/meta", "cannot be listed", entries.error()));
  }
  for (const auto& entry : *entries) {
    const std::string file = std::string(kFolder) + "/" + entry.name;
    std::string_view key = entry.name;
    if (!key.starts_with(kPrefix) || !is_valid_record_key(key.substr(kPrefix.size()))) {
      LUNAR_LOG(kStore, 0, "{}/{}: was not put there by lunar-osd and is left alone", path, file);
      continue;
    }
    key.remove_prefix(kPrefix.size());
    auto value = tree_.read_small(file, kMaxValueBytes);
    if (!value) return failure(file_error(path + "/" + file, "cannot be read", value.error()));
    values_.emplace(key, std::move(*value));
  }
  return {};
}

void Records::put(const std::string& key, ServerRecords::RecordValue value, StoreDone done) {
  waiting_.push_back({key, std::move(value), std::move(done), {}});
  if (!is_busy_) start();
}

void Records::start() {
  is_busy_ = true;
  auto batch = std::make_shared<Batch>(std::exchange(waiting_, {}));
  pool_.run([this, batch] { return write(*batch); },
            [this, batch](std::error_code error) {
              for (RecordPut& put : *batch) {
                if (!put.error) put.error = error;
              }
              finish(*batch);
            });
}

// What ends with an error must not be there at the next start: whoever asked for it was refused.
std::error_code Records::write(Batch& batch) {
  const auto folder =
      tree_.open_folder(kFolder);  // first: it might fail when the names are changed
  if (!folder) return folder.error();
  for (RecordPut& put : batch) put.error = reserve_.use_for([&] { return apply(put); });
  const auto sync = [&] { return error_in(tree_.syscalls().sync_file(folder->get())); };
  const std::error_code synced = sync();
  if (!synced) return {};
  LUNAR_ERROR(kStore, "records cannot be synced: {}; they are put back as they were",
              synced.message());
  for (const RecordPut& put : batch) {
    const ServerRecords::RecordValue* before = find(put.key);  // nobody changes it meanwhile
    apply({put.key, before != nullptr ? *before : ServerRecords::RecordValue(), {}, {}});
  }
  sync();
  return synced;
}

std::error_code Records::apply(const RecordPut& put) {
  const std::string file = std::string(kPrefix) + put.key;
  if (put.value.empty()) {
    auto folder = tree_.open_folder(kFolder);
    if (!folder) return folder.error();
    const int removed = tree_.syscalls().unlink(folder->get(), file.c_str());
    return removed < 0 && removed != -ENOENT ? system_error(-removed) : std::error_code{};
  }
  const std::string temporary = "record." + put.key;
  if (const auto error = tree_.write_temporary(temporary, put.value)) return error;
  return tree_.move_into_place(temporary, kFolder, file);
}

void Records::finish(Batch& batch) {
  for (RecordPut& put : batch) {
    if (put.error) continue;
    if (put.value.empty()) {
      values_.erase(put.key);
    } else {
      values_.insert_or_assign(put.key, std::move(put.value));
    }
  }
  is_busy_ = false;
  if (!waiting_.empty()) start();
  for (RecordPut& put : batch) put.done(put.error);
}

const ServerRecords::RecordValue* Records::find(const std::string& key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

std::vector<std::string> Records::keys(const std::string& prefix) const {
  std::vector<std::string> keys;
  for (auto at = values_.lower_bound(prefix); at != values_.end(); ++at) {
    if (!at->first.starts_with(prefix)) break;
    keys.push_back(at->first);
  }
  return keys;
}

}  // namespace lunar::osd
