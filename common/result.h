// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <system_error>
#include <tl/expected.hpp>  // Debian: libexpected-dev
#include <utility>

namespace lunar {

// A value, or why there is none (tl::expected: g++ 12 has no std::expected in C++20). What the path
// of an IO returns: no text, no allocation. `if (!result)` asks, `*result` is the value, and
// result.error() the code; a code keeps its category, so that callers tell errors of ours
// (MsgrErrc, OsdErrc) from those of the system.
template <typename T>
using Result = tl::expected<T, std::error_code>;

// An error for a person: the code, and a sentence that names the thing and what to do about it.
// Used where something is set up (options, stores, maps, opening an image), never per IO.
struct Error {
  std::error_code code;  // for programs: which error it is
  std::string message;   // for people: one sentence, no full stop
};

// A value, or an Error. Outcome<void> is a call that has no result but can fail. May allocate.
template <typename T>
using Outcome = tl::expected<T, Error>;

// The one way to make an error, and to pass on one that a call returned:
//   return failure(OsdErrc::kBusy);                       a Result
//   return failure(std::errc::io_error, "a sentence");    an Outcome
//   return failure(result.error());                       whichever it was
// The function's return type decides: what failure() gives converts to any Result or Outcome whose
// error it is.
// For a Result.
[[nodiscard]] inline tl::unexpected<std::error_code> failure(std::error_code code) {
  return tl::unexpected<std::error_code>(code);
}
// The same of an enumerator that is an error code: MsgrErrc, OsdErrc.
template <typename E>
requires std::is_error_code_enum_v<E>
[[nodiscard]] tl::unexpected<std::error_code> failure(E code) {
  return tl::unexpected<std::error_code>(make_error_code(code));
}
// For an Outcome: an error as it was, or a code with the sentence that explains it. An enumeration
// that is only a condition, as std::errc, becomes a code of the generic category.
[[nodiscard]] inline tl::unexpected<Error> failure(Error error) {
  return tl::unexpected<Error>(std::move(error));
}
// `message` names the thing that failed, says why, and what to do about it if somebody can.
[[nodiscard]] inline tl::unexpected<Error> failure(std::error_code code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}
template <typename E>
requires std::is_error_code_enum_v<E> || std::is_error_condition_enum_v<E>
[[nodiscard]] tl::unexpected<Error> failure(E code, std::string message) {
  if constexpr (std::is_same_v<E, std::errc>) {
    return failure(std::make_error_code(code), std::move(message));
  } else {
    return failure(make_error_code(code), std::move(message));
  }
}

// errno as an error_code of the system category; call it before anything else can change errno.
std::error_code last_system_error() noexcept;  // does not change it
// The same of a number: `positive_errno` is EIO, not -EIO.
inline std::error_code system_error(int positive_errno) noexcept {
  return {positive_errno, std::system_category()};
}

}  // namespace lunar
