// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/messenger.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <fstream>
#include <utility>

#include "common/host.h"
#include "msgr/session/async_messenger.h"

namespace lunar::msgr {
namespace {

// What /etc/machine-id says, or the host's name.
std::string host_id() {
  std::string id;
  std::ifstream machine_id("/etc/machine-id");
  if (std::getline(machine_id, id) && !id.empty()) return id;
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) == 0 && name[0] != 0) return name.data();
  return "unknown-host";
}

}  // namespace

Outcome<std::unique_ptr<Messenger>> Messenger::create(EventCenter& center, NetworkStack& stack,
                                                      MessengerOptions options,
                                                      const Keyring* keyring, PerfRegistry* perf,
                                                      Dispatcher* dispatcher) {
  if (!EntityName::parse(options.entity) || !is_entity_text(options.entity)) {
    return failure(
        std::errc::invalid_argument,
        fmt::format("'{}' is not an entity such as client.admin or osd.0", options.entity));
  }
  if (options.auth_required && (keyring == nullptr || keyring->size() == 0)) {
    return failure(std::errc::invalid_argument,
                   fmt::format("{} is to authenticate its peers and has no keys; give it a keyring",
                               options.entity));
  }
  const bool has_keys = keyring != nullptr && keyring->size() > 0;
  if (const auto strict = options.modes.strict_option(options.entity); !strict.empty() && !has_keys)
    return failure(std::errc::invalid_argument,
                   fmt::format("{} is to take only secure links ({}) and has no keys; give it a "
                               "keyring",
                               options.entity, strict));
  if (options.instance.empty()) options.instance = fmt::format("{}-{}", host_id(), getpid());
  if (!is_instance_text(options.instance)) {
    return failure(std::errc::invalid_argument,
                   fmt::format("instance '{}' is longer than {} bytes or not plain text",
                               options.instance, kMaxInstanceBytes));
  }
  if (options.nonce == 0) {
    options.nonce = static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(wall_now().time_since_epoch())
            .count());
  }
  return std::make_unique<AsyncMessenger>(center, stack, std::move(options), keyring, perf,
                                          *dispatcher);
}

}  // namespace lunar::msgr
