// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace lunar::msgr {

// Divides a limit (of bytes, or of things) among entities, and what an entity has among its
// connections, so that none can take what the next one needs. Nobody has a fixed part: an entity
// may hold as much as is still free, and a connection as much as its entity still might (dynamic
// thresholds). So one entity gets half of the limit, however many connections it has, two get two
// thirds, and whoever comes then still finds room. Two things are granted beside that, so that
// everybody goes on: a little per connection at any time, and one thing of any size to an entity
// that holds nothing while the limit is not reached.
//
// An example, of a limit of 300 with 100 per connection: client.a alone, on one connection, gets
// 100. On many it gets 150 in all; client.b, who comes then, gets 50 at once and 100 when client.a
// has given back what is above its own third.
//
// Loop-bound. Shared with what is held, which may outlive its owner.
class FairShares : public std::enable_shared_from_this<FairShares> {
 public:
  // In any unit, the same for all three.
  struct Limits {
    uint64_t total = 0;       // 0: nothing is limited
    uint64_t connection = 0;  // one that holds so much gets no more
    uint64_t always = 0;      // what each connection may hold whatever the others do
  };
  // What one connection holds; made by open().
  class Share;
  using ShareRef = std::shared_ptr<Share>;
  // Something that counts until it is destroyed or given back. Move-only.
  class Held;

  explicit FairShares(const Limits& limits) noexcept : limits_(limits) {}

  // The share of a connection of this entity, which holds nothing yet. It ends with the last who
  // has it or something that is held by it.
  ShareRef open(std::string_view entity);
  // Whether a connection may have so much more, now. Nothing is kept for it, and nobody is told
  // when that changes: ask again after something was given back.
  bool allows(const Share& holder, uint64_t amount) const noexcept;
  // Counts it, whether it is allowed or not: what cannot be refused is seen by what can.
  [[nodiscard]] Held hold(ShareRef holder, uint64_t amount);
  uint64_t held() const noexcept { return held_; }  // by all

 private:
  // What all connections of an entity hold together.
  struct EntityShare {
    uint64_t held = 0;
  };

  const Limits limits_;
  uint64_t held_ = 0;
  // By name; one that has expired is dropped when the next entity comes.
  std::map<std::string, std::weak_ptr<EntityShare>, std::less<>> entities_;
};

// A number with an owner: which entity it counts for. Loop-bound.
class FairShares::Share {
 public:
  explicit Share(std::shared_ptr<EntityShare> entity) noexcept : entity_(std::move(entity)) {}
  uint64_t held() const noexcept { return held_; }

 private:
  friend class FairShares;
  const std::shared_ptr<EntityShare> entity_;
  uint64_t held_ = 0;
};

// Amounts are given back by the destructor, so that no end of a message, an op or a link can forget
// it. On the loop only. What is moved from is nothing.
class FairShares::Held {
 public:
  // Nothing.
  Held() noexcept = default;
  Held(std::shared_ptr<FairShares> shares, ShareRef holder, uint64_t amount) noexcept
      : shares_(std::move(shares)), holder_(std::move(holder)), amount_(amount) {}
  Held(Held&& other) noexcept = default;
  // What this one held is given back first.
  Held& operator=(Held&& other) noexcept {
    give_back();
    shares_ = std::move(other.shares_);
    holder_ = std::move(other.holder_);
    amount_ = other.amount_;
    return *this;
  }
  ~Held() { give_back(); }
  void give_back() noexcept;  // may be called again
  // Holds another amount instead, whether that is allowed or not. Nothing stays nothing.
  void resize(uint64_t amount) noexcept;
  // Whether it holds something, which may be an amount of 0.
  explicit operator bool() const noexcept { return shares_ != nullptr; }

 private:
  // Both are kept alive by what is held.
  std::shared_ptr<FairShares> shares_;  // null: nothing
  ShareRef holder_;
  uint64_t amount_ = 0;
};

}  // namespace lunar::msgr
