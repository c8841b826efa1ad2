// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/keyring.h"

#include <fcntl.h>
#include <nettle/base64.h>
#include <nettle/memops.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "common/check.h"
#include "common/file.h"
#include "common/key_derivation.h"
#include "common/parse/ini.h"
#include "common/random.h"

namespace lunar {
namespace {

constexpr std::size_t kMaxFileBytes = 1024 * 1024;
constexpr std::size_t kMinKeyBytes = 16;
constexpr std::size_t kMaxKeyBytes = 256;

// Wipes a string when its scope ends.
class WipeString {
 public:
  explicit WipeString(std::string& text) noexcept : text_(text) {}
  ~WipeString() { wipe_memory(text_.data(), text_.size()); }
  WipeString(const WipeString&) = delete;
  WipeString& operator=(const WipeString&) = delete;

 private:
  std::string& text_;
};

// Wipes the values of a parsed file when its scope ends.
class WipeEntries {
 public:
  explicit WipeEntries(std::vector<IniEntry>& entries) noexcept : entries_(entries) {}
  ~WipeEntries() {
    for (IniEntry& entry : entries_) wipe_memory(entry.value.data(), entry.value.size());
  }
  WipeEntries(const WipeEntries&) = delete;
  WipeEntries& operator=(const WipeEntries&) = delete;

 private:
  std::vector<IniEntry>& entries_;
};

std::optional<Secret> decode_key(std::string_view text) {
  if (text.size() > BASE64_ENCODE_RAW_LENGTH(kMaxKeyBytes)) return std::nullopt;
  Secret buffer(BASE64_DECODE_LENGTH(text.size()) + 1);
  base64_decode_ctx context;
  base64_decode_init(&context);
  std::size_t size = buffer.size();
  const bool ok =
      base64_decode_update(&context, &size, reinterpret_cast<uint8_t*>(buffer.bytes().data()),
                           text.size(), text.data()) == 1 &&
      base64_decode_final(&context) == 1;
  wipe_memory(&context, sizeof context);
  if (!ok || size < kMinKeyBytes) return std::nullopt;
  return Secret::copy_of(buffer.bytes().first(size));
}

// What `acceptor` knows the owner of `key` by.
Secret derive_pair_key(const Secret& key, const EntityName& acceptor) {
  return derive_key(key, "lunar msgr 1 key for " + acceptor.to_string());
}

void append_key(std::string& text, std::string_view option, const Secret& key) {
  text += "\t";
  text += option;
  text += " = ";
  const std::size_t at = text.size();
  text.resize(at + BASE64_ENCODE_RAW_LENGTH(key.size()));
  base64_encode_raw(text.data() + at, key.size(),
                    reinterpret_cast<const uint8_t*>(key.bytes().data()));
  text += "\n";
}

}  // namespace

void wipe_memory(void* memory, std::size_t size) noexcept {
  if (size > 0) ::explicit_bzero(memory, size);
}

Secret::Secret(std::size_t size) : size_(size) {
  if (size == 0) return;
  void* pages = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  LUNAR_CHECK(pages != MAP_FAILED, "no memory for a key");
  ::madvise(pages, size, MADV_DONTDUMP);
  data_ = static_cast<std::byte*>(pages);
}

Secret Secret::copy_of(ConstBytes bytes) {
  Secret secret(bytes.size());
  if (!bytes.empty()) std::memcpy(secret.data_, bytes.data(), bytes.size());
  return secret;
}

Secret::Secret(Secret&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Secret::~Secret() { wipe(); }

void Secret::wipe() noexcept {
  if (data_ == nullptr) return;
  wipe_memory(data_, size_);
  ::munmap(data_, size_);
  data_ = nullptr;
  size_ = 0;
}

bool Secret::equals(ConstBytes other) const noexcept {
  return other.size() == size_ && (size_ == 0 || memeql_sec(data_, other.data(), size_) != 0);
}

Outcome<Keyring> Keyring::load(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0) {
    return failure(file_error("keyring " + path, "cannot open", last_system_error()));
  }
  if (!S_ISREG(status.st_mode)) {
    return failure(std::errc::invalid_argument, "keyring " + path + ": is not a regular file");
  }
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return failure(std::errc::permission_denied,
                   "keyring " + path + ": group or others have access to it; chmod 600 " + path);
  }
  if (status.st_uid != ::geteuid() && status.st_uid != 0) {
    return failure(
        std::errc::permission_denied,
        "keyring " + path + ": belongs to another user; chown it to the one who runs this");
  }
  auto text = read_open_file(fd.get(), path, kMaxFileBytes);
  if (!text) return failure(text.error().code, "keyring " + text.error().message);
  const WipeString wipe(*text);
  return parse(*text, "keyring " + path);
}

