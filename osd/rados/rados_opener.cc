// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/rados/rados_opener.h"

#include <dlfcn.h>
#include <fmt/core.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "common/bytes.h"
#include "common/file.h"
#include "common/log.h"
#include "common/program.h"
#include "osd/rados/rados_store.h"

namespace lunar::osd {
namespace {

constexpr char kModule[] = "lunar_rados.so";
constexpr char kClientFile[] = "rados_client";
constexpr std::size_t kMaxAddressBytes = 4096;

// In a build it lies beside the program, installed in a folder of its own.
void* load_module(std::string& error) {
  std::error_code none;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", none);
  for (const auto& folder : {program.parent_path(), std::filesystem::path(LUNAR_MODULE_DIR)}) {
    const auto module = folder / kModule;
    if (!std::filesystem::exists(module, none)) continue;
    void* const loaded = ::dlopen(module.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (loaded == nullptr)
      error =
          fmt::format("{}: {}; is the package librados2 installed?", module.string(), ::dlerror());
    return loaded;
  }
  error = fmt::format("{}/{} is not installed: this build of lunar-osd has no store of rados",
                      LUNAR_MODULE_DIR, kModule);
  return nullptr;
}

// Ends what the last start has sent, and notes by which name this one can be ended.
Outcome<void> fence_last_start(RadosClient& client, const std::string& path) {
  const std::string file = path + "/" + kClientFile;
  const auto last = read_file(file, kMaxAddressBytes);
  if (!last && last.error().code != std::errc::no_such_file_or_directory)
    return failure(last.error());
  if (last) {
    const int error = client.blocklist(*last);
    if (error != 0)
      return failure(system_error(-error),
                     why_not_fenced(*last, error) +
                         "; it is that of the last start, and must be fenced first. The "
                         "capabilities of rados_id need mon 'profile rbd', or allow command \"osd "
                         "blocklist\"");
  }
  const auto noted = write_file_atomically(file, as_const_bytes(client.address()));
  if (!noted) return failure(noted.error());
  return {};
}

}  // namespace

Outcome<std::unique_ptr<RadosClient>> connect_rados(const RadosOptions& options) {
  std::string error;
  void* const module = load_module(error);
  if (module == nullptr) return failure(std::errc::no_such_file_or_directory, error);
  const auto* const release = static_cast<const char*>(::dlsym(module, kRadosReleaseSymbol));
  const auto connect = reinterpret_cast<RadosConnect>(::dlsym(module, kRadosConnectSymbol));
  if (release == nullptr || connect == nullptr || release != version())
    return failure(std::errc::invalid_argument,
                   fmt::format("{} is of release {}, and lunar-osd of {}: install both from one",
                               kModule, release == nullptr ? "unknown" : release, version()));
  RadosRefusal refusal;
  std::unique_ptr<RadosClient> client(connect(options, refusal));
  if (!client) return failure(system_error(-refusal.error), refusal.sentence);
  return client;
}

Outcome<std::unique_ptr<ObjectStore>> open_rados_store(msgr::EventCenter& center,
                                                       msgr::BufferPool& buffers,
                                                       std::unique_ptr<ObjectStore> home,
                                                       const std::string& path,
                                                       const RadosOptions& options) {
  auto client = connect_rados(options);
  if (!client) return failure(client.error());
  const auto fenced = fence_last_start(**client, path);
  if (!fenced) return failure(fenced.error());
  LUNAR_LOG(kStore, 1, "objects are in RADOS; this server's client is {}", (*client)->address());
  return std::make_unique<RadosStore>(center, buffers, std::move(home), std::move(*client));
}

}  // namespace lunar::osd
