// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>

#include "bstore_plugin/plugin_api.h"

namespace lunar::bstore_plugin {

// tgtadm shows a failure as a code; the sentence goes here. On tgtd's thread only.

// Writes it to tgtd's log and our own, and keeps it.
void remember_error(const lunar_host& host, const std::string& sentence);
// The last few, newest first: [{"time": "…", "error": "…"}].
std::string recent_errors_json();

}  // namespace lunar::bstore_plugin
