// SPDX-License-Identifier: LGPL-2.1-or-later
// IO on an open image: each call becomes an IoWork, started through a completion.
#include "gateway/c_api/completion.h"
#include "gateway/c_api/handles.h"
#include "gateway/c_api/last_error.h"
#include "gateway/lunar.h"

using lunar::Bytes;
using lunar::ConstBytes;
using lunar::c_api::report;
using lunar::gateway::IoOptions;
using lunar::gateway::IoWork;

namespace {

Bytes bytes_of(void* data, size_t length) { return {static_cast<std::byte*>(data), length}; }
ConstBytes bytes_of(const void* data, size_t length) {
  return {static_cast<const std::byte*>(data), length};
}
IoOptions options_of(int flags) { return {.fua = (flags & LUNAR_OP_FLAG_FUA) != 0}; }

int start(lunar_image_t image, lunar_completion_t completion, const IoWork& work,
          IoOptions options = {}, const void* buffer = nullptr) {
  if (image == nullptr || completion == nullptr) {
    return report(std::errc::invalid_argument, "image and completion must not be NULL");
  }
  if (buffer != nullptr) options.memory = image->cluster->buffers->find(buffer);
  return completion->start(*image, work, options);
}

// Starts an IO with a completion of the library's own, and waits for it.
int run(lunar_image_t image, const IoWork& work, const void* buffer = nullptr) {
  lunar_completion_t completion = nullptr;
  if (const int r = lunar_completion_create(nullptr, nullptr, &completion); r != 0) return r;
  int r = start(image, completion, work, {}, buffer);
  if (r == 0) {
    completion->wait();
    const std::error_code error = completion->error();
    if (error) r = report(lunar::Error{error, error.message()});
  }
  completion->release();
  return r;
}

}  // namespace

int lunar_aio_read(lunar_image_t image, uint64_t offset, size_t length, void* buffer,
                   lunar_completion_t completion) {
  return start(image, completion, IoWork::read(offset, bytes_of(buffer, length)), {}, buffer);
}

int lunar_aio_write(lunar_image_t image, uint64_t offset, size_t length, const void* buffer,
                    int flags, lunar_completion_t completion) {
  return start(image, completion, IoWork::write(offset, bytes_of(buffer, length)),
               options_of(flags), buffer);
}

int lunar_aio_discard(lunar_image_t image, uint64_t offset, uint64_t length,
                      lunar_completion_t completion) {
  return start(image, completion, IoWork::discard(offset, length));
}

int lunar_aio_write_zeroes(lunar_image_t image, uint64_t offset, uint64_t length,
                           lunar_completion_t completion) {
  return start(image, completion, IoWork::write_zeroes(offset, length));
}

int lunar_aio_write_same(lunar_image_t image, uint64_t offset, uint64_t length, const void* pattern,
                         size_t pattern_length, int flags, lunar_completion_t completion) {
  return start(image, completion,
               IoWork::write_same(offset, length, bytes_of(pattern, pattern_length)),
               options_of(flags));
}

int lunar_aio_compare_and_write(lunar_image_t image, uint64_t offset, size_t length,
                                const void* compare, const void* buffer, int flags,
                                lunar_completion_t completion) {
  return start(
      image, completion,
      IoWork::compare_and_write(offset, bytes_of(compare, length), bytes_of(buffer, length)),
      options_of(flags));
}

int lunar_aio_flush(lunar_image_t image, lunar_completion_t completion) {
  return start(image, completion, IoWork::flush());
}

int64_t lunar_read(lunar_image_t image, uint64_t offset, size_t length, void* buffer) {
  const int r = run(image, IoWork::read(offset, bytes_of(buffer, length)), buffer);
  return r != 0 ? r : static_cast<int64_t>(length);
}

int64_t lunar_write(lunar_image_t image, uint64_t offset, size_t length, const void* buffer) {
  const int r = run(image, IoWork::write(offset, bytes_of(buffer, length)), buffer);
  return r != 0 ? r : static_cast<int64_t>(length);
}

int lunar_discard(lunar_image_t image, uint64_t offset, uint64_t length) {
  return run(image, IoWork::discard(offset, length));
}

int lunar_flush(lunar_image_t image) { return run(image, IoWork::flush()); }
