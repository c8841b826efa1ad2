// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/identity.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <nlohmann/json.hpp>

#include "common/json.h"
#include "common/log.h"
#include "osd/store/runtime_record.h"

namespace lunar::osd {
namespace {

constexpr const char* kIdentityFile = "identity.json";
constexpr const char* kLockFile = "lock";
constexpr const char* kXattrFeature = "xattr-user";
constexpr const char* kSidecarFeature = "xattr-sidecar";
constexpr std::size_t kSmallFileBytes = 64 * 1024;

auto explained(const std::string& path, std::string_view what, std::error_code code) {
  return failure(file_error(path, what, code));
}

std::string encode(const StoreFormat& format) {
  const nlohmann::json json = {
      {"format", StoreFormat::kVersion},
      {"fsid", format.identity.fsid.to_string()},
      {"store", format.identity.store.to_string()},
      {"osd", format.identity.osd},
      {"features",
       {format.attributes == AttributeHome::kUserXattr ? kXattrFeature : kSidecarFeature}}};
  return json.dump(2) + "\n";
}

std::optional<Uuid> uuid_in(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_string()) return std::nullopt;
  return Uuid::parse(found->get_ref<const std::string&>());
}

// Nothing: the file is damaged. A format from the future has only `version` set.
struct Decoded {
  int64_t version = 0;
  StoreFormat format;
  std::string unknown_feature;
};
std::optional<Decoded> decode(std::string_view text) {
  const auto parsed = parse_json<nlohmann::json>(text, {64 * 1024});
  if (!parsed || !parsed->is_object()) return std::nullopt;
  const nlohmann::json& json = *parsed;
  const auto version = json.find("format");
  if (version == json.end() || !version->is_number_integer()) return std::nullopt;
  Decoded decoded;
  decoded.version = version->get<int64_t>();
  if (decoded.version != StoreFormat::kVersion) return decoded;
  const auto fsid = uuid_in(json, "fsid");
  const auto store = uuid_in(json, "store");
  const auto osd = json.find("osd");
  const auto features = json.find("features");
  if (!fsid || !store || osd == json.end() || !osd->is_number_unsigned() ||
      osd->get<uint64_t>() > INT32_MAX || features == json.end() || !features->is_array()) {
    return std::nullopt;
  }
  decoded.format.identity = {*fsid, *store, osd->get<OsdId>()};
  for (const auto& feature : *features) {
    if (feature == kSidecarFeature) {
      decoded.format.attributes = AttributeHome::kSidecar;
    } else if (feature != kXattrFeature) {
      decoded.unknown_feature = printable_json(feature);
    }
  }
  return decoded;
}

AttributeHome probe_attributes(int fd) {
  return ::fsetxattr(fd, "user.lunar.probe", "1", 1, 0) == 0 ? AttributeHome::kUserXattr
                                                             : AttributeHome::kSidecar;
}

Outcome<void> refuse_unless_empty(const StoreTree& tree, const std::string& path) {
  auto entries = tree.entries(".");
  if (!entries) return explained(path, "cannot be listed", entries.error());
  for (const auto& entry : *entries) {
    if (entry.name == "lost+found") continue;
    return failure(std::errc::directory_not_empty,
                   fmt::format("{}: is not empty (it has '{}'): --mkfs only makes a store in an "
                               "empty folder; choose another or remove what is in it",
                               path, entry.name));
  }
  return {};
}

}  // namespace

Outcome<UniqueFd> open_store_root(const std::string& path) {
  UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) {
    const auto code = last_system_error();
    return failure(code, fmt::format("{}: cannot be opened: {}; is osd_data right, and was the "
                                     "store made with lunar-osd --mkfs?",
                                     path, code.message()));
  }
  return root;
}

