// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <system_error>

namespace lunar::gateway {

// The errno that says most of what an error says, for the C API and exit codes: positive, never 0;
// EIO for what has no better one. System errors keep theirs. docs/errors.md has the table.
// REQUIRES: `code` is an error. Pure.
int errno_of(const std::error_code& code) noexcept;

}  // namespace lunar::gateway