Outcome<Keyring> Keyring::parse(std::string_view text, const std::string& origin) {
  auto entries = parse_ini(text, origin);
  if (!entries) return failure(entries.error());
  const WipeEntries wipe(*entries);
  Keyring keyring;
  for (const IniEntry& entry : *entries) {
    const std::string where = origin + ":" + std::to_string(entry.line) + ": ";
    const auto name = EntityName::parse(entry.section);
    if (!name) {
      return failure(std::errc::invalid_argument, where + "section [" + entry.section +
                                                      "] is not TYPE.ID, such as client.admin");
    }
    const std::string option = canonical_option_name(entry.name);
    if (option == "derived_for") {
      if (!EntityName::parse(entry.value)) {
        return failure(std::errc::invalid_argument,
                       where + "derived_for is not an entity; write derived_for = osd.ID");
      }
      keyring.keys_[name->to_string()].derived_for = entry.value;
      continue;
    }
    if (option != "key" && option != "key_previous") continue;  // caps and the like of Ceph's files
    auto key = decode_key(entry.value);
    if (!key) {
      return failure(std::errc::invalid_argument, where + "the key is not base64 of " +
                                                      std::to_string(kMinKeyBytes) + " to " +
                                                      std::to_string(kMaxKeyBytes) + " bytes");
    }
    EntityKeys& keys = keyring.keys_[name->to_string()];
    (option == "key" ? keys.key : keys.previous) = *std::move(key);
  }
  for (const auto& [name, keys] : keyring.keys_) {
    if (keys.key.empty()) {
      return failure(std::errc::invalid_argument,
                     origin + ": section [" + name + "] has no line key = BASE64");
    }
  }
  return keyring;
}

const Secret* Keyring::find(const EntityName& name) const {
  const auto found = keys_.find(name.to_string());
  return found == keys_.end() || !found->second.derived_for.empty() ? nullptr : &found->second.key;
}

std::vector<Secret> Keyring::own_keys(const EntityName& name) const {
  std::vector<Secret> found;
  const auto at = keys_.find(name.to_string());
  if (at == keys_.end() || !at->second.derived_for.empty()) return found;
  for (const Secret* key : {&at->second.key, &at->second.previous})
    if (!key->empty()) found.push_back(key->clone());
  return found;
}

std::vector<Secret> Keyring::pair_keys(const EntityName& connector,
                                       const EntityName& acceptor) const {
  std::vector<Secret> found;
  const auto at = keys_.find(connector.to_string());
  if (at == keys_.end()) return found;
  const EntityKeys& keys = at->second;
  if (!keys.derived_for.empty() && keys.derived_for != acceptor.to_string()) return found;
  for (const Secret* key : {&keys.key, &keys.previous}) {
    if (key->empty()) continue;
    found.push_back(keys.derived_for.empty() ? derive_pair_key(*key, acceptor) : key->clone());
  }
  return found;
}

std::set<EntityName> Keyring::names() const {
  std::set<EntityName> names;
  for (const auto& [text, keys] : keys_) names.insert(*EntityName::parse(text));
  return names;
}

bool Keyring::has_derived() const {
  return std::any_of(keys_.begin(), keys_.end(),
                     [](const auto& each) { return !each.second.derived_for.empty(); });
}

bool Keyring::is_rotating(const EntityName& name) const {
  const auto at = keys_.find(name.to_string());
  return at != keys_.end() && !at->second.previous.empty();
}

void Keyring::begin_rotation(const EntityName& name) {
  EntityKeys& keys = keys_.at(name.to_string());
  keys.previous = std::move(keys.key);
  keys.key = Secret(kKeyBytes);
  random_bytes(keys.key.bytes());
}

void Keyring::finish_rotation(const EntityName& name) {
  keys_.at(name.to_string()).previous = Secret();
}

Keyring Keyring::derived_for(const EntityName& holder) const {
  Keyring derived;
  derived.add(holder, find(holder)->clone());
  if (holder.type != "osd") return derived;
  for (const auto& [text, keys] : keys_) {
    if (text == holder.to_string()) continue;
    std::vector<Secret> pair = pair_keys(*EntityName::parse(text), holder);
    if (pair.empty()) continue;
    EntityKeys kept;
    kept.key = std::move(pair[0]);
    if (pair.size() > 1) kept.previous = std::move(pair[1]);
    kept.derived_for = holder.to_string();
    derived.keys_.emplace(text, std::move(kept));
  }
  return derived;
}

void Keyring::generate(const EntityName& name) {
  Secret key(kKeyBytes);
  random_bytes(key.bytes());
  add(name, std::move(key));
}

void Keyring::add(const EntityName& name, Secret key) {
  keys_[name.to_string()] = EntityKeys{std::move(key), Secret(), {}};
}

Outcome<void> Keyring::save(const std::string& path) const {
  std::string text;
  std::size_t size = 0;  // reserved at once, so that no copy is left behind by growing
  for (const auto& [name, keys] : keys_) {
    size += name.size() + keys.derived_for.size() + 64 + BASE64_ENCODE_RAW_LENGTH(keys.key.size()) +
            BASE64_ENCODE_RAW_LENGTH(keys.previous.size());
  }
  text.reserve(size);
  const WipeString wipe(text);
  for (const auto& [name, keys] : keys_) {
    text += "[" + name + "]\n";
    if (!keys.derived_for.empty()) text += "\tderived_for = " + keys.derived_for + "\n";
    append_key(text, "key", keys.key);
    if (!keys.previous.empty()) append_key(text, "key_previous", keys.previous);
  }
  auto written = write_file_atomically(path, as_const_bytes(text), S_IRUSR | S_IWUSR);
  if (!written) return failure(written.error().code, "keyring " + written.error().message);
  return {};
}

}  // namespace lunar