Outcome<StoreFormat> make_store(Syscalls& syscalls, const std::string& path, const Uuid& fsid,
                                OsdId osd) {
  if (auto made = make_directories(path, 0700); !made) return failure(made.error());
  auto root = open_store_root(path);
  if (!root) return failure(root.error());
  const StoreTree tree(syscalls, std::move(*root));
  if (auto empty = refuse_unless_empty(tree, path); !empty) return failure(empty.error());
  for (const char* folder : {"meta", "tmp"}) {
    const int made = syscalls.make_directory(tree.root(), folder);
    if (made < 0) return explained(path, "cannot make a folder in it", system_error(-made));
  }
  auto lock = tree.open_file(kLockFile, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (!lock) return explained(path, "cannot make the lock file", lock.error());
  StoreFormat format;
  format.identity = {fsid, Uuid::random(), osd};
  format.attributes = probe_attributes(lock->get());
  ::fremovexattr(lock->get(), "user.lunar.probe");
  if (const auto error = write_clean_runtime_record(tree)) {
    return explained(path, "cannot write the runtime record", error);
  }
  // Last: a folder without it is not a store.
  if (const auto error = tree.replace_small(".", kIdentityFile, as_const_bytes(encode(format)))) {
    return explained(path, "cannot write identity.json", error);
  }
  return format;
}

Outcome<StoreFormat> read_format(const StoreTree& tree, const std::string& path,
                                 const ExpectedOwner& expected) {
  const std::string file = path + "/" + kIdentityFile;
  auto bytes = tree.read_small(kIdentityFile, kSmallFileBytes);
  if (!bytes && bytes.error() == std::errc::no_such_file_or_directory) {
    return failure(bytes.error(), fmt::format("{}: there is no store here (no identity.json); make "
                                              "one with lunar-osd --mkfs, or mend osd_data",
                                              path));
  }
  if (!bytes) return explained(file, "cannot be read", bytes.error());
  const auto decoded = decode(as_text(*bytes));
  if (!decoded) {
    return failure(std::errc::invalid_argument,
                   fmt::format("{}: is damaged; put it back from a backup", file));
  }
  if (decoded->version != StoreFormat::kVersion || !decoded->unknown_feature.empty()) {
    const std::string what = decoded->unknown_feature.empty()
                                 ? fmt::format("format {}", decoded->version)
                                 : fmt::format("the feature {}", decoded->unknown_feature);
    return failure(std::errc::not_supported,
                   fmt::format("{}: the store has {}, and this lunar-osd knows format {}; run the "
                               "version that made it, or a newer one",
                               file, what, StoreFormat::kVersion));
  }
  const StoreIdentity& found = decoded->format.identity;
  if (expected.fsid && *expected.fsid != found.fsid) {
    return failure(std::errc::operation_not_permitted,
                   fmt::format("{}: the store belongs to cluster {}, and this is cluster {}; mend "
                               "osd_data or fsid",
                               path, found.fsid.to_string(), expected.fsid->to_string()));
  }
  if (expected.osd && *expected.osd != found.osd) {
    return failure(std::errc::operation_not_permitted,
                   fmt::format("{}: the store belongs to osd.{}, and this is osd.{}; mend osd_data "
                               "or the server's name",
                               path, found.osd, *expected.osd));
  }
  return decoded->format;
}

Outcome<UniqueFd> lock_store(const StoreTree& tree, const std::string& path) {
  auto fd = tree.open_file(kLockFile, O_RDWR | O_CREAT, 0600);
  if (!fd) return explained(path, "cannot open the lock file", fd.error());
  if (::flock(fd->get(), LOCK_EX | LOCK_NB) != 0) {
    const auto code = last_system_error();
    if (code != std::errc::operation_would_block) return explained(path, "cannot be locked", code);
    std::array<char, 16> pid{};
    const ssize_t n = ::pread(fd->get(), pid.data(), pid.size() - 1, 0);
    std::string_view owner(pid.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
    owner = owner.substr(0, owner.find('\n'));
    return failure(std::errc::device_or_resource_busy,
                   fmt::format("{}: is in use by process {}; stop that lunar-osd first", path,
                               owner.empty() ? "unknown" : owner));
  }
  // Only for people; and in place, because the disk may be full.
  const std::string pid = fmt::format("{:\n<15}\n", fmt::format("{}", ::getpid()));
  if (const auto error = tree.write_all(fd->get(), as_const_bytes(pid))) {
    LUNAR_LOG(kStore, 0, "{}/{}: does not name this process: {}", path, kLockFile, error.message());
  }
  return std::move(*fd);
}

Outcome<void> clean_up(const StoreTree& tree, const std::string& path) {
  auto temporaries = tree.entries("tmp");
  auto tmp = tree.open_folder("tmp");
  if (!temporaries || !tmp) {
    return explained(path + "/tmp", "cannot be listed",
                     temporaries ? tmp.error() : temporaries.error());
  }
  for (const auto& entry : *temporaries) {
    const int removed = tree.syscalls().unlink(tmp->get(), entry.name.c_str());
    if (removed < 0) {
      LUNAR_LOG(kStore, 0, "{}/tmp: '{}' cannot be removed: {}", path, entry.name,
                system_error(-removed).message());
    }
  }
  auto top = tree.entries(".");
  if (!top) return explained(path, "cannot be listed", top.error());
  for (const auto& entry : *top) {
    const std::string_view name = entry.name;
    if (name == "meta" || name == "tmp" || name == kLockFile || name == kIdentityFile ||
        name == "reserve" || name == kRuntimeFile || name == "lost+found") {
      continue;
    }
    uint64_t pool = 0;
    if (name.starts_with("pool.")) {
      const auto parsed = std::from_chars(name.data() + 5, name.data() + name.size(), pool);
      if (parsed.ec == std::errc{} && name == pool_folder(pool)) continue;
    }
    LUNAR_LOG(kStore, 0, "{}: '{}' was not put there by lunar-osd and is left alone", path, name);
  }
  return {};
}

}  // namespace lunar::osd
