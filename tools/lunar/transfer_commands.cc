// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "common/file.h"
#include "gateway/image_directory.h"
#include "tools/lunar/command.h"
#include "tools/lunar/export_target.h"
#include "tools/lunar/new_image.h"
#include "tools/lunar/sparse.h"
#include "tools/lunar/stop_signals.h"

// import and export: extent by extent, several in flight, holes stay holes on both sides.

namespace lunar::tools {
namespace {

constexpr std::size_t kGrain = 4096;  // runs of zeroes shorter than this are written as data
constexpr std::size_t kExtentBytes = 4u << 20;
constexpr std::size_t kExtentsInFlight = 8;

struct TransferArguments {
  std::string from;   // file, of an import
  std::string image;  // POOL/IMAGE
  std::string to;     // file, of an export
  uint64_t size = 0;  // 0: not given
  uint64_t object_size = 0;
  bool pads = false;
  bool cuts = false;
  bool overwrites = false;
};

bool same_word(ConstBytes data) noexcept {
  return std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0;
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

// Reads until `into` is full or the input ends; how much there was. A pipe may be slow, which must
// not keep the loop from its work.
Result<std::size_t> read_full(ClusterHandle& cluster, int fd, Bytes into) {
  std::size_t got = 0;
  while (got < into.size()) {
    cluster.run_until([] { return StopSignals::has_received(); }, fd);
    if (StopSignals::has_received()) return failure(StopSignals::error().code);
    const ssize_t n = read(fd, into.data() + got, into.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failure(last_system_error());
    if (n == 0) break;
    got += static_cast<std::size_t>(n);
  }
  return got;
}

// Reads a file extent by extent and writes what is not zero to an image, up to `size` bytes.
class Import {
 public:
  Import(int fd, uint64_t size, gateway::Image& image, ProgressLine& line)
      : fd_(fd), size_(size), image_(image), line_(line) {}

  // Where the input ended, if that was before `size`.
  const std::optional<uint64_t>& ended_at() const noexcept { return ended_at_; }

  Outcome<void> run(ClusterHandle& cluster) {
    while (offset_ < size_ && !error_) {
      cluster.run_until([this] { return extents_in_flight_ < kExtentsInFlight || error_; });
      if (!error_) next_extent(cluster);
      if (StopSignals::has_received() && !error_) error_ = StopSignals::error().code;
    }
    cluster.run_until([this] { return extents_in_flight_ == 0; });
    if (StopSignals::has_received() && !error_) error_ = StopSignals::error().code;
    if (!error_) error_ = flush_image(cluster, image_);
    if (error_) return failure(StopSignals::error_of("import", error_));
    line_.show(size_, size_);  // the end may be a hole
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
    if (data < 0 && errno == ENXIO) end_in_hole();  // nothing but hole
    if (data < 0) return;                           // a pipe, or no such thing there
    offset_ = std::max(offset_, static_cast<uint64_t>(data) / kGrain * kGrain);
    lseek(fd_, static_cast<off_t>(offset_), SEEK_SET);
  }

  void end_in_hole() {
    struct stat status {};
    if (fstat(fd_, &status) != 0) {
      error_ = last_system_error();
      return;
    }
    const auto end = static_cast<uint64_t>(status.st_size);
    if (end < size_) ended_at_ = std::max(end, offset_);
    offset_ = size_;
  }

  void next_extent(ClusterHandle& cluster) {
    skip_hole();
    if (offset_ >= size_) return;
    auto extent = std::make_shared<InputExtent>();
    const uint64_t to_boundary = kExtentBytes - offset_ % kExtentBytes;
    const uint64_t wanted = std::min<uint64_t>(to_boundary, size_ - offset_);
    extent->data.resize(wanted);
    const auto got = read_full(cluster, fd_, extent->data);
    if (!got) {
      error_ = got.error();
      return;
    }
    if (*got < wanted) ended_at_ = offset_ + *got;
    if (*got == 0) {
      offset_ = size_;
      return;
    }
    extent->data.resize(*got);
    ++extents_in_flight_;
    for_each_nonzero_run(extent->data, kGrain, [&](std::size_t at, std::size_t length) {
      ++extent->writes;
      image_.write(offset_ + at, ConstBytes(extent->data).subspan(at, length), {},
                   [this, extent](const gateway::IoResult& result) {
                     if (result.error && !error_) error_ = result.error;
                     finish_write(*extent);
                   });
    });
    offset_ = ended_at_ ? size_ : offset_ + extent->data.size();
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
  std::optional<uint64_t> ended_at_;
  std::size_t extents_in_flight_ = 0;
  std::error_code error_;
};

// Reads an image extent by extent and writes what is not zero to a file at its place, or everything
// to a pipe in order.
class Export {
 public:
  Export(ExportTarget& target, gateway::Image& image, ProgressLine& line)
      : target_(target), is_sparse_(target.is_new_file()), image_(image), line_(line) {}

  Outcome<void> run(ClusterHandle& cluster) {
    for (uint64_t offset = 0; offset < image_.size() && !error_; offset += kExtentBytes) {
      cluster.run_until(
          [&] { return in_flight_.size() < (is_sparse_ ? kExtentsInFlight : 1) || error_; });
      if (StopSignals::has_received() && !error_) error_ = StopSignals::error().code;
      if (!error_) start_extent(offset);
    }
    cluster.run_until([this] { return in_flight_.empty(); });
    if (StopSignals::has_received() && !error_) error_ = StopSignals::error().code;
    if (!error_ && is_sparse_ && ftruncate(target_.fd(), static_cast<off_t>(image_.size())) != 0) {
      error_ = last_system_error();
    }
    if (error_) return failure(StopSignals::error_of("export", error_));
    return target_.commit();
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
    if (!is_sparse_) return write_all(target_.fd(), extent.data);
    std::error_code error;
    for_each_nonzero_run(extent.data, kGrain, [&](std::size_t at, std::size_t length) {
      if (error) return;
      error =
          write_at(target_.fd(), ConstBytes(extent.data).subspan(at, length), extent.offset + at);
    });
    return error;
  }

  ExportTarget& target_;
  const bool is_sparse_;
  gateway::Image& image_;
  ProgressLine& line_;
  std::vector<std::unique_ptr<OutputExtent>> in_flight_;
  uint64_t bytes_done_ = 0;
  std::error_code error_;
};

std::string name_of(const TransferArguments& arguments) {
  return arguments.from == "-" ? "standard input" : arguments.from;
}

// The bytes of a file or disk; nothing for what only shows its size by being read, such as a pipe.
Outcome<std::optional<uint64_t>> known_size(int fd, const TransferArguments& arguments) {
  struct stat status {};
  if (fstat(fd, &status) != 0) {
    return failure(file_error(name_of(arguments), "looking at its size", last_system_error()));
  }
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) return std::optional<uint64_t>();
  if (lseek(fd, 0, SEEK_CUR) != 0) {
    return failure(std::errc::invalid_argument,
                   name_of(arguments) + " has been read in part: give the file by its name");
  }
  const off_t end = lseek(fd, 0, SEEK_END);
  if (end < 0 || lseek(fd, 0, SEEK_SET) != 0) {
    return failure(file_error(name_of(arguments), "looking at its size", last_system_error()));
  }
  return std::optional<uint64_t>(static_cast<uint64_t>(end));
}

auto too_long(const TransferArguments& arguments, const std::string& has) {
  return failure(std::errc::invalid_argument, name_of(arguments) + " has " + has + " than the " +
                                                  std::to_string(arguments.size) +
                                                  " bytes of --size: give its size, or add "
                                                  "--cut to leave out the rest");
}
auto too_short(const TransferArguments& arguments, uint64_t bytes) {
  return failure(std::errc::invalid_argument, name_of(arguments) + " ended after " +
                                                  std::to_string(bytes) + " of " +
                                                  std::to_string(arguments.size) +
                                                  " bytes: give its size with --size, or add "
                                                  "--pad to fill up with zeroes");
}

// How many bytes to import. What the input and --size disagree about is told before an image is
// made, if the input's size is known.
Outcome<uint64_t> wanted_size(const std::optional<uint64_t>& known,
                              const TransferArguments& arguments) {
  if (arguments.size == 0 && known.value_or(0) == 0) {
    return failure(std::errc::invalid_argument,
                   "the size of " + name_of(arguments) + " is not known or zero: give --size");
  }
  if (arguments.size == 0) return *known;
  if (known && *known > arguments.size && !arguments.cuts) {
    return too_long(arguments, std::to_string(*known) + " bytes, more");
  }
  if (known && *known < arguments.size && !arguments.pads) return too_short(arguments, *known);
  return arguments.size;
}

// After the import: whether the input was what was expected of it.
Outcome<void> check_input(ClusterHandle& cluster, int fd, const std::optional<uint64_t>& known,
                          const std::optional<uint64_t>& ended_at,
                          const TransferArguments& arguments) {
  if (known) {
    const off_t end = lseek(fd, 0, SEEK_END);
    if (end >= 0 && static_cast<uint64_t>(end) == *known) return {};
    return failure(std::errc::io_error, name_of(arguments) +
                                            " changed its size while it was read: import it again "
                                            "when nobody writes to it");
  }
  if (ended_at) {
    if (arguments.pads) return {};
    return too_short(arguments, *ended_at);
  }
  if (arguments.cuts) return {};
  std::byte next{};
  const auto more = read_full(cluster, fd, {&next, 1});
  if (!more && StopSignals::has_received())
    return failure(StopSignals::error_of("import", more.error()));
  if (!more) return failure(file_error(name_of(arguments), "reading", more.error()));
  if (*more != 0) return too_long(arguments, "more");
  return {};
}

Outcome<void> import_file(CommandContext& context, const TransferArguments& arguments) {
  const auto spec = gateway::ImageSpec::parse(arguments.image);
  if (!spec) return failure(spec.error());
  UniqueFd file;
  const bool is_stdin = arguments.from == "-";
  if (!is_stdin) {
    file.reset(::open(arguments.from.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return failure(file_error(arguments.from, "opening", last_system_error()));
  }
  const int fd = is_stdin ? STDIN_FILENO : file.get();
  const auto known = known_size(fd, arguments);
  if (!known) return failure(known.error());
  const auto bytes = wanted_size(*known, arguments);
  if (!bytes) return failure(bytes.error());
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  constexpr uint64_t kUnit = gateway::ImageHeader::kSizeUnit;
  gateway::CreateOptions options;
  options.size = (*bytes + kUnit - 1) / kUnit * kUnit;
  options.layout =
      gateway::layout_with_defaults((*cluster)->client(), spec->pool, arguments.object_size, 0, 0);
  return make_filled_image(
      **cluster, arguments.image, options, [&](gateway::Image& image) -> Outcome<void> {
        ProgressLine line("importing", context.shows_progress(), ProgressUnit::kBytes);
        Import import(fd, *bytes, image, line);
        const auto done = import.run(**cluster);
        if (!done) return failure(done.error());
        return check_input(**cluster, fd, *known, import.ended_at(), arguments);
      });
}

Outcome<void> export_image(CommandContext& context, const TransferArguments& arguments) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  auto image = (*cluster)->open_image(arguments.image, {.read_only = true});
  if (!image) return failure(image.error());
  auto target = ExportTarget::open(arguments.to, (*image)->size(), arguments.overwrites);
  if (!target) {
    static_cast<void>((*cluster)->close_image(std::move(*image)));
    return failure(target.error());
  }
  std::optional<StopSignals> stop_signals;
  if (target->is_new_file()) stop_signals.emplace();  // a pipe that is full would keep us from it
  ProgressLine line("exporting", context.shows_progress(), ProgressUnit::kBytes);
  const auto done = Export(*target, **image, line).run(**cluster);
  const auto closed = (*cluster)->close_image(std::move(*image));
  if (!done && target->is_new_file()) {
    return failure(done.error().code, done.error().message + "; no file was made");
  }
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
  imported->add_option("from", arguments->from, "file or disk to read, or - for standard input")
      ->required();
  context.add_image_option(*imported, arguments->image, "image to make, as [POOL/]IMAGE");
  add_size_option(*imported, "--size,-s", arguments->size,
                  "size of the image and of the input; standard input needs it");
  imported->add_flag("--pad", arguments->pads,
                     "fill an input that is shorter than --size up with zeroes");
  imported->add_flag("--cut", arguments->cuts, "leave out what an input has beyond --size");
  add_size_option(*imported, "--object-size", arguments->object_size,
                  "bytes of a data object; without it, what the pool says");

  auto* exported = context.add(app, "export", "write an image to a new file, a disk or '-'",
                               [&context, arguments] { return export_image(context, *arguments); });
  context.add_image_option(*exported, arguments->image, "image to read, as [POOL/]IMAGE");
  exported
      ->add_option("to", arguments->to,
                   "file to make, pipe or disk to write to, or - for standard output")
      ->required();
  exported->add_flag("--overwrite", arguments->overwrites,
                     "replace a file that exists, or the data of a disk");
}

}  // namespace lunar::tools
