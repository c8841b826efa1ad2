// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/store_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"

namespace lunar::osd {
namespace {

constexpr uint64_t kBeneath =
    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
constexpr uint64_t kFromCache = 0x20;  // RESOLVE_CACHED, Linux 5.12
constexpr const char* kTemporaryFolder = "tmp";

bool is(const std::error_code& code, int error) { return code == system_error(error); }

std::string parent_of(const std::string& folder) {
  const auto slash = folder.rfind('/');
  return slash == std::string::npos ? "." : folder.substr(0, slash);
}
std::string leaf_of(const std::string& folder) {
  const auto slash = folder.rfind('/');
  return slash == std::string::npos ? folder : folder.substr(slash + 1);
}

// Anything but a plain file under an object's name was not put there by us.
Result<UniqueFd> plain_file(UniqueFd fd) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return failure(last_system_error());
  if (!S_ISREG(status.st_mode)) return failure(system_error(EIO));
  return fd;
}

}  // namespace

std::string pool_folder(PoolId pool) { return fmt::format("pool.{}", pool); }

ObjectPath::ObjectPath(const ObjectId& id) : file("o." + id.name) {
  const uint32_t hash = crc32c(0, as_const_bytes(id.name));
  folder = fmt::format("pool.{}/{:02x}/{:02x}", id.pool, hash & 31, (hash >> 5) & 31);
}

std::optional<std::string_view> object_name_of(std::string_view file) noexcept {
  if (!file.starts_with("o.")) return std::nullopt;
  file.remove_prefix(2);
  if (!objecter::is_valid_object_name(file)) return std::nullopt;
  return file;
}

bool is_valid_object_id(const ObjectId& id) noexcept {
  return id.pool != 0 && objecter::is_valid_object_name(id.name);
}

Result<UniqueFd> StoreTree::open_cached(const ObjectId& id) const {
  const int fd = syscalls_.open(root(), ObjectPath(id).full().c_str(),
                                O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0, kBeneath | kFromCache);
  // A kernel that does not know RESOLVE_CACHED says EINVAL.
  if (fd == -EINVAL) return failure(system_error(EAGAIN));
  if (fd < 0) return failure(system_error(-fd));
  return plain_file(UniqueFd(fd));
}

Result<UniqueFd> StoreTree::open_file(const std::string& path, int flags, mode_t mode) const {
  const int fd = syscalls_.open(
      root(), path.c_str(), static_cast<uint64_t>(flags) | O_CLOEXEC | O_NOFOLLOW, mode, kBeneath);
  if (fd < 0) return failure(system_error(-fd));
  return UniqueFd(fd);
}

Result<UniqueFd> StoreTree::open_folder(const std::string& folder) const {
  return open_file(folder, O_RDONLY | O_DIRECTORY);
}

Result<StoreTree::Opened> StoreTree::open(const ObjectId& id, bool may_create) const {
  const ObjectPath path(id);
  Opened opened;
  auto fd = open_file(path.full(), O_RDWR);
  if (!fd && is(fd.error(), ENOENT) && may_create) {
    if (const auto error = make_folders(path.folder)) return failure(error);
    fd = open_file(path.full(), O_RDWR | O_CREAT | O_EXCL, 0600);
    opened.is_new = true;
  }
  if (!fd) return failure(fd.error());
  auto plain = plain_file(std::move(*fd));
  if (!plain) return failure(plain.error());
  opened.fd = std::move(*plain);
  return opened;
}

std::error_code StoreTree::make_folders(const std::string& folder) const {
  const bool exists = open_folder(folder).has_value();
  MutexLock lock(folders_mutex_);
  if (folders_error_) return folders_error_;
  return exists ? std::error_code{} : make_folders_locked(folder);
}

std::error_code StoreTree::make_folders_locked(const std::string& folder) const {
  const std::string parent = parent_of(folder);
  auto above = open_folder(parent);
  if (!above && is(above.error(), ENOENT)) {
    if (const auto error = make_folders_locked(parent)) return error;
    above = open_folder(parent);
  }
  if (!above) return above.error();
  const int made = syscalls_.make_directory(above->get(), leaf_of(folder).c_str());
  if (made == -EEXIST) return {};  // made, and synced, while we waited for the lock
  if (made < 0) return system_error(-made);
  const int synced = syscalls_.sync_file(above->get());
  if (synced < 0) folders_error_ = system_error(-synced);
  return folders_error_;
}

