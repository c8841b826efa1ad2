// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/attributes.h"

#include <sys/xattr.h>

#include <cerrno>
#include <map>

namespace lunar::osd {
namespace {

constexpr std::string_view kPrefix = "user.lunar.";
constexpr uint32_t kSidecarMagic = 0x4c58'4154;  // "LXAT"
constexpr std::size_t kMaxSidecarBytes = 1 << 20;

using Values = std::map<std::string, std::vector<std::byte>>;

// Sidecar: magic, count, then per value a name and bytes, each with a 32-bit length.
std::vector<std::byte> encode(const Values& values) {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.put(kSidecarMagic);
  writer.put(static_cast<uint32_t>(values.size()));
  for (const auto& [name, value] : values) {
    writer.put_string(name);
    writer.put_string(as_text(value));
  }
  return out;
}

Result<Values> decode(ConstBytes bytes) {
  ByteReader reader(bytes);
  if (reader.get<uint32_t>() != kSidecarMagic) return failure(system_error(EIO));
  const auto count = reader.get<uint32_t>();
  Values values;
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    std::string name = reader.get_string(kMaxAttributeNameBytes);
    const ConstBytes value = reader.get_bytes(reader.get<uint32_t>());
    values[std::move(name)].assign(value.begin(), value.end());
  }
  if (!reader.is_finished()) return failure(system_error(EIO));
  return values;
}

Result<Values> load(const StoreTree& tree, const ObjectPath& path) {
  auto bytes = tree.read_small(path.folder + "/" + path.sidecar(), kMaxSidecarBytes);
  if (bytes) return decode(*bytes);
  if (bytes.error() == std::errc::no_such_file_or_directory) return Values{};
  return failure(bytes.error());
}

}  // namespace

std::error_code Attributes::set(const ObjectId& id, int fd, const std::string& name,
                                ConstBytes value) const {
  if (home_ == AttributeHome::kSidecar) return set_in_sidecar(id, name, value);
  const std::string full = std::string(kPrefix) + name;
  if (::fsetxattr(fd, full.c_str(), value.data(), value.size(), 0) == 0) return {};
  return last_system_error();
}

std::error_code Attributes::set_in_sidecar(const ObjectId& id, const std::string& name,
                                           ConstBytes value) const {
  const ObjectPath path(id);
  auto values = load(tree_, path);
  if (!values) return values.error();
  (*values)[name].assign(value.begin(), value.end());
  const std::vector<std::byte> bytes = encode(*values);
  if (bytes.size() > kMaxSidecarBytes) return system_error(ENOSPC);
  const std::string temporary = "attributes." + std::to_string(id.pool) + "." + path.sidecar();
  if (const auto error = tree_.write_temporary(temporary, bytes)) return error;
  return tree_.move_into_place(temporary, path.folder, path.sidecar());
}

Result<std::vector<std::byte>> Attributes::get(const ObjectId& id, int fd,
                                               const std::string& name) const {
  if (home_ == AttributeHome::kSidecar) {
    auto values = load(tree_, ObjectPath(id));
    if (!values) return failure(values.error());
    const auto found = values->find(name);
    if (found == values->end()) return failure(system_error(ENODATA));
    return std::move(found->second);
  }
  const std::string full = std::string(kPrefix) + name;
  std::vector<std::byte> value(kMaxAttributeBytes);
  const ssize_t size = ::fgetxattr(fd, full.c_str(), value.data(), value.size());
  if (size < 0) return failure(last_system_error());
  value.resize(static_cast<std::size_t>(size));
  return value;
}

std::error_code Attributes::copy(int from, int to) const {
  if (home_ == AttributeHome::kSidecar) return {};
  std::vector<char> names(64 * 1024);  // XATTR_LIST_MAX
  const ssize_t listed = ::flistxattr(from, names.data(), names.size());
  if (listed < 0) return last_system_error();
  std::vector<std::byte> value(kMaxAttributeBytes);
  for (ssize_t at = 0; at < listed;) {
    const std::string name(&names[static_cast<std::size_t>(at)]);
    at += static_cast<ssize_t>(name.size()) + 1;
    if (!name.starts_with(kPrefix)) continue;
    const ssize_t size = ::fgetxattr(from, name.c_str(), value.data(), value.size());
    if (size < 0) return last_system_error();
    if (::fsetxattr(to, name.c_str(), value.data(), static_cast<std::size_t>(size), 0) != 0) {
      return last_system_error();
    }
  }
  return {};
}

}  // namespace lunar::osd
