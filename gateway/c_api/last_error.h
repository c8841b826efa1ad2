// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <system_error>

#include "common/result.h"

// What lunar_last_error() says, per thread.
namespace lunar::c_api {

const std::string& last_error() noexcept;

// Keeps the sentence for the calling thread; returns the negative errno of the error.
int report(const Error& error);
int report(std::errc code, const char* sentence);
// 0, or as report().
int result_of(const Outcome<void>& outcome);

}  // namespace lunar::c_api
