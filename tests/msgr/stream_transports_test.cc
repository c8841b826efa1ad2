// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/local/local_stack.h"
#include "msgr/loopback/loopback_stack.h"
#include "msgr/posix/posix_stack.h"
#include "tests/msgr/local/folder_stack.h"
#include "tests/msgr/tls/tls_stack.h"
#include "tests/msgr/transport_test.h"

namespace lunar::msgr {
namespace {

std::unique_ptr<NetworkStack> make_loopback(std::size_t buffer_budget_bytes) {
  LoopbackOptions options;
  options.buffer_budget_bytes = buffer_budget_bytes;
  return std::make_unique<LoopbackStack>(options);
}
std::unique_ptr<NetworkStack> make_posix(std::size_t buffer_budget_bytes) {
  PosixStackOptions options;
  options.buffer_budget_bytes = buffer_budget_bytes;
  options.tcp_rcvbuf = 1u << 20;  // or a host with huge socket buffers takes all a test sends
  return std::move(*PosixStack::create(options));
}

std::unique_ptr<NetworkStack> make_tls(std::size_t buffer_budget_bytes) {
  return std::make_unique<TlsStack>(make_posix(buffer_budget_bytes));
}

std::unique_ptr<NetworkStack> make_local(std::size_t buffer_budget_bytes) {
  PosixStackOptions options;
  options.buffer_budget_bytes = buffer_budget_bytes;
  return std::make_unique<local::FolderStack>(options);
}

}  // namespace

std::vector<Transport> transports_under_test() {
  return {{"Loopback", "127.0.0.1:0", make_loopback}, {"PosixIpv4", "127.0.0.1:0", make_posix},
          {"Tls", "127.0.0.1:0", make_tls},           {"LocalIpv4", "127.0.0.1:0", make_local},
          {"LocalIpv6", "[::1]:0", make_local},       {"PosixIpv6", "[::1]:0", make_posix}};
}

}  // namespace lunar::msgr
