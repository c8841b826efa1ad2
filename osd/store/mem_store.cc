// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/mem_store.h"

#include <algorithm>
#include <cstring>

#include "common/copy_bytes.h"
#include "osd/store/attributes.h"
#include "osd/store/object_limits.h"
#include "osd/store/records.h"

namespace lunar::osd {

using objecter::OsdErrc;

namespace {
// Calls visit(page number, offset in the page, length) for each page of the range.
template <typename Visit>
void for_each_page(uint64_t offset, uint64_t length, Visit&& visit) {
  while (length > 0) {
    const uint64_t inside = offset % MemStore::kPageBytes;
    const uint64_t here = std::min(length, MemStore::kPageBytes - inside);
    visit(offset / MemStore::kPageBytes, inside, here);
    offset += here;
    length -= here;
  }
}
}  // namespace

std::error_code MemStore::check(const ObjectId& id, uint64_t offset, uint64_t length) const {
  if (is_shut_down_) return OsdErrc::kShutdown;
  return check_range(id, offset, length);
}

MemStore::Object* MemStore::find(const ObjectId& id) {
  const auto found = objects_.find(id);
  return found == objects_.end() ? nullptr : &found->second;
}

void MemStore::read(const ObjectId& id, uint64_t offset, Bytes into, DataDone done) {
  if (const auto error = check(id, offset, into.size()))
    return post_done(center_, std::move(done), error);
  Object* object = find(id);
  if (object == nullptr) {
    std::ranges::fill(into, std::byte{});
    return post_done(center_, std::move(done), make_error_code(OsdErrc::kNoSuchObject));
  }
  std::size_t at = 0;
  for_each_page(offset, into.size(), [&](uint64_t number, uint64_t inside, uint64_t length) {
    const auto page = object->pages.find(number);
    if (page != object->pages.end()) {
      copy_bytes(into.data() + at, page->second->data() + inside, length);
    } else {
      std::ranges::fill(into.subspan(at, length), std::byte{});
    }
    at += length;
  });
  post_done(center_, std::move(done), std::error_code{});
}

std::error_code MemStore::put(Object& object, uint64_t offset, ConstBytes from) {
  if (from.empty()) return {};  // extends nothing
  uint64_t needed = 0;
  for_each_page(offset, from.size(), [&](uint64_t number, uint64_t, uint64_t) {
    if (!object.pages.contains(number)) needed += kPageBytes;
  });
  if (needed > options_.budget_bytes - used_) return OsdErrc::kNoSpace;
  used_ += needed;
  std::size_t at = 0;
  for_each_page(offset, from.size(), [&](uint64_t number, uint64_t inside, uint64_t length) {
    std::unique_ptr<MemPage>& page = object.pages[number];
    if (!page) page = std::make_unique<MemPage>();  // zeroes
    copy_bytes(page->data() + inside, from.data() + at, length);
    at += length;
  });
  object.size = std::max<uint64_t>(object.size, offset + from.size());
  return {};
}

void MemStore::free_range(Object& object, uint64_t offset, uint64_t length) {
  // From what there is, not from what was asked for: a range may be far larger than the object.
  const uint64_t end = offset + length;
  const auto is_whole = [&](const Pages::value_type& page) {
    const uint64_t start = page.first * kPageBytes;
    return start >= offset && start + kPageBytes <= end;
  };
  const auto clear = [&](const Pages::value_type& page) {
    const uint64_t start = page.first * kPageBytes;
    const uint64_t from = std::max(start, offset);
    const uint64_t to = std::min<uint64_t>(start + kPageBytes, end);
    std::memset(page.second->data() + (from - start), 0, to - from);
  };
  const auto first = object.pages.lower_bound(offset / kPageBytes);
  const auto last = object.pages.lower_bound((end + kPageBytes - 1) / kPageBytes);
  const auto whole = std::find_if(first, last, is_whole);
  const auto behind = std::find_if_not(whole, last, is_whole);
  std::for_each(first, whole, clear);
  std::for_each(behind, last, clear);
  used_ -= static_cast<uint64_t>(behind - whole) * kPageBytes;
  object.pages.erase(whole, behind);
}

void MemStore::drop_pages(Object& object) {
  used_ -= object.pages.size() * kPageBytes;
  object.pages.clear();
  object.size = 0;
}

void MemStore::write(const ObjectId& id, uint64_t offset, ConstBytes from, bool, DataDone done) {
  if (const auto error = check(id, offset, from.size()))
    return post_done(center_, std::move(done), error);
  post_done(center_, std::move(done), put(objects_[id], offset, from));
}

void MemStore::zero(const ObjectId& id, uint64_t offset, uint64_t length, bool, DataDone done) {
  if (const auto error = check(id, 0, 0)) return post_done(center_, std::move(done), error);
  Object* object = find(id);
  if (object != nullptr && offset < object->size) {
    free_range(*object, offset, std::min(length, object->size - offset));
  }
  post_done(center_, std::move(done), std::error_code{});
}

void MemStore::truncate(const ObjectId& id, uint64_t size, StoreDone done) {
  if (const auto error = check(id, size, 0)) return post_done(center_, std::move(done), error);
  Object& object = objects_[id];
  if (size < object.size) {
    // Up to the last page's end, which frees it unless it still holds bytes of the object.
    const uint64_t end = (object.size + kPageBytes - 1) / kPageBytes * kPageBytes;
    free_range(object, size, end - size);
  }
  object.size = size;
  post_done(center_, std::move(done), std::error_code{});
}

void MemStore::remove(const ObjectId& id, StoreDone done) {
  if (const auto error = check(id, 0, 0)) return post_done(center_, std::move(done), error);
  if (Object* object = find(id)) {
    drop_pages(*object);
    objects_.erase(id);
  }
  post_done(center_, std::move(done), std::error_code{});
}

void MemStore::replace(const ObjectId& id, ConstBytes from, StoreDone done) {
  if (const auto error = check(id, 0, from.size()))
    return post_done(center_, std::move(done), error);
  Object fresh;
  const auto error = put(fresh, 0, from);
  if (!error) {
    Object& object = objects_[id];
    drop_pages(object);
    fresh.xattrs = std::move(object.xattrs);
    object = std::move(fresh);
  }
  post_done(center_, std::move(done), error);
}

void MemStore::stat(const ObjectId& id, UniqueFunction<void(Result<Stat>)> done) {
  Result<Stat> result = failure(OsdErrc::kNoSuchObject);
  if (const auto error = check(id, 0, 0)) {
    result = failure(error);
  } else if (Object* object = find(id)) {
    result = Stat{object->size, object->pages.size() * kPageBytes};
  }
  post_done(center_, std::move(done), std::move(result));
}

void MemStore::map_extents(const ObjectId& id, uint64_t offset, uint64_t length,
                           UniqueFunction<void(Result<ExtentMap>)> done) {
  Result<ExtentMap> result;
  if (const auto error = check(id, 0, 0)) {
    result = failure(error);
    return post_done(center_, std::move(done), std::move(result));
  }
  Object* object = find(id);
  if (object == nullptr || offset >= object->size) {
    return post_done(center_, std::move(done), std::move(result));
  }
  const uint64_t end = offset + std::min(length, object->size - offset);
  auto at = object->pages.lower_bound(offset / kPageBytes);
  for (; at != object->pages.end() && at->first * kPageBytes < end; ++at) {
    const uint64_t from = std::max(at->first * kPageBytes, offset);
    const uint64_t to = std::min<uint64_t>((at->first + 1) * kPageBytes, end);
    auto& extents = result->extents;
    if (!extents.empty() && extents.back().first + extents.back().second == from) {
      extents.back().second += to - from;
    } else {
      extents.emplace_back(from, to - from);
    }
  }
  post_done(center_, std::move(done), std::move(result));
}

void MemStore::set_xattr(const ObjectId& id, const std::string& name, ConstBytes value,
                         StoreDone done) {
  std::error_code error = check(id, 0, 0);
  if (!error && !objecter::is_valid_object_name(name)) error = OsdErrc::kInvalid;
  if (!error && value.size() > kMaxAttributeBytes) error = OsdErrc::kTooLarge;
  if (!error) objects_[id].xattrs[name].assign(value.begin(), value.end());
  post_done(center_, std::move(done), error);
}

void MemStore::get_xattr(const ObjectId& id, const std::string& name,
                         UniqueFunction<void(Result<AttributeValue>)> done) {
  Result<std::vector<std::byte>> result = failure(OsdErrc::kNoSuchObject);
  std::error_code error = check(id, 0, 0);
  if (!error && !objecter::is_valid_object_name(name)) error = OsdErrc::kInvalid;
  if (error) {
    result = failure(error);
  } else if (Object* object = find(id)) {
    const auto found = object->xattrs.find(name);
    result = failure(OsdErrc::kNoSuchAttribute);
    if (found != object->xattrs.end()) result = found->second;
  }
  post_done(center_, std::move(done), std::move(result));
}

void MemStore::list(objecter::PoolId pool, const std::string& cursor, uint32_t limit,
                    NameFilter contains, UniqueFunction<void(Result<Names>)> done) {
  Result<std::vector<std::string>> result;
  if (is_shut_down_) result = failure(OsdErrc::kShutdown);
  auto at = objects_.upper_bound({pool, cursor});
  for (; result && at != objects_.end() && at->first.pool == pool; ++at) {
    if (result->size() == limit) break;
    if (contains(at->first.name)) result->push_back(at->first.name);
  }
  post_done(center_, std::move(done), std::move(result));
}

void MemStore::put_record(const std::string& key, std::vector<std::byte> value, StoreDone done) {
  std::error_code error;
  if (!is_valid_record_key(key)) error = OsdErrc::kInvalid;
  if (is_shut_down_) error = OsdErrc::kShutdown;
  if (!error && value.empty()) records_.erase(key);
  if (!error && !value.empty()) records_.insert_or_assign(key, std::move(value));
  post_done(center_, std::move(done), error);
}

Result<std::vector<std::byte>> MemStore::get_record(const std::string& key) const {
  const auto found = records_.find(key);
  if (found == records_.end()) return failure(OsdErrc::kNoSuchObject);
  return found->second;
}

std::vector<std::string> MemStore::record_keys(const std::string& prefix) const {
  std::vector<std::string> keys;
  for (auto at = records_.lower_bound(prefix);
       at != records_.end() && at->first.starts_with(prefix); ++at) {
    keys.push_back(at->first);
  }
  return keys;
}

ObjectStore::Usage MemStore::usage() const {
  return {options_.budget_bytes, used_, options_.budget_bytes - used_};
}

void MemStore::shutdown(UniqueFunction<void()> done) {
  is_shut_down_ = true;
  center_.post(std::move(done));
}

}  // namespace lunar::osd
