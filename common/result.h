// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <system_error>
#include <tl/expected.hpp>
#include <utility>

namespace lunar {

// A value, or why there is none. What the path of an IO returns: no text, no allocation.
template <typename T>
using Result = tl::expected<T, std::error_code>;

// An error for a person: the code, and a sentence that names the thing and what to do about it.
// Used where something is set up (options, stores, maps, opening an image), never per IO.
struct Error {
  std::error_code code;
  std::string message;
};

// A value, or an Error. Outcome<void> is a call that only succeeds or explains itself.
template <typename T>
using Outcome = tl::expected<T, Error>;

// The one way to make an error, and to pass on one that a call returned:
//   return failure(OsdErrc::kBusy);                       a Result
//   return failure(std::errc::io_error, "a sentence");    an Outcome
//   return failure(result.error());                       whichever it was
inline tl::unexpected<std::error_code> failure(std::error_code code) {
  return tl::unexpected<std::error_code>(code);
}
template <typename E>
requires std::is_error_code_enum_v<E> tl::unexpected<std::error_code> failure(E code) {
  return tl::unexpected<std::error_code>(make_error_code(code));
}
inline tl::unexpected<Error> failure(Error error) {
  return tl::unexpected<Error>(std::move(error));
}
inline tl::unexpected<Error> failure(std::error_code code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}
template <typename E>
requires std::is_error_code_enum_v<E> || std::is_error_condition_enum_v<E> tl::unexpected<Error>
failure(E code, std::string message) {
  if constexpr (std::is_same_v<E, std::errc>) {
    return failure(std::make_error_code(code), std::move(message));
  } else {
    return failure(make_error_code(code), std::move(message));
  }
}

// errno as an error_code; call it before anything else can change errno.
std::error_code last_system_error() noexcept;
inline std::error_code system_error(int positive_errno) noexcept {
  return {positive_errno, std::system_category()};
}

}  // namespace lunar
