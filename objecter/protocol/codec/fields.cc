// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/codec/fields.h"

#include <algorithm>

#include "msgr/address_codec.h"

namespace lunar::objecter {
Uuid get_uuid(ByteReader& r) noexcept {
  const ConstBytes bytes = r.get_bytes(Uuid::kBytes);
  return bytes.size() == Uuid::kBytes ? Uuid::from_bytes(bytes) : Uuid{};
}

bool get_flag(ByteReader& r) noexcept {
  const auto value = r.get<uint8_t>();
  if (value > 1) r.mark_bad();
  return value == 1;
}

OsdErrc get_errc(ByteReader& r) noexcept {
  const auto value = r.get<int32_t>();
  if (!is_known_errc(value)) r.mark_bad();
  return r.ok() ? static_cast<OsdErrc>(value) : OsdErrc::kInvalid;
}

void put_addresses(ByteWriter& w, const std::vector<msgr::Address>& addresses) {
  const auto count = std::min(addresses.size(), OsdInfo::kMaxAddresses);
  w.put(static_cast<uint8_t>(count));
  for (std::size_t i = 0; i < count; ++i) {
    msgr::put_address(w, addresses[i]);
  }
}

std::vector<msgr::Address> get_addresses(ByteReader& r) {
  const auto count = r.get<uint8_t>();
  if (count > OsdInfo::kMaxAddresses) r.mark_bad();
  if (!r.can_hold(count, msgr::Address::kWireBytes)) return {};
  std::vector<msgr::Address> addresses;
  addresses.reserve(count);
  for (uint8_t i = 0; i < count; ++i) {
    addresses.push_back(msgr::get_address(r, /*may_be_unset=*/false));
  }
  return addresses;
}

void put_store_kind(ByteWriter& w, std::optional<StoreKind> kind) {
  w.put(kind ? static_cast<uint8_t>(*kind) : uint8_t{0});
}

std::optional<StoreKind> get_store_kind(ByteReader& r) noexcept {
  const auto value = r.get<uint8_t>();
  if (value == 0) return std::nullopt;
  const auto kind = static_cast<StoreKind>(value);
  if (kind > StoreKind::kRados) r.mark_bad();
  return kind;
}

}  // namespace lunar::objecter
