// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

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
// may have one key, and the one before it as "key_previous" while keys are changed. With
// "derived_for = osd.0" they are no keys of the entity's own but what osd.0 is to know it by:
// derived from those, and of no use anywhere else. A value. Not thread-safe.
class Keyring {
 public:
  static constexpr std::size_t kKeyBytes = 32;  // of every key: HMAC-SHA-256

  // Errors name the file and what to do: permission_denied if group or others may read it (chmod
  // 600), invalid_argument with the line for what cannot be read. A file of another user is refused
  // too.
  static Outcome<Keyring> load(const std::string& path);
  // The same of a text; `origin` stands in errors for the path, and no error quotes a key.
  static Outcome<Keyring> parse(std::string_view text, const std::string& origin);

  // The entity's own key, the newest. Null if it has none here. Valid until the keyring changes.
  const Secret* find(const EntityName& name) const;
  // All keys of its own, the newest first.
  std::vector<Secret> own_keys(const EntityName& name) const;
  // The keys by which `connector` proves to `acceptor` who it is, docs/protocol.md §4: derived from
  // its own, or kept as such. The newest first; none if the keyring has nothing for these two.
  std::vector<Secret> pair_keys(const EntityName& connector, const EntityName& acceptor) const;
  // Whether there is a section of the entity, with keys of either kind.
  bool contains(const EntityName& name) const { return keys_.contains(name.to_string()); }
  // Whether some entity is known by derived keys alone.
  bool has_derived() const;
  std::size_t size() const noexcept { return keys_.size(); }  // entities with a key
  std::set<EntityName> names() const;                         // of them

  // A new random key, replacing any the entity had.
  void generate(const EntityName& name);
  // Takes the key, replacing any the entity had. REQUIRES: key.size() == kKeyBytes
  void add(const EntityName& name, Secret key);
  // Forgets the entity; false if it is not there.
  bool remove(const EntityName& name) { return keys_.erase(name.to_string()) != 0; }
  // Gives an entity a new random key, and keeps the one it had as the previous one; or forgets
  // that. REQUIRES: find(name), and is_rotating() is false for the one, true for the other.
  void begin_rotation(const EntityName& name);
  void finish_rotation(const EntityName& name);
  bool is_rotating(const EntityName& name) const;
  // What `holder` has to have: its own newest key and, if it is a server, what it is to know all
  // others by. REQUIRES: find(holder).
  Keyring derived_for(const EntityName& holder) const;
  // Replaces the file atomically and durably, with mode 0600. A name is written in the order of its
  // text.
  Outcome<void> save(const std::string& path) const;

 private:
  struct EntityKeys {
    Secret key;               // never empty
    Secret previous;          // empty unless it is being changed
    std::string derived_for;  // whose derived keys these are; empty: the entity's own
  };
  std::map<std::string, EntityKeys, std::less<>> keys_;  // by "client.admin"
};

}  // namespace lunar
