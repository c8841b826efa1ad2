// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "common/file.h"
#include "gateway/image_directory.h"
#include "tools/lunar/command.h"
#include "tools/lunar/sparse.h"

// import and export: extent by extent, several in flight, holes stay holes on both sides.

namespace lunar::tools {
namespace {

constexpr std::size_t kGrain = 4096;  // runs of zeroes shorter than this are written as data
constexpr std::size_t kExtentBytes = 4u << 20;
constexpr std::size_t kExtentsInFlight = 8;

struct TransferArguments {
  std::string from;
  std::string to;
  uint64_t size = 0;
  uint64_t object_size = 0;
};

bool same_word(ConstBytes data) noexcept {
  return std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0;
}

// Reads until `into` is full or the input ends; how much there was.
Result<std::size_t> read_full(int fd, Bytes into) {
  std::size_t got = 0;
  while (got < into.size()) {
    const ssize_t n = read(fd, into.data() + got, into.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failure(last_system_error());
    if (n == 0) break;
    got += static_cast<std::size_t>(n);
  }
  return got;
}

std::error_code write_at(int fd, ConstBytes data, uint64_t offset) {
  while (!data.empty()) {
    const ssize_t n = pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return last_system_error();
    data = data.subspan(static_cast<std::size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

// Reads a file extent by extent and writes what is not zero to an image.
class Import {
 public:
  Import(int fd, uint64_t size, gateway::Image& image, ProgressLine& line)
      : fd_(fd), size_(size), image_(image), line_(line) {}

  Outcome<void> run(ClusterHandle& cluster) {
    while (offset_ < size_ && !error_) {
      cluster.run_until([this] { return extents_in_flight_ < kExtentsInFlight || error_; });
      if (!error_) next_extent();
    }
    cluster.run_until([this] { return extents_in_flight_ == 0; });
    if (!error_) {
      bool is_flushed = false;
      image_.flush({}, [&](const gateway::IoResult& result) {
        error_ = result.error;
        is_flushed = true;
      });
      cluster.run_until([&is_flushed] { return is_flushed; });
    }
    if (error_) return failure(error_, "import failed: " + error_.message());
    return {};
  }

 private:
  struct InputExtent {
    std::vector<std::byte> data;
    int writes = 1;  // one for next_extent() itself
  };

  // The next offset that may hold data: a hole of the file is passed over unread.
  void skip_hole() {
    const off_t data = lseek(fd_, static_cast<off_t>(offset_), SEEK_DATA);
    if (data < 0 && errno == ENXIO) offset_ = size_;  // nothing but hole
    if (data < 0) return;                             // a pipe, or no such thing there
    offset_ = std::max(offset_, static_cast<uint64_t>(data) / kGrain * kGrain);
    lseek(fd_, static_cast<off_t>(offset_), SEEK_SET);
  }

  void next_extent() {
    skip_hole();
    if (offset_ >= size_) return;
    auto extent = std::make_shared<InputExtent>();
    const uint64_t to_boundary = kExtentBytes - offset_ % kExtentBytes;
    extent->data.resize(std::min<uint64_t>(to_boundary, size_ - offset_));
    const auto got = read_full(fd_, extent->data);
    if (!got) {
      error_ = got.error();
      return;
    }
    if (*got == 0) {
      offset_ = size_;
      return;
    }
    std::fill(extent->data.begin() + static_cast<std::ptrdiff_t>(*got), extent->data.end(),
              std::byte{0});  // the image is a multiple of 4096, the file need not be
    ++extents_in_flight_;
    for_each_nonzero_run(extent->data, kGrain, [&](std::size_t at, std::size_t length) {
      ++extent->writes;
      image_.write(offset_ + at, ConstBytes(extent->data).subspan(at, length), {},
                   [this, extent](const gateway::IoResult& result) {
                     if (result.error && !error_) error_ = result.error;
                     finish_write(*extent);
                   });
    });
    offset_ += extent->data.size();
    line_.show(offset_, size_);
    finish_write(*extent);
  }

  void finish_write(InputExtent& extent) {
    if (--extent.writes == 0) --extents_in_flight_;
  }

  const int fd_;
  const uint64_t size_;
  gateway::Image& image_;
  ProgressLine& line_;
  uint64_t offset_ = 0;
  std::size_t extents_in_flight_ = 0;
  std::error_code error_;
};

// Reads an image extent by extent and writes what is not zero to a file at its place, or everything
// to a pipe in order.
class Export {
 public:
  Export(int fd, bool is_sparse, gateway::Image& image, ProgressLine& line)
      : fd_(fd), is_sparse_(is_sparse), image_(image), line_(line) {}

  Outcome<void> run(ClusterHandle& cluster) {
    for (uint64_t offset = 0; offset < image_.size() && !error_; offset += kExtentBytes) {
      cluster.run_until(
          [&] { return in_flight_.size() < (is_sparse_ ? kExtentsInFlight : 1) || error_; });
      if (!error_) start_extent(offset);
    }
    cluster.run_until([this] { return in_flight_.empty(); });
    if (!error_ && is_sparse_) {
      if (ftruncate(fd_, static_cast<off_t>(image_.size())) != 0 || fsync(fd_) != 0) {
        error_ = last_system_error();
      }
    }
    if (error_) return failure(error_, "export failed: " + error_.message());
    return {};
  }

 private:
  struct OutputExtent {
    uint64_t offset;
    std::vector<std::byte> data;
  };

  void start_extent(uint64_t offset) {
    in_flight_.push_back(std::make_unique<OutputExtent>());
    OutputExtent* extent = in_flight_.back().get();
    extent->offset = offset;
    extent->data.resize(std::min<uint64_t>(kExtentBytes, image_.size() - offset));
    const std::size_t extent_bytes = extent->data.size();
    image_.read(
        offset, extent->data, {}, [this, extent, extent_bytes](const gateway::IoResult& result) {
          if (!error_) error_ = result.error ? result.error : store(*extent);
          std::erase_if(in_flight_, [extent](const auto& each) { return each.get() == extent; });
          bytes_done_ += extent_bytes;
          line_.show(bytes_done_, image_.size());
        });
  }

  std::error_code store(const OutputExtent& extent) {
    if (!is_sparse_) return write_all(fd_, extent.data);
    std::error_code error;
    for_each_nonzero_run(extent.data, kGrain, [&](std::size_t at, std::size_t length) {
      if (error) return;
      error = write_at(fd_, ConstBytes(extent.data).subspan(at, length), extent.offset + at);
    });
    return error;
  }

  const int fd_;
  const bool is_sparse_;
  gateway::Image& image_;
  ProgressLine& line_;
  std::vector<std::unique_ptr<OutputExtent>> in_flight_;
  uint64_t bytes_done_ = 0;
  std::error_code error_;
};

Outcome<uint64_t> input_size(int fd, const TransferArguments& arguments) {
  struct stat status {};
  if (fstat(fd, &status) != 0) {
    return failure(file_error(arguments.from, "looking at its size", last_system_error()));
  }
  uint64_t size = S_ISREG(status.st_mode) ? static_cast<uint64_t>(status.st_size) : 0;
  if (S_ISBLK(status.st_mode)) {
    const off_t end = lseek(fd, 0, SEEK_END);
    if (end > 0) size = static_cast<uint64_t>(end);
    lseek(fd, 0, SEEK_SET);
  }
  if (arguments.size != 0) size = arguments.size;
  if (size == 0) {
    return failure(std::errc::invalid_argument,
                   "the size of " + arguments.from + " is not known or zero: give --size");
  }
  constexpr uint64_t kUnit = gateway::ImageHeader::kSizeUnit;
  return (size + kUnit - 1) / kUnit * kUnit;
}

Outcome<void> import_file(CommandContext& context, const TransferArguments& arguments) {
  const auto spec = gateway::ImageSpec::parse(arguments.to);
  if (!spec) return failure(spec.error());
  UniqueFd file;
  const bool is_stdin = arguments.from == "-";
  if (!is_stdin) {
    file.reset(::open(arguments.from.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return failure(file_error(arguments.from, "opening", last_system_error()));
  }
  const int fd = is_stdin ? STDIN_FILENO : file.get();
  const auto size = input_size(fd, arguments);
  if (!size) return failure(size.error());
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  gateway::Client& client = (*cluster)->client();
  gateway::CreateOptions options;
  options.size = *size;
  options.layout = gateway::layout_with_defaults(client, spec->pool, arguments.object_size, 0, 0);
  const auto created = (*cluster)->wait<gateway::ImageHeader>(
      [&](auto done) { gateway::create_image(client, *spec, options, std::move(done)); });
  if (!created) return failure(created.error());
  auto image = (*cluster)->open_image(arguments.to, false);
  if (!image) return failure(image.error());
  ProgressLine line("importing", context.shows_progress());
  const auto done = Import(fd, *size, **image, line).run(**cluster);
  const auto closed = (*cluster)->close_image(std::move(*image));
  return done ? closed : done;
}

Outcome<void> export_image(CommandContext& context, const TransferArguments& arguments) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  auto image = (*cluster)->open_image(arguments.from, true);
  if (!image) return failure(image.error());
  UniqueFd file;
  const bool is_stdout = arguments.to == "-";
  if (!is_stdout) {
    file.reset(::open(arguments.to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (!file) {
      const Error error = file_error(arguments.to, "making", last_system_error());
      static_cast<void>((*cluster)->close_image(std::move(*image)));
      return failure(error);
    }
  }
  ProgressLine line("exporting", context.shows_progress());
  const auto done =
      Export(is_stdout ? STDOUT_FILENO : file.get(), !is_stdout, **image, line).run(**cluster);
  const auto closed = (*cluster)->close_image(std::move(*image));
  return done ? closed : done;
}

}  // namespace

bool is_zero(ConstBytes data) noexcept {
  return data.empty() || (data[0] == std::byte{0} && same_word(data));
}

void add_transfer_commands(CLI::App& app, CommandContext& context) {
  const auto arguments = std::make_shared<TransferArguments>();
  auto* imported = context.add(app, "import", "make an image from a file, a disk or '-'",
                               [&context, arguments] { return import_file(context, *arguments); });
  imported->add_option("from", arguments->from, "file, or - for standard input")->required();
  imported->add_option("image", arguments->to, "POOL/IMAGE")->required();
  add_size_option(*imported, "--size,-s", arguments->size, "of the image; needed for -");
  add_size_option(*imported, "--object-size", arguments->object_size, "default: the pool's");

  auto* exported = context.add(app, "export", "write an image to a new file, or '-'",
                               [&context, arguments] { return export_image(context, *arguments); });
  exported->add_option("image", arguments->from, "POOL/IMAGE")->required();
  exported->add_option("to", arguments->to, "file, or - for standard output")->required();
}

}  // namespace lunar::tools
