// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/placement.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace lunar::objecter {
namespace {

struct JenkinsState {
  uint32_t a = 0x9e3779b9;  // the golden ratio, an arbitrary value
  uint32_t b = 0x9e3779b9;
  uint32_t c = 0;  // the initial value

  // The reversible mix of Bob Jenkins' "Hash functions for hash table lookup" (1996, public
  // domain): nine rounds of the same shape with these shifts.
  void mix() noexcept {
    const auto right = [](uint32_t& x, uint32_t y, uint32_t z, int shift) {
      x = (x - y - z) ^ (z >> shift);
    };
    const auto left = [](uint32_t& x, uint32_t y, uint32_t z, int shift) {
      x = (x - y - z) ^ (z << shift);
    };
    right(a, b, c, 13), left(b, c, a, 8), right(c, a, b, 13);
    right(a, b, c, 12), left(b, c, a, 16), right(c, a, b, 5);
    right(a, b, c, 3), left(b, c, a, 10), right(c, a, b, 15);
  }
};

uint32_t word_at(const std::byte* bytes) noexcept {
  le32 word;
  std::memcpy(&word, bytes, sizeof word);
  return word.value();
}

// Values are spread over b buckets so that going from b to b + 1 moves only what enters the new
// one.
uint32_t stable_mod(uint32_t value, uint32_t buckets) noexcept {
  const uint32_t mask = std::bit_ceil(buckets) - 1;
  const uint32_t low = value & mask;
  return low < buckets ? low : value & (mask >> 1);
}

// -log2((hash + 1) / 2^32) in 1 / 2^40, rounded up: 0 for the largest hash. In integers, one
// squaring per binary place, so that every machine gets the same number.
uint64_t minus_log2(uint32_t hash) noexcept {
  constexpr int kPlaces = 40;
  const uint64_t value = uint64_t{hash} + 1;
  const int whole = std::bit_width(value) - 1;
  uint64_t log = static_cast<uint64_t>(whole) << kPlaces;
  uint64_t mantissa = value << (63 - whole);  // in [1, 2) with 63 places
  for (int place = kPlaces - 1; place >= 0; --place) {
    const auto square = static_cast<unsigned __int128>(mantissa) * mantissa;  // 126 places
    const bool is_two_or_more = (square >> 127) != 0;
    mantissa = static_cast<uint64_t>(square >> (is_two_or_more ? 64 : 63));
    if (is_two_or_more) log |= uint64_t{1} << place;
  }
  return (uint64_t{32} << kPlaces) - log;
}

// A round of SplitMix64 (Steele et al.; constants of Vigna's public domain version).
uint64_t mix64(uint64_t value) noexcept {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// rjenkins1 of these few bytes would favour some members by several percent; this does not.
uint32_t draw_hash(PgId pg, OsdId osd) noexcept {
  const uint64_t key = uint64_t{pg.seed} << 32 | static_cast<uint32_t>(osd);
  return static_cast<uint32_t>(mix64(mix64(pg.pool) ^ key) >> 32);
}

// By straw2 over those members that may_serve(OsdId).
template <typename MayServe>
OsdId draw_osd(const PoolInfo& pool, PgId pg, MayServe&& may_serve) noexcept {
  OsdId best = -1;
  uint64_t best_log = 0;
  uint32_t best_weight = 0;
  for (const PoolInfo::Member& member : pool.members) {
    if (member.weight == 0 || !may_serve(member.osd)) continue;
    const uint64_t log = minus_log2(draw_hash(pg, member.osd));
    // log / weight < best_log / best_weight, exactly; the lower id wins a tie.
    const auto mine = static_cast<unsigned __int128>(log) * best_weight;
    const auto theirs = static_cast<unsigned __int128>(best_log) * member.weight;
    if (best < 0 || mine < theirs || (mine == theirs && member.osd < best)) {
      best = member.osd;
      best_log = log;
      best_weight = member.weight;
    }
  }
  return best;
}

// Whether PGs of a pool in RADOS may be on this server. One that is down is passed over only if its
// last start has named its RADOS client: then that is fenced. Else its PGs wait for it.
bool may_serve_rados(const OsdMap& map, OsdId id) noexcept {
  const OsdInfo* const osd = map.find_osd(id);
  if (osd == nullptr) return false;
  return !osd->kind || (osd->up && osd->kind == StoreKind::kRados);
}

}  // namespace

bool may_be_executing(const OsdMap& map, OsdId osd, uint64_t sent_to) noexcept {
  const OsdInfo* const info = map.find_osd(osd);
  if (info == nullptr || !info->up) return false;
  return info->incarnation == 0 || sent_to == 0 || info->incarnation == sent_to;
}

uint32_t rjenkins1(ConstBytes bytes) noexcept {
  constexpr std::size_t kBlock = 12;
  JenkinsState state;
  std::size_t left = bytes.size();
  const std::byte* at = bytes.data();
  for (; left >= kBlock; at += kBlock, left -= kBlock) {
    state.a += word_at(at);
    state.b += word_at(at + 4);
    state.c += word_at(at + 8);
    state.mix();
  }
  // The rest, filled up with zeroes. The lowest byte of c is for the length.
  std::array<std::byte, kBlock> tail{};
  std::copy_n(at, left, tail.begin());
  state.a += word_at(tail.data());
  state.b += word_at(tail.data() + 4);
  state.c += (word_at(tail.data() + 8) << 8) + static_cast<uint32_t>(bytes.size());
  state.mix();
  return state.c;
}

PgId pg_of_object(const PoolInfo& pool, std::string_view object_name) noexcept {
  return {pool.id, stable_mod(rjenkins1(as_const_bytes(object_name)), pool.pg_num)};
}

OsdId osd_of_pg(const PoolInfo& pool, PgId pg) noexcept {
  return draw_osd(pool, pg, [](OsdId) { return true; });
}

OsdId osd_of_pg(const OsdMap& map, const PoolInfo& pool, PgId pg) noexcept {
  if (pool.store == StoreKind::kRados) {
    const OsdId osd = draw_osd(pool, pg, [&map](OsdId id) { return may_serve_rados(map, id); });
    if (osd >= 0) return osd;
  }
  return osd_of_pg(pool, pg);
}

bool is_placed_alike(const OsdMap& a, const OsdMap& b, PoolId pool) noexcept {
  const PoolInfo* const one = a.find_pool(pool);
  const PoolInfo* const other = b.find_pool(pool);
  if (one->pg_num != other->pg_num || one->members != other->members || one->store != other->store)
    return false;
  return one->store != StoreKind::kRados ||
         std::all_of(one->members.begin(), one->members.end(), [&](const auto& each) {
           return may_serve_rados(a, each.osd) == may_serve_rados(b, each.osd);
         });
}

}  // namespace lunar::objecter
