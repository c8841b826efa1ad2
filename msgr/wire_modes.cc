// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/wire_modes.h"

namespace lunar::msgr {
namespace {

constexpr std::string_view kClusterMode = "ms_cluster_mode";
constexpr std::string_view kServiceMode = "ms_service_mode";
constexpr std::string_view kClientMode = "ms_client_mode";

bool is_client(std::string_view entity) noexcept { return entity.starts_with("client."); }

}  // namespace

std::optional<WireModes> WireModes::parse(std::string_view text) noexcept {
  if (text == "crc") return WireModes{true, false, false};
  if (text == "secure") return WireModes{false, true, true};
  if (text == "crc secure") return WireModes{true, true, false};
  if (text == "secure crc") return WireModes{true, true, true};
  return std::nullopt;
}

const WireModes& WireModesByPeer::of(std::string_view own, std::string_view peer) const noexcept {
  if (is_client(own)) return client;
  return is_client(peer) ? service : cluster;
}

std::string_view WireModesByPeer::option(std::string_view own, std::string_view peer) noexcept {
  if (is_client(own)) return kClientMode;
  return is_client(peer) ? kServiceMode : kClusterMode;
}

std::string_view WireModesByPeer::strict_option(std::string_view own) const noexcept {
  if (is_client(own)) return client.takes_crc ? std::string_view() : kClientMode;
  if (!service.takes_crc) return kServiceMode;
  return cluster.takes_crc ? std::string_view() : kClusterMode;
}

}  // namespace lunar::msgr
