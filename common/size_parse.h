// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lunar {

// Bytes from "512", "4K", "1MiB", "10G", "1.5T": K, M, G, T, P (any case, with B, iB or neither)
// are powers of 1024. Nothing for a sign, a fraction of a byte, or what exceeds 64 bits.
std::optional<uint64_t> parse_size(std::string_view text);

// "500ms", "2s", "10us", "5m", "1h", "100ns"; a plain number, fractions too, is seconds. Never
// negative.
std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text);

// The shortest exact form that parse_size and parse_duration read back: "4MiB", "1500", "500ms".
std::string format_size(uint64_t bytes);
std::string format_duration(std::chrono::nanoseconds duration);

}  // namespace lunar
