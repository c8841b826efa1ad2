// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/file.h"
#include "osd/store/syscalls.h"
#include "tests/sim/sim_host.h"

namespace lunar::sim {

// The disk of one server: a folder on a file system in memory, of which it knows what a power cut
// would take away. The model is ext4's and xfs's: data that was not synced may be lost, block of
// 4 KiB by block and in any order; names are in a journal, so that of the changes of names since
// the last sync of a folder those that survive are the first ones. After a sync that failed the
// page cache has nothing to write any more: what did not reach the disk is gone at once. Not
// thread-safe: for stores without threads. Owns the folder.
class SimDisk final : public osd::Syscalls {
 public:
  SimDisk(SimHost& host, std::string folder);
  ~SimDisk() override;

  const std::string& path() const noexcept { return path_; }
  // The process that has files of it open is gone: closes them.
  void close_files();
  // What was not synced is lost, or not. REQUIRES: close_files().
  void cut_power();
  // Another disk in the place of this one, empty or with what copy() kept; and back again. All is
  // synced first. REQUIRES: close_files().
  void swap_in(bool is_copy);
  void swap_back();
  bool is_swapped() const;
  // Another disk in its place for good: empty, and without faults. REQUIRES: close_files().
  void replace();
  void copy();

  // Called when unsynced data may just have gone, but for cut_power().
  std::function<void()> on_loss;

  // Faults: how many of the next calls of that kind fail.
  unsigned failing_syncs = 0;    // EIO
  unsigned failing_opens = 0;    // EMFILE
  unsigned failing_unlinks = 0;  // EIO
  unsigned failing_renames = 0;  // EIO
  unsigned failing_writes = 0;   // EIO, with nothing written
  unsigned short_writes = 0;     // a part is written, and said so
  Duration slowness{};           // of every call that blocks
  // Somebody else takes all that is free, and gives it back. In between there is what the store
  // frees; what would allocate more ends with ENOSPC.
  void fill() { free_ = 0; }
  void make_room() { free_.reset(); }
  void heal();  // no fault is left
  bool is_full() const noexcept { return free_.has_value(); }

  int open(int directory, const char* path, uint64_t flags, mode_t mode, uint64_t resolve) override;
  int reopen(int fd, int flags) override;
  ssize_t write(int fd, ConstBytes from, uint64_t offset, int flags) override;
  int sync_file(int fd) override;
  int sync_data(int fd) override;
  int sync_file_system(int fd) override;
  int rename(int from_directory, const char* from, int to_directory, const char* to) override;
  int unlink(int directory, const char* name) override;
  int make_directory(int directory, const char* name) override;
  int file_system_space(int fd, struct statvfs& space) override;
  int allocate(int fd, int mode, uint64_t offset, uint64_t length) override;
  int truncate(int fd, uint64_t size) override;
  Result<std::string> boot_id() override { return "boot-" + std::to_string(boots_); }
  std::chrono::nanoseconds call_time() override;

 private:
  static constexpr uint64_t kBlock = 4096;
  struct UnsyncedFile {
    UniqueFd fd;
    uint64_t durable_size = 0;
    std::map<uint64_t, std::vector<std::byte>> blocks;  // what is on the disk instead
  };
  struct NameChange {
    enum class Kind { kCreate, kMakeFolder, kUnlink, kRename } kind;
    std::string from, to;  // whole paths; kRename only has `to`
    std::string replaced;  // where the file that the change hid is kept
  };

  const std::string& path_of(int folder);
  std::string joined(int directory, const char* name);
  UnsyncedFile& unsynced(int fd);
  void keep_blocks(int fd, uint64_t offset, uint64_t length);
  int sync(int fd);
  void sync_names(const std::string& folder);
  std::string keep_hidden(const std::string& path);
  void undo(const NameChange& change);
  void decide_fate(UnsyncedFile& file);
  bool fails(unsigned& left);
  // Whether so much can be allocated; and what a call has made of it.
  bool has_room(uint64_t bytes) const { return !free_ || bytes <= *free_; }
  std::size_t room_for(int fd, uint64_t offset, std::size_t length) const;
  void count_space(uint64_t before, uint64_t after);
  void count_unlinked(const std::string& path);

  SimHost& host_;
  const std::string path_;   // the store
  const std::string aside_;  // the real store while another one is in its place
  const std::string copy_;
  const std::string hidden_files_;  // files that names may have to be given back to
  uint64_t next_hidden_ = 0;
  uint64_t boots_ = 0;
  std::map<std::pair<dev_t, ino_t>, UnsyncedFile> files_;
  std::map<std::pair<dev_t, ino_t>, std::string> paths_;  // of folders
  std::vector<NameChange> names_;
  std::optional<uint64_t> free_;  // bytes, of a full disk
};

}  // namespace lunar::sim
