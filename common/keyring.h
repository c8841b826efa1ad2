// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "common/bytes.h"
#include "common/config.h"
#include "common/result.h"

namespace lunar {

// Bytes of a key: in pages of their own that core dumps leave out (MADV_DONTDUMP), zeroed on
// destruction, never printable. Move-only; not thread-safe. Empty when default-constructed or moved
// from.
class Secret {
 public:
  Secret() noexcept = default;
  explicit Secret(std::size_t size);  // zeroes
  static Secret copy_of(ConstBytes bytes);
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret();

  Secret clone() const { return copy_of(bytes()); }
  Bytes bytes() noexcept { return {data_, size_}; }
  ConstBytes bytes() const noexcept { return {data_, size_}; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  // Takes the same time wherever the first difference is.
  bool equals(ConstBytes other) const noexcept;

 private:
  void wipe() noexcept;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Overwrites memory in a way the compiler keeps.
void wipe_memory(void* memory, std::size_t size) noexcept;

// Keys by entity, in ceph.conf grammar: "[client.admin]", then "key = BASE64". Not thread-safe.
class Keyring {
 public:
  static constexpr std::size_t kKeyBytes = 32;

  // Errors name the file and what to do: permission_denied if group or others may read it (chmod
  // 600), invalid_argument with the line for what cannot be read. A file of another user is refused
  // too.
  static Outcome<Keyring> load(const std::string& path);
  static Outcome<Keyring> parse(std::string_view text, const std::string& origin);

  // Null if the entity has no key. Valid until the keyring changes.
  const Secret* find(const EntityName& name) const;
  std::size_t size() const noexcept { return keys_.size(); }

  // A new random key, replacing any the entity had.
  void generate(const EntityName& name);
  void add(const EntityName& name, Secret key);
  // Replaces the file, mode 0600.
  Outcome<void> save(const std::string& path) const;

 private:
  std::map<std::string, Secret, std::less<>> keys_;
};

}  // namespace lunar
