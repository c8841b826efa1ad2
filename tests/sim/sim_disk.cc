// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/sim/sim_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "common/check.h"

namespace lunar::sim {
namespace {

namespace fs = std::filesystem;

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

constexpr uint64_t kSpaceUnit = 4096;

uint64_t allocated(const struct stat& status) {
  return static_cast<uint64_t>(status.st_blocks) * 512;
}

uint64_t allocated_by(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? allocated(status) : 0;
}

// What a write to that extent would allocate.
uint64_t holes_in(int fd, uint64_t offset, uint64_t length) {
  const uint64_t begin = offset / kSpaceUnit * kSpaceUnit;
  const uint64_t end = (offset + length + kSpaceUnit - 1) / kSpaceUnit * kSpaceUnit;
  uint64_t holes = end - begin;
  for (uint64_t at = begin; at < end;) {
    const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 || static_cast<uint64_t>(data) >= end) break;
    const off_t hole = ::lseek(fd, data, SEEK_HOLE);
    const uint64_t stop = hole < 0 ? end : std::min(end, static_cast<uint64_t>(hole));
    const uint64_t last = std::min(end, (stop + kSpaceUnit - 1) / kSpaceUnit * kSpaceUnit);
    holes -= last - static_cast<uint64_t>(data) / kSpaceUnit * kSpaceUnit;
    at = last;
  }
  return holes;
}

}  // namespace

SimDisk::SimDisk(SimHost& host, std::string folder)
    : host_(host),
      path_(folder + "/store"),
      aside_(folder + "/aside"),
      copy_(folder + "/copy"),
      hidden_files_(folder + "/hidden") {
  fs::create_directories(path_);
  fs::create_directories(hidden_files_);
}

SimDisk::~SimDisk() = default;

bool SimDisk::fails(unsigned& left) {
  if (left == 0) return false;
  --left;
  return true;
}

std::chrono::nanoseconds SimDisk::call_time() {
  return host_.between(std::chrono::microseconds(20), std::chrono::microseconds(400)) + slowness;
}

void SimDisk::count_space(uint64_t before, uint64_t after) {
  if (!free_) return;
  if (after > before)
    *free_ -= std::min(*free_, after - before);
  else
    *free_ += before - after;
}

void SimDisk::count_unlinked(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) count_space(allocated(status), 0);
}

int SimDisk::file_system_space(int fd, struct statvfs& space) {
  const int result = Syscalls::file_system_space(fd, space);
  if (result >= 0 && free_) space.f_bavail = space.f_bfree = *free_ / space.f_frsize;
  return result;
}

void SimDisk::close_files() {
  paths_.clear();
  std::set<int> ours;
  for (const auto& [key, file] : files_) ours.insert(file.fd.get());
  std::vector<int> theirs;
  DIR* const folder = ::opendir("/proc/self/fd");
  LUNAR_CHECK(folder != nullptr, "/proc is mounted");
  while (const dirent* entry = ::readdir(folder)) {
    const int fd = std::atoi(entry->d_name);
    if (entry->d_name[0] == '.' || fd == ::dirfd(folder) || ours.contains(fd)) continue;
    char target[4096];
    const ssize_t n = ::readlinkat(::dirfd(folder), entry->d_name, target, sizeof target);
    if (n > 0 && std::string_view(target, static_cast<std::size_t>(n)).starts_with(path_)) {
      theirs.push_back(fd);
    }
  }
  ::closedir(folder);
  for (const int fd : theirs) ::close(fd);
}

// --- names ---

// A folder of a store has one path as long as the store stays in its place.
const std::string& SimDisk::path_of(int folder) {
  struct stat status {};
  LUNAR_CHECK(::fstat(folder, &status) == 0, "fstat");
  std::string& path = paths_[{status.st_dev, status.st_ino}];
  if (!path.empty()) return path;
  char target[4096];
  const std::string link = "/proc/self/fd/" + std::to_string(folder);
  const ssize_t n = ::readlink(link.c_str(), target, sizeof target);
  LUNAR_CHECK(n > 0, "a descriptor has a path");
  path.assign(target, static_cast<std::size_t>(n));
  return path;
}

