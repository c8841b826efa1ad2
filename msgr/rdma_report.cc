// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma_report.h"

#include <unistd.h>

#include <utility>

#include "msgr/rdma/device/report.h"

namespace lunar::msgr {

RdmaReport make_rdma_report(const Config& config, const Address& local) {
  rdma::Findings findings;
  findings.local = local;
  for (const char* module : {"ib_core", "ib_uverbs", "rdma_ucm", "rdma_rxe"}) {
    const std::string directory = std::string("/sys/module/") + module;
    findings.modules.emplace_back(module, access(directory.c_str(), F_OK) == 0);
  }
  findings.memlock = raise_memlock();
  auto options = rdma::RdmaOptions::from_config(config);
  auto devices = rdma::list_devices();
  if (devices) findings.devices = std::move(*devices);
  if (!devices) {
    findings.problem = devices.error().message;
  } else if (!options) {
    findings.problem = options.error().message;
  } else {
    findings.options = *options;
    auto choice = rdma::choose_port(findings.devices, *options, local);
    if (!choice) {
      findings.problem = choice.error().message;
    } else {
      findings.choice = *choice;
      auto device = rdma::Device::open(choice->device);
      if (device) {
        findings.features = (*device)->features();
      } else {
        findings.problem = device.error().message;
      }
    }
  }
  return rdma::render(findings);
}

}  // namespace lunar::msgr
