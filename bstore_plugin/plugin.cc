// SPDX-License-Identifier: GPL-2.0-only
#include <cstdlib>
#include <exception>
#include <map>
#include <optional>
#include <string>

#include "bstore_plugin/last_error.h"
#include "bstore_plugin/lun.h"
#include "bstore_plugin/plugin_api.h"
#include "bstore_plugin/sessions.h"
#include "common/log.h"

// The entry points of plugin_api.h. Our code throws nothing; what libraries might throw (out of
// memory) ends in std::terminate, as noexcept says, with a message in tgtd's log by the runtime.

namespace lunar::bstore_plugin {
namespace {

// Never destroyed: tgtd exits with LUNs open.
struct Plugin {
  const lunar_host* host = nullptr;
  std::string tgt_version;
  std::optional<Outcome<void>> version_check;  // made once
  std::map<std::string, GatewaySession*> sessions;
  // Of the first session that has any: tgt takes a buffer before it knows the LUN. Commands of
  // another cluster find it foreign and send its bytes inline.
  gateway::DataBuffers* data_buffers = nullptr;
};

Plugin& plugin() {
  static auto* const instance = new Plugin;
  return *instance;
}

Outcome<void> check_version_once(const Config& config) {
  Plugin& self = plugin();
  if (!self.version_check) self.version_check = check_tgt_version(self.tgt_version);
  if (*self.version_check) return {};
  if (config.get_string("lunar_tgt_version_check") == "refuse") return *self.version_check;
  LUNAR_ERROR(kTgt, "{}", self.version_check->error().message);
  return {};
}

void take_data_buffers(GatewaySession& session, const lunar_host& host) {
  Plugin& self = plugin();
  if (self.data_buffers != nullptr || session.data_buffers() == nullptr) return;
  self.data_buffers = session.data_buffers();
  if (host.take_data_buffers() == 0) return;
  remember_error(host,
                 "this tgtd has no iSCSI/TCP transport whose buffers could be registered: payload "
                 "travels inline");
}

}  // namespace

Outcome<GatewaySession*> find_or_create_session(const BsOptions& options, const lunar_host& host) {
  auto& sessions = plugin().sessions;
  const auto found = sessions.find(options.session_key());
  if (found != sessions.end()) {
    if (options.overrides.empty() || options.overrides == found->second->overrides()) {
      return found->second;
    }
    return failure(std::errc::invalid_argument,
                   "bsopts: the session of client." + options.id +
                       " is open with other options; give every LUN of it the same");
  }
  auto session = GatewaySession::create(options, host);
  if (!session) return session;
  if (auto checked = check_version_once((*session)->config()); !checked) {
    return failure(checked.error());
  }
  sessions[options.session_key()] = *session;
  take_data_buffers(**session, host);
  return session;
}

}  // namespace lunar::bstore_plugin

using lunar::bstore_plugin::BsOptions;
using lunar::bstore_plugin::plugin;
using lunar::bstore_plugin::remember_error;

extern "C" {

void lunar_plugin_init(const lunar_host* host, const char* tgt_version) {
  plugin().host = host;
  plugin().tgt_version = tgt_version;
  // The session starts early where there is a configuration: the first LUN then finds it open.
  if (std::getenv("LUNAR_CONF") == nullptr) return;
  const auto session = lunar::bstore_plugin::find_or_create_session(BsOptions{}, *host);
  if (!session) {
    LUNAR_LOG(kTgt, 1, "no early session: {}", session.error().message);
  }
}

lunar_lun* lunar_lun_create(void* lu, const char* bsopts) {
  const lunar_host& host = *plugin().host;
  auto options = BsOptions::parse(bsopts == nullptr ? "" : bsopts);
  if (!options) {
    remember_error(host, options.error().message);
    return nullptr;
  }
  auto session = lunar::bstore_plugin::find_or_create_session(*options, host);
  if (!session) {
    remember_error(host, session.error().message);
    return nullptr;
  }
  auto* lun = new lunar_lun;
  lun->lu = lu;
  lun->options = std::move(*options);
  lun->session = *session;
  return lun;
}

void lunar_lun_destroy(lunar_lun* lun) {
  lun->close();
  delete lun;
}

int lunar_lun_open(lunar_lun* lun, const char* path, uint32_t block_bytes, lunar_lun_info* info) {
  return lun->open(path, block_bytes, *info);
}

void lunar_lun_close(lunar_lun* lun) { lun->close(); }

void lunar_lun_submit(lunar_lun* lun, const lunar_scsi_command* command) { lun->submit(*command); }

void* lunar_plugin_alloc_buffer(size_t bytes) {
  // A page is what the pool gives at the least; what is smaller is never worth a key.
  constexpr size_t kSmallest = 4096;
  lunar::gateway::DataBuffers* const buffers = plugin().data_buffers;
  return buffers == nullptr || bytes < kSmallest ? nullptr : buffers->allocate(bytes);
}

int lunar_plugin_free_buffer(void* buffer) {
  lunar::gateway::DataBuffers* const buffers = plugin().data_buffers;
  return buffers != nullptr && buffers->release(buffer) ? 1 : 0;
}

}  // extern "C"
