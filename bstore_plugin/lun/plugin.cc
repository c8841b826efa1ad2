// SPDX-License-Identifier: GPL-2.0-only
#include <sys/stat.h>

#include <cstdlib>
#include <exception>
#include <map>
#include <optional>
#include <string>

#include "bstore_plugin/lun/last_error.h"
#include "bstore_plugin/lun/lun.h"
#include "bstore_plugin/lun/shared_cluster.h"
#include "bstore_plugin/lun/tgt_version.h"
#include "bstore_plugin/plugin_api.h"
#include "common/log.h"
#include "common/run_in_time.h"

// The entry points of plugin_api.h. Our code throws nothing; what libraries might throw (out of
// memory) ends in std::terminate, as noexcept says, with a message in tgtd's log by the runtime.

namespace lunar::bstore_plugin {
namespace {

// Never destroyed: tgtd exits with LUNs open.
struct Plugin {
  const lunar_host* host = nullptr;
  std::string tgt_version;
  std::optional<Outcome<void>> version_check;      // made once
  std::map<std::string, SharedCluster*> clusters;  // by BsOptions::cluster_key()
  // Of the first cluster that has any: tgt takes a buffer before it knows the LUN. Commands of
  // another cluster find it foreign and send its bytes inline.
  gateway::DataBuffers* data_buffers = nullptr;
  bool drives_tcp = false;  // tgtd's iSCSI/TCP connections are driven by us
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

void take_data_buffers(SharedCluster& cluster) {
  Plugin& self = plugin();
  const lunar_host& host = cluster.host();
  if (self.data_buffers != nullptr || cluster.data_buffers() == nullptr) return;
  self.data_buffers = cluster.data_buffers();
  if (self.drives_tcp) return;  // which takes its buffers from lunar_plugin_alloc_buffer()
  if (host.take_data_buffers() == 0) return;
  remember_error(host,
                 "this tgtd has no iSCSI/TCP transport whose buffers could be registered: payload "
                 "travels inline");
}

// Reads files, which may be where nobody answers.
Outcome<std::string> find_cluster_key(const BsOptions& options) {
  using Key = Outcome<std::string>;
  auto key = run_in_time<Key>(
      [options]() -> Key {
        struct stat status {};
        if (!options.conf.empty() && ::stat(options.conf.c_str(), &status) == 0 &&
            !S_ISREG(status.st_mode)) {
          return failure(std::errc::invalid_argument,
                         "bsopts: conf=" + options.conf + " is not a regular file");
        }
        return options.cluster_key();
      },
      kFileTimeout);
  if (!key) return failure(no_file_in_time(options));
  return std::move(*key);
}

// It knows structures of tgt that no header has, so a version that is only warned of is refused
// here.
void take_tcp(SharedCluster& cluster, const lunar_host& host) {
  Plugin& self = plugin();
  if (self.drives_tcp || !cluster.config().get_bool("lunar_fast_iscsi")) return;
  if (!*self.version_check) {
    return remember_error(host,
                          "lunar_fast_iscsi is not used: " + self.version_check->error().message);
  }
  if (host.take_tcp(&cluster.perf()) != 0) {
    return remember_error(host,
                          "lunar_fast_iscsi is not used: this tgtd has no iSCSI/TCP transport");
  }
  self.drives_tcp = true;
}

// The cluster that these options name, opened if it is the first LUN of it. An Error if it cannot
// be, or if overrides differ from those it was opened with.
Outcome<SharedCluster*> find_or_open_cluster(const BsOptions& options, const lunar_host& host) {
  auto& clusters = plugin().clusters;
  const auto key = find_cluster_key(options);
  if (!key) return failure(key.error());
  const auto found = clusters.find(*key);
  if (found != clusters.end()) {
    if (options.overrides.empty() || options.overrides == found->second->overrides()) {
      return found->second;
    }
    return failure(std::errc::invalid_argument,
                   "bsopts: the cluster is already open as client." + options.id +
                       " with other options; give every LUN of it the same");
  }
  auto cluster = SharedCluster::create(options, host, check_version_once, take_data_buffers);
  if (!cluster) return cluster;
  clusters[*key] = *cluster;
  take_tcp(**cluster, host);
  return cluster;
}

}  // namespace
}  // namespace lunar::bstore_plugin

using lunar::bstore_plugin::BsOptions;
using lunar::bstore_plugin::plugin;
using lunar::bstore_plugin::remember_error;

extern "C" {

void lunar_plugin_init(const lunar_host* host, const char* tgt_version) {
  plugin().host = host;
  plugin().tgt_version = tgt_version;
  // Opens the cluster early where there is a configuration: the first LUN then finds it open.
  if (std::getenv("LUNAR_CONF") == nullptr) return;
  const auto cluster = lunar::bstore_plugin::find_or_open_cluster(BsOptions{}, *host);
  if (!cluster) {
    LUNAR_LOG(kTgt, 1, "the cluster was not opened early: {}", cluster.error().message);
  }
}

void lunar_plugin_refuse(const char* sentence) { remember_error(*plugin().host, sentence); }

lunar_lun* lunar_lun_create(void* lu, const char* bsopts) {
  const lunar_host& host = *plugin().host;
  auto options = BsOptions::parse(bsopts == nullptr ? "" : bsopts);
  if (!options) {
    remember_error(host, options.error().message);
    return nullptr;
  }
  auto cluster = lunar::bstore_plugin::find_or_open_cluster(*options, host);
  if (!cluster) {
    remember_error(host, cluster.error().message);
    return nullptr;
  }
  auto* lun = new lunar_lun;
  lun->lu = lu;
  lun->options = std::move(*options);
  lun->cluster = *cluster;
  return lun;
}

void lunar_lun_destroy(lunar_lun* lun) {
  lun->close();
  delete lun;
}

lunar_open_outcome lunar_lun_open(lunar_lun* lun, const char* path, uint32_t block_bytes,
                                  lunar_lun_info* info) {
  return lun->open(path, block_bytes, *info);
}

uint16_t lunar_lun_unready(const lunar_lun* lun) { return static_cast<uint16_t>(lun->unready()); }

void lunar_lun_close(lunar_lun* lun) { lun->close(); }

void lunar_lun_submit(lunar_lun* lun, const lunar_scsi_command* command) { lun->submit(*command); }

void lunar_lun_write_back(lunar_lun* lun) { lun->write_back(); }

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
