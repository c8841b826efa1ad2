// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/device/report.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace lunar::msgr::rdma {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kAtStart = 12u << 20;  // staging and front-end buffers

bool is_loaded(const Findings& findings, std::string_view module) {
  return std::any_of(findings.modules.begin(), findings.modules.end(),
                     [&](const auto& each) { return each.first == module && each.second; });
}

uint64_t needed_at_start(const RdmaOptions& options) noexcept {
  return kAtStart +
         uint64_t{options.segment_bytes} * (options.receive_buffers + options.send_buffers);
}

Outcome<void> check_memory(const Findings& findings) {
  return check_memlock(findings.memlock, needed_at_start(findings.options), "RDMA at start");
}

// As RdmaStack sees it when it starts.
bool works(const Findings& findings) {
  return findings.features && check_memory(findings).has_value();
}

bool is_chosen(const Findings& findings, const DeviceListing& device, const GidEntry& gid) {
  return findings.choice && findings.choice->device == device.name &&
         findings.choice->port == gid.port && findings.choice->gid_index == gid.index;
}

int mtu_bytes(ibv_mtu mtu) noexcept { return 128 << static_cast<int>(mtu); }

std::string yes_no(bool value) { return value ? "yes" : "no"; }

void add_device(std::string& text, const Findings& findings, const DeviceListing& device) {
  text += fmt::format("device {}{}\n", device.name, device.is_iwarp ? " (iWARP)" : "");
  if (!device.problem.empty()) text += fmt::format("  {}\n", device.problem);
  for (const PortListing& port : device.ports) {
    text += fmt::format("  port {}: {}, {}, MTU {}\n", port.number, port.state,
                        port.is_ethernet ? "Ethernet" : "InfiniBand", mtu_bytes(port.active_mtu));
    for (const GidEntry& gid : device.gids) {
      if (gid.port != port.number) continue;
      text += fmt::format("  {} GID {}: {} {}{}\n", is_chosen(findings, device, gid) ? "*" : " ",
                          gid.index, gid_text(gid.gid), gid_type_name(gid.type),
                          gid.netdev.empty() ? "" : ", " + gid.netdev);
    }
  }
}

std::string render_text(const Findings& findings, const std::vector<std::string>& advice) {
  std::string text = "kernel modules:";
  for (const auto& [module, loaded] : findings.modules) {
    text += fmt::format(" {} {}", module, loaded ? "loaded" : "not loaded");
    text += &module == &findings.modules.back().first ? "\n" : ",";
  }
  for (const DeviceListing& device : findings.devices) add_device(text, findings, device);
  if (findings.choice) {
    text += fmt::format("chosen for {}: device {}, port {}, GID {}\n",
                        findings.local.is_unset() ? "any address" : findings.local.to_string(),
                        findings.choice->device, findings.choice->port, findings.choice->gid_index);
  }
  if (findings.features) {
    text += fmt::format(
        "tried on it: SRQ {}, inline {} bytes, memory windows {}, SEND with invalidate {}\n",
        yes_no(findings.features->srq), findings.features->max_inline_bytes,
        yes_no(findings.features->memory_windows), yes_no(findings.features->send_with_invalidate));
  }
  text += fmt::format("memory that may be pinned: {}{}; at start {} are\n",
                      memlock_text(findings.memlock.limit),
                      findings.memlock.is_exempt ? ", not applied (CAP_IPC_LOCK)" : "",
                      memlock_text(needed_at_start(findings.options)));
  for (const std::string& sentence : advice) text += fmt::format("! {}\n", sentence);
  text += works(findings) ? "RDMA works here.\n" : "RDMA does not work here.\n";
  return text;
}

std::string render_json(const Findings& findings, const std::vector<std::string>& advice) {
  Json root;
  root["works"] = works(findings);
  for (const auto& [module, loaded] : findings.modules) root["modules"][module] = loaded;
  root["devices"] = Json::array();
  for (const DeviceListing& device : findings.devices) {
    Json entry{{"name", device.name}, {"iwarp", device.is_iwarp}, {"problem", device.problem}};
    entry["ports"] = Json::array();
    for (const PortListing& port : device.ports) {
      entry["ports"].push_back({{"port", port.number},
                                {"active", port.is_active},
                                {"state", port.state},
                                {"link_layer", port.is_ethernet ? "ethernet" : "infiniband"},
                                {"mtu", mtu_bytes(port.active_mtu)}});
    }
    entry["gids"] = Json::array();
    for (const GidEntry& gid : device.gids) {
      entry["gids"].push_back({{"port", gid.port},
                               {"index", gid.index},
                               {"gid", gid_text(gid.gid)},
                               {"type", gid_type_name(gid.type)},
                               {"netdev", gid.netdev},
                               {"chosen", is_chosen(findings, device, gid)}});
    }
    root["devices"].push_back(std::move(entry));
  }
  if (findings.features) {
    root["features"] = {{"srq", findings.features->srq},
                        {"max_inline_bytes", findings.features->max_inline_bytes},
                        {"memory_windows", findings.features->memory_windows},
                        {"send_with_invalidate", findings.features->send_with_invalidate}};
  }
  root["memlock"] = {{"limit", memlock_text(findings.memlock.limit)},
                     {"exempt", findings.memlock.is_exempt},
                     {"needed_at_start_bytes", needed_at_start(findings.options)}};
  root["advice"] = advice;
  return root.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string gid_text(const Gid& gid) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(AF_INET6, gid.data(), text.data(), text.size());
  return text.data();
}

std::string_view gid_type_name(GidType type) noexcept {
  switch (type) {
    case GidType::kRoceV2:
      return "RoCE v2";
    case GidType::kRoceV1:
      return "RoCE v1";
    case GidType::kInfiniBand:
      break;
  }
  return "InfiniBand";
}

std::vector<std::string> advice_on(const Findings& findings) {
  std::vector<std::string> advice;
  if (!is_loaded(findings, "ib_uverbs")) {
    advice.push_back(
        "the kernel module ib_uverbs is not loaded: `modprobe ib_uverbs`, and name it "
        "in /etc/modules-load.d for the next boot");
  }
  if (!findings.problem.empty()) advice.push_back(findings.problem);
  if (findings.choice && findings.choice->is_ethernet &&
      findings.choice->gid_type != GidType::kRoceV2) {
    advice.push_back(
        "the GID is of RoCE v1, which no router forwards; an address on the network "
        "interface gives the port one of v2");
  }
  if (auto fits = check_memory(findings); !fits) advice.push_back(fits.error().message);
  if (findings.features && !findings.features->memory_windows &&
      findings.options.rkey_scope == RkeyScope::kWindow) {
    advice.push_back(
        "the device's memory windows do not work: servers cannot move data of this "
        "host by themselves unless ms_async_rdma_rkey_scope = arena lets them reach "
        "all of the front end's memory");
  }
  if (findings.options.use_cm && !is_loaded(findings, "rdma_ucm")) {
    advice.push_back(
        "ms_async_rdma_cm = true needs the kernel module rdma_ucm: `modprobe rdma_ucm`");
  }
  return advice;
}

RdmaReport render(const Findings& findings) {
  const std::vector<std::string> advice = advice_on(findings);
  return {works(findings), render_text(findings, advice), render_json(findings, advice)};
}

}  // namespace lunar::msgr::rdma
