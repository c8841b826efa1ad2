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
// destruction, and never printed. Move-only; not thread-safe. Empty when default-constructed or
// moved from. Owns the pages.
class Secret {
 public:
  Secret() noexcept = default;
  explicit Secret(std::size_t size);  // `size` bytes, all zero, to be filled in
  // The source is the caller's to wipe.
  static Secret copy_of(ConstBytes bytes);
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret();

  // Copies are made on purpose only.
  Secret clone() const { return copy_of(bytes()); }
  // Valid until this is destroyed or moved from.
  Bytes bytes() noexcept { return {data_, size_}; }
  ConstBytes bytes() const noexcept { return {data_, size_}; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  // For what a peer sent: takes the same time wherever the first difference is, so that time tells
  // nothing. False if the lengths differ.
  bool equals(ConstBytes other) const noexcept;

 private:
  void wipe() noexcept;        // zeroes and unmaps; empty afterwards
  std::byte* data_ = nullptr;  // the start of a mapping of our own; null if empty
  std::size_t size_ = 0;
};

// Overwrites memory with zeroes in a way that the compiler keeps, as explicit_bzero(3).
void wipe_memory(void* memory, std::size_t size) noexcept;

// Keys by entity, in the grammar of a Ceph keyring: "[client.admin]", then "key = BASE64". A name
// may have one key. A value that is loaded at the start and then only read. Not thread-safe.
class Keyring {
 public:
  static constexpr std::size_t kKeyBytes = 32;  // of every key: HMAC-SHA-256

  // Errors name the file and what to do: permission_denied if group or others may read it (chmod
  // 600), invalid_argument with the line for what cannot be read. A file of another user is refused
  // too.
  static Outcome<Keyring> load(const std::string& path);
  // The same of a text; `origin` stands in errors for the path, and no error quotes a key.
  static Outcome<Keyring> parse(std::string_view text, const std::string& origin);

  // Null if the entity has no key. Valid until the keyring changes.
  const Secret* find(const EntityName& name) const;
  std::size_t size() const noexcept { return keys_.size(); }  // entities with a key

  // A new random key, replacing any the entity had.
  void generate(const EntityName& name);
  // Takes the key, replacing any the entity had. REQUIRES: key.size() == kKeyBytes
  void add(const EntityName& name, Secret key);
  // Replaces the file atomically and durably, with mode 0600. A name is written in the order of its
  // text.
  Outcome<void> save(const std::string& path) const;

 private:
  std::map<std::string, Secret, std::less<>> keys_;  // by "client.admin"
};

}  // namespace lunar
