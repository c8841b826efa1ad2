// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lunar {

// Bytes from "512", "4K", "1MiB", "10G", "1.5T": K, M, G, T, P (any case, with B, iB or neither)
// are powers of 1024. Nothing for a sign, a fraction of a byte, or what exceeds 64 bits. Pure.
// What an option of type kSize accepts, and `lunar create --size`.
std::optional<uint64_t> parse_size(std::string_view text);

// "500ms", "2s", "10us", "5m", "1h", "100ns"; a plain number, fractions too, is seconds. Nothing
// for what is negative, has another unit, or exceeds 292 years (64 bits of nanoseconds). Pure.
std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text);

// The shortest exact form that parse_duration reads back: "500ms", "2m". Pure.
std::string format_duration(std::chrono::nanoseconds duration);

}  // namespace lunar