std::error_code StoreTree::remove(const ObjectId& id) const {
  const ObjectPath path(id);
  auto folder = open_folder(path.folder);
  if (!folder) return folder.error();
  std::error_code result = system_error(ENOENT);
  // The sidecar first: left behind, it would give its values to a later object of that name.
  for (const std::string& name : {path.sidecar(), path.file}) {
    const int removed = syscalls_.unlink(folder->get(), name.c_str());
    if (removed < 0 && removed != -ENOENT) return system_error(-removed);
    if (removed == 0) result = {};
  }
  return result;
}

std::error_code StoreTree::move_into_place(const std::string& temporary, const std::string& folder,
                                           const std::string& file) const {
  if (const auto error = make_folders(folder)) return error;
  auto from = open_folder(kTemporaryFolder);
  if (!from) return from.error();
  auto to = open_folder(folder);
  if (!to) return to.error();
  const int moved = syscalls_.rename(from->get(), temporary.c_str(), to->get(), file.c_str());
  return moved < 0 ? system_error(-moved) : std::error_code{};
}

StoreTree::FolderSync StoreTree::sync_folder(const std::string& folder) const {
  auto fd = open_folder(folder);
  if (!fd) {
    const bool is_untried =
        fd.error() == system_error(ENOENT) || fd.error() == system_error(EMFILE) ||
        fd.error() == system_error(ENFILE) || fd.error() == system_error(ENOMEM);
    if (is_untried) return {.open = fd.error(), .sync = {}};
    return {.open = {}, .sync = fd.error()};
  }
  const int synced = syscalls_.sync_file(fd->get());
  return {.open = {}, .sync = synced < 0 ? system_error(-synced) : std::error_code{}};
}

Result<std::vector<std::byte>> StoreTree::read_small(const std::string& path,
                                                     std::size_t limit) const {
  auto fd = open_file(path, O_RDONLY);
  if (!fd) return failure(fd.error());
  struct stat status {};
  if (::fstat(fd->get(), &status) != 0) return failure(last_system_error());
  if (!S_ISREG(status.st_mode)) return failure(system_error(EIO));
  if (static_cast<uint64_t>(status.st_size) > limit) return failure(system_error(EFBIG));
  std::vector<std::byte> bytes(static_cast<std::size_t>(status.st_size));
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t n = syscalls_.read(fd->get(), Bytes(bytes).subspan(have), have, 0);
    if (n < 0) return failure(system_error(static_cast<int>(-n)));
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  bytes.resize(have);
  return bytes;
}

std::error_code StoreTree::write_all(int fd, ConstBytes from) const {
  uint64_t at = 0;
  while (at < from.size()) {
    const ssize_t n = syscalls_.write(fd, from.subspan(at), at, 0);
    if (n < 0) return system_error(static_cast<int>(-n));
    if (n == 0) return system_error(EIO);
    at += static_cast<uint64_t>(n);
  }
  return {};
}

std::error_code StoreTree::write_temporary(const std::string& temporary, ConstBytes from,
                                           UniqueFunction<std::error_code(int fd)> prepare) const {
  auto fd =
      open_file(std::string(kTemporaryFolder) + "/" + temporary, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (!fd) return fd.error();
  std::error_code error = write_all(fd->get(), from);
  if (!error && prepare) error = prepare(fd->get());
  if (!error) {
    const int synced = syscalls_.sync_file(fd->get());
    if (synced < 0) error = system_error(-synced);
  }
  if (!error) return {};
  if (auto folder = open_folder(kTemporaryFolder)) {
    syscalls_.unlink(folder->get(), temporary.c_str());
  }
  return error;
}

std::error_code StoreTree::replace_small(const std::string& folder, const std::string& file,
                                         ConstBytes from) const {
  const std::string temporary = "small." + file;
  if (const auto error = write_temporary(temporary, from)) return error;
  if (const auto error = move_into_place(temporary, folder, file)) return error;
  return sync_folder(folder).error();
}

Result<std::vector<StoreTree::Entry>> StoreTree::entries(const std::string& folder) const {
  auto fd = open_folder(folder);
  if (!fd) {
    if (is(fd.error(), ENOENT)) return std::vector<Entry>{};
    return failure(fd.error());
  }
  DIR* stream = ::fdopendir(fd->get());
  if (stream == nullptr) return failure(last_system_error());
  (void)fd->release();  // the stream's now
  std::vector<Entry> found;
  errno = 0;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") found.push_back({std::string(name), entry->d_type});
    errno = 0;
  }
  const std::error_code error = errno != 0 ? last_system_error() : std::error_code{};
  ::closedir(stream);
  if (error) return failure(error);
  return found;
}

}  // namespace lunar::osd