std::string SimDisk::joined(int directory, const char* name) {
  const std::string& folder = path_of(directory);
  return std::string_view(name) == "." ? folder : folder + "/" + name;
}

// --- what is not durable yet ---

SimDisk::UnsyncedFile& SimDisk::unsynced(int fd) {
  struct stat status {};
  LUNAR_CHECK(::fstat(fd, &status) == 0, "fstat");
  auto [at, is_new] = files_.try_emplace({status.st_dev, status.st_ino});
  if (is_new) {
    at->second.fd = UniqueFd(Syscalls::reopen(fd, O_RDWR));
    at->second.durable_size = static_cast<uint64_t>(status.st_size);
  }
  return at->second;
}

void SimDisk::keep_blocks(int fd, uint64_t offset, uint64_t length) {
  UnsyncedFile& file = unsynced(fd);
  const uint64_t end = std::min(offset + length, file.durable_size);
  for (uint64_t block = offset / kBlock; block * kBlock < end; ++block) {
    if (file.blocks.contains(block)) continue;
    std::vector<std::byte> content(kBlock);
    LUNAR_CHECK(::pread(fd, content.data(), kBlock, static_cast<off_t>(block * kBlock)) >= 0,
                "pread");
    file.blocks.emplace(block, std::move(content));
  }
}

int SimDisk::sync(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return -errno;
  const bool is_failing = fails(failing_syncs);
  const auto at = files_.find({status.st_dev, status.st_ino});
  if (is_failing) {
    if (at != files_.end()) {
      decide_fate(at->second);
      files_.erase(at);
      on_loss();
    }
    return -EIO;
  }
  if (S_ISDIR(status.st_mode)) sync_names(path_of(fd));
  if (at == files_.end()) return 0;
  files_.erase(at);
  return 0;
}

void SimDisk::sync_names(const std::string& folder) {
  const auto touches = [&](const std::string& path) {
    return path.substr(0, path.rfind('/')) == folder;
  };
  std::size_t durable = 0;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (touches(names_[i].from) || touches(names_[i].to)) durable = i + 1;
  }
  for (std::size_t i = 0; i < durable; ++i) {
    if (!names_[i].replaced.empty()) ::unlink(names_[i].replaced.c_str());
  }
  names_.erase(names_.begin(), names_.begin() + static_cast<std::ptrdiff_t>(durable));
}

std::string SimDisk::keep_hidden(const std::string& path) {
  std::string kept = hidden_files_ + "/" + std::to_string(next_hidden_++);
  LUNAR_CHECK(::link(path.c_str(), kept.c_str()) == 0, "link");
  return kept;
}

// --- the power cut ---

void SimDisk::cut_power() {
  paths_.clear();
  const std::size_t kept = host_.below(names_.size() + 1);
  for (std::size_t i = names_.size(); i > kept; --i) undo(names_[i - 1]);
  for (const NameChange& change : names_) {
    if (!change.replaced.empty()) ::unlink(change.replaced.c_str());
  }
  names_.clear();
  for (auto& [key, file] : files_) decide_fate(file);
  files_.clear();
  ++boots_;
}

void SimDisk::undo(const NameChange& change) {
  switch (change.kind) {
    case NameChange::Kind::kCreate:
      ::unlink(change.from.c_str());
      break;
    case NameChange::Kind::kMakeFolder:
      ::rmdir(change.from.c_str());
      break;
    case NameChange::Kind::kUnlink:
      LUNAR_CHECK(::rename(change.replaced.c_str(), change.from.c_str()) == 0, "undo of unlink");
      break;
    case NameChange::Kind::kRename:
      LUNAR_CHECK(::rename(change.to.c_str(), change.from.c_str()) == 0, "undo of rename");
      if (!change.replaced.empty()) {
        LUNAR_CHECK(::rename(change.replaced.c_str(), change.to.c_str()) == 0, "undo of rename");
      }
      break;
  }
}

