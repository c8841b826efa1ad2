// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cstdio>
#include <memory>
#include <string>

#include "common/visible_text.h"
#include "msgr/rdma_report.h"
#include "tools/lunar/command.h"

// `lunar rdma info`: what this host has for RDMA. Needs no cluster.

namespace lunar::tools {

void add_rdma_commands(CLI::App& app, CommandContext& context) {
  CLI::App* rdma = app.add_subcommand("rdma", "look at the RDMA of this host");
  rdma->require_subcommand(1);
  const auto address = std::make_shared<std::string>();
  CLI::App* info = context.add(
      *rdma, "info", "show devices, GIDs, what connections would use, and what is in their way",
      [&context, address]() -> Outcome<void> {
        const Config& config = context.program().config();
        const std::string text = address->empty() ? config.get_string("public_addr") : *address;
        msgr::Address local;
        if (!text.empty()) {
          auto parsed = msgr::Address::parse(text);
          if (!parsed) return failure(parsed.error());
          local = *parsed;
        }
        const msgr::RdmaReport report = msgr::make_rdma_report(config, local);
        print_visible(stdout, "%s", (context.wants_json() ? report.json : report.text).c_str());
        if (report.works) return {};
        return failure(std::errc::no_such_device, "RDMA does not work here; see above");
      });
  info->add_option("address", *address,
                   "local address of the connections; without it, public_addr");
}

}  // namespace lunar::tools
