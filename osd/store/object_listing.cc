// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/object_listing.h"

#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/log.h"

namespace lunar::osd {
namespace {

// The `limit` smallest names, in a heap whose top is the largest.
class SmallestNames {
 public:
  explicit SmallestNames(std::size_t limit) : limit_(limit) {}
  bool has_place_for(std::string_view name) const {
    return names_.size() < limit_ || name < names_.front();
  }
  void add(std::string name) {
    if (names_.size() == limit_) {
      std::pop_heap(names_.begin(), names_.end());
      names_.pop_back();
    }
    names_.push_back(std::move(name));
    std::push_heap(names_.begin(), names_.end());
  }
  ObjectNames::Names sorted() && {
    std::sort_heap(names_.begin(), names_.end());
    return std::move(names_);
  }

 private:
  const std::size_t limit_;
  ObjectNames::Names names_;
};

// A walk through the folders of one pool.
class ListingWalk {
 public:
  ListingWalk(const StoreTree& tree, const std::string& path, ObjectListing& listing)
      : tree_(tree), path_(path), listing_(listing), smallest_(listing.limit) {}

  // Both levels of folders, and the files in the lower one.
  std::error_code walk() {
    const std::string pool = pool_folder(listing_.pool);
    return for_each_entry(pool, true, [&](const StoreTree::Entry& outer) {
      const std::string outer_folder = pool + "/" + outer.name;
      return for_each_entry(outer_folder, false, [&](const StoreTree::Entry& inner) {
        const std::string folder = outer_folder + "/" + inner.name;
        return for_each_entry(folder, false, [&](const StoreTree::Entry& entry) {
          visit(folder, entry);
          return std::error_code{};
        });
      });
    });
  }
  ObjectNames::Names take_names() { return std::move(smallest_).sorted(); }

 private:
  // What is no folder has no entries, unless it `must_be_folder`.
  template <typename Visit>
  std::error_code for_each_entry(const std::string& folder, bool must_be_folder, Visit&& visit) {
    auto entries = tree_.entries(folder);
    if (!entries && !must_be_folder && entries.error() == system_error(ENOTDIR)) return {};
    if (!entries) return entries.error();
    for (const auto& entry : *entries) {
      if (const auto error = visit(entry)) return error;
    }
    return {};
  }

  void visit(const std::string& folder, const StoreTree::Entry& entry) {
    const auto name = object_name_of(entry.name);
    const bool is_plain = entry.type == DT_REG || entry.type == DT_UNKNOWN;
    if (!is_plain || (!name && !is_sidecar_name(entry.name))) return report(folder, entry);
    if (!name || *name <= listing_.cursor || !smallest_.has_place_for(*name)) return;
    std::string owned(*name);
    // A copy in another folder than its own is not an object.
    if (ObjectPath({listing_.pool, owned}).folder != folder || !listing_.contains(owned)) return;
    smallest_.add(std::move(owned));
  }

  void report(const std::string& folder, const StoreTree::Entry& foreign) {
    if (std::exchange(has_reported_, true)) return;
    LUNAR_LOG(kStore, 0, "{}/{}/{}: was not put there by lunar-osd and is left alone", path_,
              folder, foreign.name);
  }

  const StoreTree& tree_;
  const std::string& path_;
  ObjectListing& listing_;
  SmallestNames smallest_;
  bool has_reported_ = false;
};

}  // namespace

Result<ObjectNames::Names> read_listing(const StoreTree& tree, const std::string& path,
                                        ObjectListing& listing) {
  if (listing.limit == 0) return ObjectNames::Names{};
  ListingWalk walk(tree, path, listing);
  if (const auto error = walk.walk()) return failure(error);
  return walk.take_names();
}

}  // namespace lunar::osd