void SimDisk::decide_fate(UnsyncedFile& file) {
  struct stat status {};
  LUNAR_CHECK(::fstat(file.fd.get(), &status) == 0, "fstat");
  const auto size = static_cast<uint64_t>(status.st_size);
  const uint64_t mood = host_.below(3);  // all of it reached the disk, nothing, or some
  const auto reached_disk = [&] { return mood == 0 || (mood == 1 && host_.below(2) == 0); };
  bool all_reached = true;
  for (const auto& [block, content] : file.blocks) {
    if (reached_disk()) continue;
    all_reached = false;
    LUNAR_CHECK(::pwrite(file.fd.get(), content.data(), kBlock,
                         static_cast<off_t>(block * kBlock)) == static_cast<ssize_t>(kBlock),
                "pwrite");
  }
  // A block beyond the old end whose data never came reads as zeroes.
  const bool is_grown = size > file.durable_size && reached_disk();
  if (is_grown && !(mood == 0 && all_reached)) {
    for (uint64_t at = (file.durable_size + kBlock - 1) / kBlock * kBlock; at < size;
         at += kBlock) {
      if (!reached_disk()) {
        const std::vector<std::byte> zeroes(std::min(kBlock, size - at));
        LUNAR_CHECK(
            ::pwrite(file.fd.get(), zeroes.data(), zeroes.size(), static_cast<off_t>(at)) >= 0,
            "pwrite");
      }
    }
  }
  const bool is_shrunk = size < file.durable_size && reached_disk();
  const uint64_t settled = is_grown || is_shrunk ? size : file.durable_size;
  LUNAR_CHECK(::ftruncate(file.fd.get(), static_cast<off_t>(settled)) == 0, "ftruncate");
}

void SimDisk::swap_in(bool is_copy) {
  if (exists(aside_)) return;
  paths_.clear();
  sync_file_system(-1);
  fs::rename(path_, aside_);
  if (is_copy && exists(copy_)) {
    fs::rename(copy_, path_);
  } else {
    fs::create_directories(path_);
  }
}

bool SimDisk::is_swapped() const { return exists(aside_); }

void SimDisk::swap_back() {
  if (!is_swapped()) return;
  paths_.clear();
  sync_file_system(-1);
  fs::remove_all(path_);
  fs::rename(aside_, path_);
}

void SimDisk::replace() {
  paths_.clear();
  sync_file_system(-1);
  for (const std::string& each : {path_, aside_, copy_}) fs::remove_all(each);
  fs::create_directories(path_);
  heal();
}

void SimDisk::heal() {
  failing_syncs = failing_opens = failing_unlinks = failing_renames = 0;
  failing_writes = short_writes = 0;
  slowness = {};
  make_room();
}

void SimDisk::copy() {
  if (exists(aside_)) return;
  fs::remove_all(copy_);
  // With extended attributes, which std::filesystem leaves out.
  const std::string command = "cp -a '" + path_ + "' '" + copy_ + "'";
  LUNAR_CHECK(std::system(command.c_str()) == 0, "cp");
}

// --- the calls ---

int SimDisk::open(int directory, const char* path, uint64_t flags, mode_t mode, uint64_t resolve) {
  const bool may_create = (flags & O_CREAT) != 0;
  if (fails(failing_opens)) return -EMFILE;
  const std::string whole = may_create ? joined(directory, path) : std::string();
  const bool was_there = may_create && exists(whole);
  if ((flags & O_TRUNC) != 0 && was_there) {
    const UniqueFd fd(::open(whole.c_str(), O_RDWR | O_CLOEXEC));
    if (fd) truncate(fd.get(), 0);
  }
  const int fd = Syscalls::open(directory, path, flags, mode, resolve);
  if (fd >= 0 && may_create && !was_there) {
    names_.push_back({NameChange::Kind::kCreate, whole, {}, {}});
  }
  return fd;
}

int SimDisk::reopen(int fd, int flags) {
  if (fails(failing_opens)) return -EMFILE;
  return Syscalls::reopen(fd, flags);
}

// As file systems do it: page after page, as far as there is room. All or nothing would tear a page
// whose first bytes came by a short write.
std::size_t SimDisk::room_for(int fd, uint64_t offset, std::size_t length) const {
  if (!free_) return length;
  while (length > 0 && !has_room(holes_in(fd, offset, length))) {
    const uint64_t last = (offset + length - 1) / kSpaceUnit * kSpaceUnit;
    length = last > offset ? last - offset : 0;
  }
  return length;
}

