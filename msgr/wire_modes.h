// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lunar::msgr {

// Which links a side takes, as ms_cluster_mode and its like say: with checksums (crc), inside TLS
// (secure), or both, the first one by preference; docs/protocol.md §4.1. A value; at least one of
// the first two is true.
struct WireModes {
  bool takes_crc = true;
  bool takes_secure = true;
  bool wants_secure = false;  // rather than crc, as the connector; implies takes_secure

  // "crc", "secure", "crc secure" or "secure crc", as the options accept them; none for any other
  // text. Pure.
  static std::optional<WireModes> parse(std::string_view text) noexcept;
  bool operator==(const WireModes&) const = default;
};

// The modes of each kind of link, by Ceph's options: an entity "client.ID" is a client, and every
// other one a server. A value.
struct WireModesByPeer {
  WireModes cluster;  // ms_cluster_mode: between servers
  WireModes service;  // ms_service_mode: of a server with clients
  WireModes client;   // ms_client_mode: of a client, with whomever

  // Those for a link of the entity `own`, which is ours, with `peer`. Valid as long as this.
  const WireModes& of(std::string_view own, std::string_view peer) const noexcept;
  // The name of the option that they are from, for sentences. Pure.
  static std::string_view option(std::string_view own, std::string_view peer) noexcept;
  // An option by which some links of the entity `own` must be secure; empty: none must.
  std::string_view strict_option(std::string_view own) const noexcept;
  bool operator==(const WireModesByPeer&) const = default;
};

}  // namespace lunar::msgr
