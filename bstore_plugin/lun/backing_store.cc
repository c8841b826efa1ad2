// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/lun/backing_store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <string_view>
#include <utility>

#include "common/file.h"
#include "common/run_in_time.h"

namespace lunar::bstore_plugin {
namespace {

constexpr std::size_t kMaxDescriptorBytes = 4096;
constexpr std::string_view kScheme = "lunar:";

Outcome<std::string> read_descriptor(const std::string& path) {
  // A FIFO would wait for a writer.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return failure(file_error(path, "cannot open the descriptor", last_system_error()));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0)
    return failure(file_error(path, "cannot examine the descriptor", last_system_error()));
  if (!S_ISREG(status.st_mode)) {
    return failure(std::errc::invalid_argument,
                   path +
                       " is no regular file: write POOL/IMAGE, or name a file whose first line "
                       "is lunar:POOL/IMAGE");
  }
  return read_open_file(fd.get(), path, kMaxDescriptorBytes);
}

Outcome<std::string> image_of(const std::string& path, std::string_view content) {
  std::string_view line = content.substr(0, content.find('\n'));
  while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);
  if (!line.starts_with(kScheme) || line.find('\0') != std::string_view::npos) {
    return failure(std::errc::invalid_argument,
                   path + " does not describe a LUN: its first line has to be lunar:POOL/IMAGE");
  }
  return std::string(line.substr(kScheme.size()));
}

}  // namespace

Outcome<gateway::ImageSpec> parse_backing_store(const std::string& backing_store,
                                                const std::string& pool,
                                                std::chrono::milliseconds timeout) {
  std::string text = backing_store;
  if (text.starts_with('/')) {
    using Content = Outcome<std::string>;
    const auto content =
        run_in_time<Content>([path = text] { return read_descriptor(path); }, timeout);
    if (!content) {
      return failure(std::errc::timed_out, text +
                                               " cannot be read in time: is it on a server "
                                               "that does not answer?");
    }
    if (!*content) {
      if (content->error().code != std::errc::file_too_large) return failure(content->error());
      return failure(std::errc::file_too_large,
                     text + " is too large to describe a LUN: it has one line, lunar:POOL/IMAGE");
    }
    auto named = image_of(text, **content);
    if (!named) return failure(named.error());
    text = std::move(*named);
  }
  if (text.find('/') == std::string::npos && !pool.empty()) text = pool + "/" + text;
  return gateway::ImageSpec::parse(text);
}

}  // namespace lunar::bstore_plugin
