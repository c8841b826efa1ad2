// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/peer_name.h"

#include <algorithm>

namespace lunar {
namespace {

bool is_graphic(std::string_view text, std::size_t longest) noexcept {
  return !text.empty() && text.size() <= longest &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

bool is_entity_text(std::string_view text) noexcept { return is_graphic(text, kMaxEntityBytes); }
bool is_instance_text(std::string_view text) noexcept {
  return is_graphic(text, kMaxInstanceBytes);
}

}  // namespace lunar
