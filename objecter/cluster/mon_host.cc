// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/cluster/mon_host.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string>

namespace lunar::objecter {

Outcome<std::vector<msgr::Address>> parse_mon_host(std::string_view value) {
  constexpr std::string_view kSeparators = ", \t";
  std::vector<msgr::Address> addresses;
  for (std::size_t at = value.find_first_not_of(kSeparators); at != std::string_view::npos;) {
    const std::size_t end = std::min(value.find_first_of(kSeparators, at), value.size());
    const std::string word(value.substr(at, end - at));
    const auto address = msgr::Address::parse(word);
    if (!address) {
      return failure(address.error().code, "option mon_host: " + address.error().message);
    }
    if (address->port() == 0) {
      return failure(OsdErrc::kInvalid,
                     fmt::format("option mon_host: '{}' needs a port, as in 10.0.0.1:6800", word));
    }
    addresses.push_back(*address);
    at = value.find_first_not_of(kSeparators, end);
  }
  return addresses;
}

Outcome<std::optional<OsdId>> parse_map_authority(std::string_view value) {
  constexpr std::string_view kPrefix = "osd.";
  if (value.empty()) return std::nullopt;
  OsdId osd = -1;
  const char* end = value.data() + value.size();
  const bool has_prefix = value.starts_with(kPrefix);
  const char* begin = value.data() + (has_prefix ? kPrefix.size() : 0);
  const auto [stop, error] = std::from_chars(begin, end, osd);
  if (!has_prefix || error != std::errc{} || stop != end || osd < 0)
    return failure(
        OsdErrc::kInvalid,
        fmt::format("option map_authority: '{}' is no server; it is one as osd.0", value));
  return osd;
}

}  // namespace lunar::objecter
