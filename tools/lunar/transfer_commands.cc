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
#include "tools/lunar/command.h"
#include "tools/lunar/sparse.h"

// import and export: chunk by chunk, several in flight, holes stay holes on both sides.

namespace lunar::tools {
namespace {

constexpr std::size_t kGrain = 4096;  // runs of zeroes shorter than this are written as data
constexpr std::size_t kChunkBytes = 4u << 20;
constexpr std::size_t kChunksInFlight = 8;

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

// Reads a file in chunks and writes what is not zero to an image.
class Import {
 public:
  Import(int fd, uint64_t size, gateway::Image& image, ProgressLine& line)
      : fd_(fd), size_(size), image_(image), line_(line) {}

  Outcome<void> run(ClusterSession& session) {
    while (offset_ < size_ && !error_) {
      session.run_until([this] { return chunks_in_flight_ < kChunksInFlight || error_; });
      if (!error_) next_chunk();
    }
    session.run_until([this] { return chunks_in_flight_ == 0; });
    if (!error_) {
      bool flushed = false;
      image_.flush({}, [&](const gateway::IoResult& result) {
        error_ = result.error;
        flushed = true;
      });
      session.run_until([&flushed] { return flushed; });
    }
    if (error_) return failure(error_, "import failed: " + error_.message());
    return {};
  }

 private:
  struct Chunk {
    std::vector<std::byte> data;
    int writes = 1;  // one for next_chunk() itself
  };

  // The next offset that may hold data: a hole of the file is passed over unread.
  void skip_hole() {
    const off_t data = lseek(fd_, static_cast<off_t>(offset_), SEEK_DATA);
    if (data < 0 && errno == ENXIO) offset_ = size_;  // nothing but hole
    if (data < 0) return;                             // a pipe, or no such thing there
    offset_ = std::max(offset_, static_cast<uint64_t>(data) / kGrain * kGrain);
    lseek(fd_, static_cast<off_t>(offset_), SEEK_SET);
  }

  void next_chunk() {
    skip_hole();
    if (offset_ >= size_) return;
    auto chunk = std::make_shared<Chunk>();
    const uint64_t to_boundary = kChunkBytes - offset_ % kChunkBytes;
    chunk->data.resize(std::min<uint64_t>(to_boundary, size_ - offset_));
    const auto got = read_full(fd_, chunk->data);
    if (!got) {
      error_ = got.error();
      return;
    }
    if (*got == 0) {
      offset_ = size_;
      return;
    }
    std::fill(chunk->data.begin() + static_cast<std::ptrdiff_t>(*got), chunk->data.end(),
              std::byte{0});  // the image is a multiple of 4096, the file need not be
    ++chunks_in_flight_;
    for_each_nonzero_run(chunk->data, kGrain, [&](std::size_t at, std::size_t length) {
      ++chunk->writes;
      image_.write(offset_ + at, ConstBytes(chunk->data).subspan(at, length), {},
                   [this, chunk](const gateway::IoResult& result) {
                     if (result.error && !error_) error_ = result.error;
                     ended(*chunk);
                   });
    });
    offset_ += chunk->data.size();
    line_.show(offset_, size_);
    ended(*chunk);
  }

  void ended(Chunk& chunk) {
    if (--chunk.writes == 0) --chunks_in_flight_;
  }

  const int fd_;
  const uint64_t size_;
  gateway::Image& image_;
  ProgressLine& line_;
  uint64_t offset_ = 0;
  std::size_t chunks_in_flight_ = 0;
  std::error_code error_;
};

// Reads an image in chunks and writes what is not zero to a file at its place, or everything to a
// pipe in order.
class Export {
 public:
  Export(int fd, bool sparse, gateway::Image& image, ProgressLine& line)
      : fd_(fd), sparse_(sparse), image_(image), line_(line) {}

  Outcome<void> run(ClusterSession& session) {
    for (uint64_t offset = 0; offset < image_.size() && !error_; offset += kChunkBytes) {
      session.run_until([&] { return chunks_.size() < (sparse_ ? kChunksInFlight : 1) || error_; });
      if (!error_) start_chunk(offset);
    }
    session.run_until([this] { return chunks_.empty(); });
    if (!error_ && sparse_) {
      if (ftruncate(fd_, static_cast<off_t>(image_.size())) != 0 || fsync(fd_) != 0) {
        error_ = last_system_error();
      }
    }
    if (error_) return failure(error_, "export failed: " + error_.message());
    return {};
  }

 private:
  struct Chunk {
    uint64_t offset;
    std::vector<std::byte> data;
  };

  void start_chunk(uint64_t offset) {
    chunks_.push_back(std::make_unique<Chunk>());
    Chunk* chunk = chunks_.back().get();
    chunk->offset = offset;
    chunk->data.resize(std::min<uint64_t>(kChunkBytes, image_.size() - offset));
    const std::size_t chunk_bytes = chunk->data.size();
    image_.read(offset, chunk->data, {},
                [this, chunk, chunk_bytes](const gateway::IoResult& result) {
                  if (!error_) error_ = result.error ? result.error : store(*chunk);
                  std::erase_if(chunks_, [chunk](const auto& each) { return each.get() == chunk; });
                  done_ += chunk_bytes;
                  line_.show(done_, image_.size());
                });
  }

  std::error_code store(const Chunk& chunk) {
    if (!sparse_) return write_all(fd_, chunk.data);
    std::error_code error;
    for_each_nonzero_run(chunk.data, kGrain, [&](std::size_t at, std::size_t length) {
      if (error) return;
      error = write_at(fd_, ConstBytes(chunk.data).subspan(at, length), chunk.offset + at);
    });
    return error;
  }

  const int fd_;
  const bool sparse_;
  gateway::Image& image_;
  ProgressLine& line_;
  std::vector<std::unique_ptr<Chunk>> chunks_;
  uint64_t done_ = 0;
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
  ProgressLine line("importing", context.show_progress());
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
  ProgressLine line("exporting", context.show_progress());
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