ssize_t SimDisk::write(int fd, ConstBytes from, uint64_t offset, int flags) {
  if (from.size() > 1 && fails(short_writes)) from = from.first(1 + host_.below(from.size() - 1));
  if (fails(failing_writes)) return -EIO;
  const std::size_t length = room_for(fd, offset, from.size());
  if (length == 0 && !from.empty()) return -ENOSPC;
  from = from.first(length);
  keep_blocks(fd, offset, from.size());
  const uint64_t before = free_ ? allocated_by(fd) : 0;
  const ssize_t written = Syscalls::write(fd, from, offset, flags & ~RWF_DSYNC);
  if (free_) count_space(before, allocated_by(fd));
  if (written < 0 || (flags & RWF_DSYNC) == 0) return written;
  if (failing_syncs > 0) return sync(fd);
  UnsyncedFile& file = unsynced(fd);
  const uint64_t end = offset + static_cast<uint64_t>(written);
  for (uint64_t block = offset / kBlock; block * kBlock < end; ++block) {
    file.blocks.erase(block);
  }
  file.durable_size = std::max(file.durable_size, end);
  return written;
}

int SimDisk::sync_file(int fd) { return sync(fd); }
int SimDisk::sync_data(int fd) { return sync(fd); }

int SimDisk::sync_file_system(int fd) {
  if (fd >= 0 && fails(failing_syncs)) {
    for (auto& [key, file] : files_) decide_fate(file);
    files_.clear();
    on_loss();
    return -EIO;
  }
  for (const NameChange& change : names_) {
    if (!change.replaced.empty()) ::unlink(change.replaced.c_str());
  }
  names_.clear();
  for (auto at = files_.begin(); at != files_.end();) {
    const auto next = std::next(at);
    files_.erase(at);
    at = next;
  }
  return 0;
}

int SimDisk::rename(int from_directory, const char* from, int to_directory, const char* to) {
  if (fails(failing_renames)) return -EIO;
  NameChange change{
      NameChange::Kind::kRename, joined(from_directory, from), joined(to_directory, to), {}};
  if (exists(change.to)) change.replaced = keep_hidden(change.to);
  const int result = Syscalls::rename(from_directory, from, to_directory, to);
  if (result == 0) {
    if (!change.replaced.empty()) count_unlinked(change.replaced);
    names_.push_back(std::move(change));
  } else if (!change.replaced.empty()) {
    ::unlink(change.replaced.c_str());
  }
  return result;
}

int SimDisk::unlink(int directory, const char* name) {
  if (fails(failing_unlinks)) return -EIO;
  NameChange change{NameChange::Kind::kUnlink, joined(directory, name), {}, {}};
  if (exists(change.from)) change.replaced = keep_hidden(change.from);
  const int result = Syscalls::unlink(directory, name);
  if (result == 0) {
    count_unlinked(change.replaced);
    names_.push_back(std::move(change));
  } else if (!change.replaced.empty()) {
    ::unlink(change.replaced.c_str());
  }
  return result;
}

int SimDisk::make_directory(int directory, const char* name) {
  if (!has_room(kSpaceUnit)) return -ENOSPC;
  count_space(0, kSpaceUnit);
  const std::string whole = joined(directory, name);
  const int result = Syscalls::make_directory(directory, name);
  if (result == 0) names_.push_back({NameChange::Kind::kMakeFolder, whole, {}, {}});
  return result;
}

int SimDisk::allocate(int fd, int mode, uint64_t offset, uint64_t length) {
  const bool frees = (mode & FALLOC_FL_PUNCH_HOLE) != 0;
  if (free_ && !frees && !has_room(holes_in(fd, offset, length))) return -ENOSPC;
  keep_blocks(fd, offset, length);
  const uint64_t before = free_ ? allocated_by(fd) : 0;
  const int result = Syscalls::allocate(fd, mode, offset, length);
  if (free_) count_space(before, allocated_by(fd));
  return result;
}

int SimDisk::truncate(int fd, uint64_t size) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return -errno;
  const auto before = static_cast<uint64_t>(status.st_size);
  keep_blocks(fd, size, before > size ? before - size : 0);
  const int result = Syscalls::truncate(fd, size);
  if (free_) count_space(allocated(status), allocated_by(fd));
  return result;
}

}  // namespace lunar::sim
