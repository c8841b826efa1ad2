// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <boost/endian/buffers.hpp>
#include <boost/endian/conversion.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>  // std::memcpy
#include <span>
#include <string>
#include <string_view>
#include <type_traits>  // std::underlying_type_t
#include <vector>

namespace lunar {

// Bytes of somebody else: a view, with the lifetime of what it shows. Lengths are bytes.
using Bytes = std::span<std::byte>;
using ConstBytes = std::span<const std::byte>;

// Fields of wire structures and of files: little-endian, alignment 1 (Boost.Endian buffers), so
// that a structure of them has no padding and can be copied to and from bytes as it is. `.value()`
// is the number in the host's order.
using le16 = boost::endian::little_uint16_buf_t;
using le32 = boost::endian::little_uint32_buf_t;
using le64 = boost::endian::little_uint64_buf_t;

// The same memory seen as bytes, or as text: nothing is copied, and nothing is checked.
inline ConstBytes as_const_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(ConstBytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Appends values to a vector that it borrows: integers and enumerations little-endian at their own
// width, bool as one byte. Nothing is aligned or padded. What is written has no limit here: whoever
// sends it checks its length. Not thread-safe.
class ByteWriter {
 public:
  // Appends behind what `out` holds already.
  explicit ByteWriter(std::vector<std::byte>& out) noexcept : out_(out) {}

  // Integers, enumerations and bools, in their order. The vector grows once for all of them.
  template <typename... T>
  requires(sizeof...(T) > 0 &&
           ((std::is_integral_v<T> || std::is_enum_v<T>)&&...)) void put(T... values) {
    std::array<std::byte, (sizeof(T) + ...)> wire;
    std::byte* at = wire.data();
    const auto add = [&at](auto value) {
      const auto little = boost::endian::native_to_little(to_unsigned(value));
      std::memcpy(at, &little, sizeof little);
      at += sizeof little;
    };
    (add(values), ...);
    put_bytes(wire);
  }
  // The bytes as they are, without their length: the reader has to know it.
  void put_bytes(ConstBytes bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  // A 32-bit length, then the bytes. REQUIRES: text.size() < 4 GiB
  void put_string(std::string_view text) {
    put(static_cast<uint32_t>(text.size()));
    put_bytes(as_const_bytes(text));
  }

 private:
  // As the unsigned number of the same width.
  template <typename T>
  static auto to_unsigned(T value) noexcept {
    if constexpr (std::is_enum_v<T>) {
      return static_cast<std::make_unsigned_t<std::underlying_type_t<T>>>(value);
    } else if constexpr (std::is_same_v<T, bool>) {  // has no unsigned form
      return static_cast<uint8_t>(value);
    } else {
      return static_cast<std::make_unsigned_t<T>>(value);
    }
  }
  std::vector<std::byte>& out_;  // borrowed
};

// Reads what ByteWriter wrote, from bytes that it borrows. After the first read past the end ok()
// is false for good and every read gives zero or empty: check ok() once, before using what was
// read. Nothing is thrown and nothing outside the bytes is touched, whatever a peer has sent. An
// integer that is no enumerator becomes a value of the enumeration all the same: the caller checks
// it. Not thread-safe.
class ByteReader {
 public:
  // Borrows the bytes for its life.
  explicit ByteReader(ConstBytes in) noexcept : in_(in) {}

  // The next value, little-endian, of the width that put() gave T; zero with ok() false at the end.
  template <typename T>
  requires std::is_integral_v<T> || std::is_enum_v<T> T get()
  noexcept {
    if constexpr (std::is_enum_v<T>) {
      return static_cast<T>(get<std::underlying_type_t<T>>());
    } else if constexpr (std::is_same_v<T, bool>) {
      return get<uint8_t>() != 0;  // any other byte is true
    } else {
      std::make_unsigned_t<T> wire = 0;
      const ConstBytes bytes = get_bytes(sizeof wire);
      if (bytes.size() == sizeof wire) std::memcpy(&wire, bytes.data(), sizeof wire);
      return static_cast<T>(boost::endian::little_to_native(wire));
    }
  }
  // A view into the input, `length` bytes long, or empty with ok() false. It is valid as long as
  // the input is.
  ConstBytes get_bytes(std::size_t length) noexcept {
    if (length > in_.size()) {
      is_ok_ = false;  // nothing more is read
      in_ = {};
      return {};
    }
    // In range: the view itself cannot fail.
    const ConstBytes out = in_.first(length);
    in_ = in_.subspan(length);
    return out;
  }
  // What put_string() wrote, copied, of at most `limit` bytes; a longer one makes ok() false, and
  // no memory is taken for it.
  std::string get_string(std::size_t limit) {
    const auto length = get<uint32_t>();
    if (length > limit) is_ok_ = false;
    if (!is_ok_) return {};
    return std::string(as_text(get_bytes(length)));
  }
  // For a count of items that follow: false, and ok() false, if items of `min_item_bytes` each
  // would not fit into what remains. Called before reserve(), so that no peer makes us allocate by
  // a count alone.
  bool can_hold(uint64_t count, std::size_t min_item_bytes) noexcept {
    if (count > in_.size() / (min_item_bytes == 0 ? 1 : min_item_bytes)) is_ok_ = false;
    return is_ok_;
  }
  // The caller found a value that cannot be: ok() is false from now on.
  void mark_bad() noexcept { is_ok_ = false; }
  // Nothing has been read past the end, and no value was bad.
  bool ok() const noexcept { return is_ok_; }
  // Bytes that were not read yet; 0 after a read past the end.
  std::size_t remaining() const noexcept { return in_.size(); }
  // Everything was read right, and nothing is left over.
  bool is_finished() const noexcept { return is_ok_ && in_.empty(); }

 private:
  ConstBytes in_;      // what remains
  bool is_ok_ = true;  // once false, false for good
};

}  // namespace lunar
