// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/daemon/cluster_setup.h"

#include <fmt/core.h>
#include <sys/socket.h>

#include <charconv>
#include <optional>
#include <utility>

#include "common/file.h"
#include "osd/map/map_authority.h"
#include "osd/rados/rados_opener.h"
#include "osd/service/server_options.h"
#include "osd/store/file_store.h"
#include "osd/store/mem_store.h"

namespace lunar::osd {
namespace {

Outcome<std::optional<Uuid>> fsid_from(const Config& config) {
  const std::string text = config.get_string("fsid");
  if (text.empty()) return std::optional<Uuid>();
  const auto fsid = Uuid::parse(text);
  if (!fsid || fsid->is_nil())
    return failure(std::errc::invalid_argument, "fsid = " + text + ": not a UUID");
  return fsid;
}

FileStoreOptions file_options(const Config& config) {
  FileStoreOptions options;
  options.path = config.get_string("osd_data");
  options.reserve_bytes = config.get_size("osd_reserve_bytes");
  options.direct_io_bytes = config.get_size("osd_direct_io_bytes");
  return options;
}

// Runs the loop until `done` was called.
std::error_code put_map(msgr::EventCenter& center, ObjectStore& store,
                        const objecter::OsdMap& map) {
  std::vector<std::byte> record;
  objecter::encode(map, record);
  std::error_code result;
  store.put_record(kMapRecord, std::move(record), [&](std::error_code error) {
    result = error;
    store.shutdown([&center] { center.stop(); });
  });
  center.run();
  return result;
}

Outcome<void> make_first_map_in(const Config& config, const StoreIdentity& identity) {
  auto center = msgr::EventCenter::create({});
  if (!center) return failure(center.error(), "cannot make an event loop");
  const auto buffers = msgr::make_heap_buffer_pool(1u << 20, 0);
  FileStoreOptions options = file_options(config);
  options.reserve_bytes = 0;
  auto store = open_file_store(**center, *buffers, options);
  if (!store) return failure(store.error());
  const auto map = make_first_map(identity.fsid, identity.osd, identity.store);
  if (const auto error = put_map(**center, **store, map); error)
    return failure(error, options.path + ": the map cannot be written: " + error.message());
  return {};
}

// The address of ours that packets to others leave from.
msgr::Address outside_address(const std::vector<msgr::Address>& others) {
  msgr::Address to = others.empty() ? *msgr::Address::parse("192.0.2.1:9") : others.front();
  sockaddr_storage storage{};
  const socklen_t length = to.to_sockaddr(storage);
  const UniqueFd socket(::socket(storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage ours{};
  socklen_t ours_length = sizeof ours;
  // Connecting a datagram socket sends nothing: it only chooses the route.
  if (!socket || ::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&ours), &ours_length) != 0)
    return msgr::Address::loopback();
  return msgr::Address::from_sockaddr(reinterpret_cast<sockaddr*>(&ours));
}

// Of all addresses where peers prove who they are; else only this host may connect.
std::string_view default_listen_address(const Config& config) {
  const bool is_open = msgr::requires_authentication(config);
  if (config.get_bool("ms_bind_ipv4")) return is_open ? "0.0.0.0" : "127.0.0.1";
  return is_open ? "::" : "::1";
}

}  // namespace

Outcome<OsdId> osd_id_from(const Config& config) {
  const EntityName& name = config.name();
  OsdId id = -1;
  const auto [end, error] = std::from_chars(name.id.data(), name.id.data() + name.id.size(), id);
  const bool is_all_digits = end == name.id.data() + name.id.size();
  if (name.type != "osd" || error != std::errc() || !is_all_digits || id < 0)
    return failure(std::errc::invalid_argument,
                   fmt::format("'{}' is not the name of an object server; give its number, as in "
                               "-i 0",
                               name.to_string()));
  return id;
}

Outcome<std::string> make_osd(const Config& config, bool makes_map) {
  const auto id = osd_id_from(config);
  if (!id) return failure(id.error());
  if (config.get_string("osd_objectstore") == "mem")
    return failure(std::errc::invalid_argument,
                   "osd_objectstore = mem keeps nothing, so there is nothing to make; start the "
                   "server without --mkfs");
  auto fsid = fsid_from(config);
  if (!fsid) return failure(fsid.error());
  if (!*fsid) {
    if (!makes_map)
      return failure(std::errc::invalid_argument,
                     "--mkfs has to know the cluster: give --fsid UUID (`lunar status` shows it), "
                     "or --mkmap to make a new cluster");
    *fsid = Uuid::random();
  }
  const std::string path = config.get_string("osd_data");
  const auto identity = make_file_store(path, **fsid, *id);
  if (!identity) return failure(identity.error());
  if (makes_map) {
    const auto made = make_first_map_in(config, *identity);
    if (!made) return failure(made.error());
  }
  return fmt::format("osd.{} store {} of cluster {} made in {}{}", *id, identity->store.to_string(),
                     identity->fsid.to_string(), path,
                     makes_map ? ", with the cluster's first map" : "");
}

Outcome<std::unique_ptr<ObjectStore>> open_store(msgr::EventCenter& center,
                                                 msgr::BufferPool& buffers, const Config& config,
                                                 PerfRegistry& perf, bool makes_map) {
  const auto id = osd_id_from(config);
  if (!id) return failure(id.error());
  auto fsid = fsid_from(config);
  if (!fsid) return failure(fsid.error());
  const std::string kind = config.get_string("osd_objectstore");
  if (kind != "mem") {
    if (makes_map)
      return failure(std::errc::invalid_argument, "--mkmap goes with --mkfs, or with a mem store");
    FileStoreOptions options = file_options(config);
    options.fsid = *fsid;
    options.osd = *id;
    options.perf = &perf;
    auto store = open_file_store(center, buffers, options);
    if (!store || kind == "file") return store;
    return open_rados_store(center, buffers, std::move(*store), options.path,
                            {config.get_string("rados_conf"), config.get_string("rados_id")});
  }
  if (!*fsid && !makes_map)
    return failure(std::errc::invalid_argument,
                   "osd_objectstore = mem has to know the cluster: give --fsid UUID, or --mkmap to "
                   "make a new cluster");
  MemStore::Options options;
  options.identity = {*fsid ? **fsid : Uuid::random(), Uuid::random(), *id};
  auto store = std::make_unique<MemStore>(center, buffers, options);
  if (makes_map) {
    std::vector<std::byte> record;
    objecter::encode(make_first_map(options.identity.fsid, *id, options.identity.store), record);
    store->put_record(kMapRecord, std::move(record), [](std::error_code) {});
  }
  return store;
}

Outcome<OsdServer::Listen> listen_from(const Config& config) {
  OsdServer::Listen listen;
  const std::string text = config.get_string("public_addr");
  auto address = msgr::Address::parse(!text.empty() ? text : default_listen_address(config));
  if (!address)
    return failure(address.error().code, "public_addr = " + text + ": " + address.error().message);
  const std::string_view family = address->is_ipv6() ? "ms_bind_ipv6" : "ms_bind_ipv4";
  if (!config.get_bool(family))
    return failure(
        std::errc::invalid_argument,
        fmt::format("the server is to listen on {}, and {} is off", address->to_string(), family));
  if (address->port() != 0) {
    listen.addresses.push_back(*address);
  } else {
    const uint64_t last = config.get_uint("ms_bind_port_max");
    for (uint64_t port = config.get_uint("ms_bind_port_min"); port <= last; ++port) {
      address->set_port(static_cast<uint16_t>(port));
      listen.addresses.push_back(*address);
    }
    if (listen.addresses.empty())
      return failure(std::errc::invalid_argument, "ms_bind_port_max is below ms_bind_port_min");
  }
  const auto options = OsdServerOptions::from_config(config);
  if (!options) return failure(options.error());
  listen.outside = outside_address(options->bootstrap);
  return listen;
}

}  // namespace lunar::osd
