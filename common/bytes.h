// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <boost/endian/buffers.hpp>
#include <boost/endian/conversion.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace lunar {

using Bytes = std::span<std::byte>;
using ConstBytes = std::span<const std::byte>;

// Fields of wire structs: little-endian, alignment 1 (Boost.Endian buffers).
using le16 = boost::endian::little_uint16_buf_t;
using le32 = boost::endian::little_uint32_buf_t;
using le64 = boost::endian::little_uint64_buf_t;

inline ConstBytes as_const_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(ConstBytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Appends little-endian values to a vector it does not own. Not thread-safe.
class ByteWriter {
 public:
  explicit ByteWriter(std::vector<std::byte>& out) noexcept : out_(out) {}

  template <typename T>
  requires std::is_integral_v<T> || std::is_enum_v<T>
  void put(T value) {
    const auto wire = boost::endian::native_to_little(to_unsigned(value));
    put_bytes({reinterpret_cast<const std::byte*>(&wire), sizeof wire});
  }
  void put_bytes(ConstBytes bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  // A 32-bit length, then the bytes.
  void put_string(std::string_view text) {
    put(static_cast<uint32_t>(text.size()));
    put_bytes(as_const_bytes(text));
  }

 private:
  template <typename T>
  static auto to_unsigned(T value) noexcept {
    if constexpr (std::is_enum_v<T>) {
      return static_cast<std::make_unsigned_t<std::underlying_type_t<T>>>(value);
    } else if constexpr (std::is_same_v<T, bool>) {
      return static_cast<uint8_t>(value);
    } else {
      return static_cast<std::make_unsigned_t<T>>(value);
    }
  }
  std::vector<std::byte>& out_;
};

// Reads what ByteWriter wrote, from bytes it borrows. After the first read past the end ok() is
// false for good and every read gives zero or empty: check ok() once, before using what was read.
class ByteReader {
 public:
  explicit ByteReader(ConstBytes in) noexcept : in_(in) {}

  template <typename T>
  requires std::is_integral_v<T> || std::is_enum_v<T> T get()
  noexcept {
    if constexpr (std::is_enum_v<T>) {
      return static_cast<T>(get<std::underlying_type_t<T>>());
    } else if constexpr (std::is_same_v<T, bool>) {
      return get<uint8_t>() != 0;
    } else {
      std::make_unsigned_t<T> wire = 0;
      const ConstBytes bytes = get_bytes(sizeof wire);
      if (bytes.size() == sizeof wire) std::memcpy(&wire, bytes.data(), sizeof wire);
      return static_cast<T>(boost::endian::little_to_native(wire));
    }
  }
  // A view into the input, `length` long, or empty with ok() false.
  ConstBytes get_bytes(std::size_t length) noexcept {
    if (length > in_.size()) {
      ok_ = false;
      in_ = {};
      return {};
    }
    const ConstBytes out = in_.first(length);
    in_ = in_.subspan(length);
    return out;
  }
  // A string of at most `limit` bytes; a longer one makes ok() false.
  std::string get_string(std::size_t limit) {
    const auto length = get<uint32_t>();
    if (length > limit) ok_ = false;
    if (!ok_) return {};
    return std::string(as_text(get_bytes(length)));
  }
  // For a count of items that follow: false, and ok() false, if even `min_item_bytes` each would
  // not fit in what is left. Guards reserve() against a hostile count.
  bool plausible_count(uint64_t count, std::size_t min_item_bytes) noexcept {
    if (count > in_.size() / (min_item_bytes == 0 ? 1 : min_item_bytes)) ok_ = false;
    return ok_;
  }
  void mark_bad() noexcept { ok_ = false; }
  bool ok() const noexcept { return ok_; }
  std::size_t remaining() const noexcept { return in_.size(); }
  // True if everything was read and nothing is left over.
  bool finished() const noexcept { return ok_ && in_.empty(); }

 private:
  ConstBytes in_;
  bool ok_ = true;
};

}  // namespace lunar
