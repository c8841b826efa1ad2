// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string_view>

namespace lunar::tracing {

// page.html, built into the program by CMakeLists.txt; the report goes where it says /*DATA*/null.
extern const std::string_view kHtmlPage;

}  // namespace lunar::tracing
