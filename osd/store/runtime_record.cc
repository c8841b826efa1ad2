// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/runtime_record.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/json.h"

namespace lunar::osd {
namespace {

constexpr unsigned kMountIdUnique = 0x4000;  // STATX_MNT_ID_UNIQUE, Linux 6.8

uint64_t number_in(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}
bool flag_in(const nlohmann::json& json, const char* key, bool otherwise) {
  const auto found = json.find(key);
  return found != json.end() && found->is_boolean() ? found->get<bool>() : otherwise;
}

// What the kernel's drivers call a file system below /sys/fs; null if they have no folder for each.
const char* driver_name(const struct statfs& file_system) noexcept {
  constexpr decltype(file_system.f_type) kXfs = 0x58465342;   // XFS_SUPER_MAGIC
  if (file_system.f_type == EXT4_SUPER_MAGIC) return "ext4";  // ext2 and ext3 too
  return file_system.f_type == kXfs ? "xfs" : nullptr;
}

// Inodes of sysfs are given out in turn and are not used again. 0 if there is none.
uint64_t superblock_of(const struct statfs& file_system, const struct statx& status) {
  const char* const driver = driver_name(file_system);
  if (driver == nullptr) return 0;
  std::error_code error;
  const std::filesystem::path device = std::filesystem::read_symlink(
      fmt::format("/sys/dev/block/{}:{}", status.stx_dev_major, status.stx_dev_minor), error);
  const std::string name = device.filename().string();
  if (error || name.empty()) return 0;
  struct stat folder {};
  return ::stat(fmt::format("/sys/fs/{}/{}", driver, name).c_str(), &folder) == 0 ? folder.st_ino
                                                                                  : 0;
}

}  // namespace

Result<MountInstance> MountInstance::of(const StoreTree& tree) {
  const int root = tree.root();
  MountInstance instance;
  auto boot_id = tree.syscalls().boot_id();
  if (!boot_id) return failure(boot_id.error());
  instance.boot_id = std::move(*boot_id);
  struct statx status {};
  if (::statx(root, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID | kMountIdUnique,
              &status) != 0) {
    return failure(last_system_error());
  }
  instance.device = (static_cast<uint64_t>(status.stx_dev_major) << 32) | status.stx_dev_minor;
  struct statfs file_system {};
  if (::fstatfs(root, &file_system) != 0) return failure(last_system_error());
  static_assert(sizeof file_system.f_fsid == sizeof instance.file_system);
  std::memcpy(&instance.file_system, &file_system.f_fsid, sizeof instance.file_system);
  instance.superblock = superblock_of(file_system, status);
  if (instance.superblock == 0) instance.mount = status.stx_mnt_id;
  return instance;
}

RuntimeRecord RuntimeRecord::read(const StoreTree& tree) {
  RuntimeRecord record;
  record.is_lost = true;
  auto bytes = tree.read_small(kRuntimeFile, 64 * 1024);
  if (!bytes) return record;
  const auto parsed = parse_json<nlohmann::json>(as_text(*bytes), {64 * 1024});
  if (!parsed || !parsed->is_object()) return record;
  const nlohmann::json& json = *parsed;
  const auto boot_id = json.find("boot_id");
  if (boot_id == json.end() || !boot_id->is_string()) return record;
  record.instance = {boot_id->get<std::string>(), number_in(json, "device"),
                     number_in(json, "file_system"), number_in(json, "superblock"),
                     number_in(json, "mount")};
  record.is_clean = flag_in(json, "clean", false);
  record.is_lost = flag_in(json, "lost", true);
  return record;
}

std::error_code RuntimeRecord::write(const StoreTree& tree) const {
  const nlohmann::json json = {{"boot_id", instance.boot_id},
                               {"device", instance.device},
                               {"file_system", instance.file_system},
                               {"superblock", instance.superblock},
                               {"mount", instance.mount},
                               {"clean", is_clean},
                               {"lost", is_lost}};
  const std::string text = json.dump(2) + "\n";
  return tree.replace_small(".", kRuntimeFile, as_const_bytes(text));
}

std::error_code write_clean_runtime_record(const StoreTree& tree) {
  auto instance = MountInstance::of(tree);
  if (!instance) return instance.error();
  return RuntimeRecord{std::move(*instance), true, false}.write(tree);
}

bool is_loss(const RuntimeRecord& last, const MountInstance& now) noexcept {
  return last.is_lost || (!last.is_clean && last.instance != now);
}

}  // namespace lunar::osd
