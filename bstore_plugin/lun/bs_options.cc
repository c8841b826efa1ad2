// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/lun/bs_options.h"

#include <cstdlib>

#include "common/config.h"

namespace lunar::bstore_plugin {

Outcome<BsOptions> BsOptions::parse(std::string_view text) {
  BsOptions out;
  while (!text.empty()) {
    const auto end = text.find(';');
    const std::string_view item = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (item.empty()) continue;
    const auto equals = item.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return failure(std::errc::invalid_argument,
                     "bsopts: '" + std::string(item) +
                         "' is not NAME=VALUE; write conf=FILE;id=ID;pool=POOL;OPTION=VALUE");
    }
    const std::string name(item.substr(0, equals));
    const std::string value(item.substr(equals + 1));
    if (name == "key" || name == "secret") {
      return failure(std::errc::invalid_argument,
                     "bsopts: '" + name +
                         "' is refused, tgtd logs bsopts; put the key into a "
                         "keyring file (mode 0600) and name it with keyring=FILE");
    }
    if (name == "conf") {
      out.conf = value;
    } else if (name == "id") {
      out.id = value;
    } else if (name == "cluster") {
      out.cluster = value;
    } else if (name == "pool") {
      out.pool = value;
    } else if (name == "lock") {
      const auto lock = gateway::parse_open_lock(value);
      if (!lock) {
        return failure(std::errc::invalid_argument,
                       "bsopts: lock=" + value + " is not known: exclusive, takeover or shared");
      }
      out.lock = *lock;
    } else {
      out.overrides[name] = value;
    }
  }
  return out;
}

std::string BsOptions::cluster_key() const {
  Config probe(EntityName{"client", id}, cluster);
  // A file that cannot be read is an error when the cluster is opened; here its name will do.
  const bool is_loaded = probe.load(conf).has_value();
  std::string file = is_loaded ? probe.file() : conf;
  if (char* resolved = realpath(file.c_str(), nullptr); resolved != nullptr) {
    file = resolved;
    std::free(resolved);
  }
  return cluster + "\n" + id + "\n" + file;
}

}  // namespace lunar::bstore_plugin
