// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace lunar::test {

// The counter or gauge of this name in what PerfRegistry::dump() gave, in the first group that has
// one. Pure.
inline std::optional<uint64_t> counter_in(const std::string& dump, const std::string& name) {
  for (const auto& group : nlohmann::json::parse(dump)) {
    if (group.contains(name)) return group.at(name).get<uint64_t>();
  }
  return std::nullopt;
}

}  // namespace lunar::test
