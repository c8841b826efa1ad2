/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_H
#define LUNAR_H

/* The C API of Lunar images, in the manner of librbd.
 *
 * A cluster handle owns one thread, on which completions run; every call here may be made from any
 * thread, also from a completion, but the blocking ones must not be made from a completion.
 * Functions return 0 (or a count) on success and a negative errno on failure; lunar_last_error()
 * then has the sentence for the calling thread. Handles are owned by the caller. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LUNAR_API __attribute__((visibility("default")))

typedef struct lunar_cluster* lunar_cluster_t;
typedef struct lunar_image* lunar_image_t;
typedef struct lunar_completion* lunar_completion_t;
typedef void (*lunar_callback_t)(lunar_completion_t completion, void* arg);

enum { LUNAR_OP_FLAG_FUA = 1 };
enum { LUNAR_OPEN_READ_ONLY = 1 };

typedef struct {
  uint64_t size;        /* bytes */
  uint64_t object_size; /* bytes */
  uint64_t stripe_unit; /* bytes */
  uint32_t stripe_count;
  char id[17];
  char uuid[37];
} lunar_image_info_t;

/* The sentence for the last failure on this thread. Valid until the next call on it. */
LUNAR_API const char* lunar_last_error(void);

/* `entity` may be NULL ("client.admin"); `conf_path` too (the usual search order). */
LUNAR_API int lunar_create(lunar_cluster_t* cluster, const char* conf_path, const char* entity);
/* Before lunar_connect(). */
LUNAR_API int lunar_conf_set(lunar_cluster_t cluster, const char* option, const char* value);
/* Waits until a server answered with the map: -ETIMEDOUT after lunar_open_timeout. */
LUNAR_API int lunar_connect(lunar_cluster_t cluster);
/* Ends everything and frees the handle. Close images first. */
LUNAR_API void lunar_shutdown(lunar_cluster_t cluster);

/* `spec` is "POOL/IMAGE". Zero for a layout field takes the configured default. */
LUNAR_API int lunar_image_create(lunar_cluster_t cluster, const char* spec, uint64_t size,
                                 uint64_t object_size, uint64_t stripe_unit, uint32_t stripe_count);
LUNAR_API int lunar_image_remove(lunar_cluster_t cluster, const char* spec);
LUNAR_API int lunar_image_resize(lunar_cluster_t cluster, const char* spec, uint64_t size);
/* Names as consecutive NUL-terminated strings; returns the bytes needed, writes none if more than
 * `length`. */
LUNAR_API int64_t lunar_image_list(lunar_cluster_t cluster, const char* pool, char* names,
                                   size_t length);

LUNAR_API int lunar_open(lunar_cluster_t cluster, const char* spec, int flags,
                         lunar_image_t* image);
/* Waits for IO in flight, strikes the registration, frees the handle whatever it returns. */
LUNAR_API int lunar_close(lunar_image_t image);
LUNAR_API int lunar_stat(lunar_image_t image, lunar_image_info_t* info);

/* A completion serves one IO. `callback` may be NULL. Freed by lunar_completion_release(), which
 * may be called at any time, once. */
LUNAR_API int lunar_completion_create(void* arg, lunar_callback_t callback,
                                      lunar_completion_t* completion);
LUNAR_API int lunar_completion_wait(lunar_completion_t completion);
LUNAR_API int lunar_completion_is_complete(lunar_completion_t completion);
/* 0 or a negative errno. */
LUNAR_API int lunar_completion_result(lunar_completion_t completion);
/* After -EILSEQ of a compare and write: offset of the first difference. */
LUNAR_API uint64_t lunar_completion_mismatch(lunar_completion_t completion);
LUNAR_API void lunar_completion_release(lunar_completion_t completion);

/* Memory that object servers may move by RDMA, without a copy on the way: `length` bytes,
 * page-aligned, not cleared. An IO uses it so if its buffer begins where this memory does and is no
 * longer; any other memory works too, its bytes then travel in frames.
 * -ENOMEM: none is left just now (it grows in the background, up to ms_async_rdma_front_end_bytes),
 * or more than 16 MiB are asked for.
 * -EINVAL: no bytes are asked for, or lunar_connect() has not succeeded. */
LUNAR_API int lunar_buffer_alloc(lunar_cluster_t cluster, size_t length, void** buffer);
/* When no IO uses it, and before lunar_shutdown(), which ends the program over what is left. NULL,
 * and memory that is not of lunar_buffer_alloc(), are left alone. */
LUNAR_API void lunar_buffer_free(lunar_cluster_t cluster, void* buffer);

/* Buffers are borrowed until the completion runs. */
LUNAR_API int lunar_aio_read(lunar_image_t image, uint64_t offset, size_t length, void* buffer,
                             lunar_completion_t completion);
LUNAR_API int lunar_aio_write(lunar_image_t image, uint64_t offset, size_t length,
                              const void* buffer, int op_flags, lunar_completion_t completion);
LUNAR_API int lunar_aio_discard(lunar_image_t image, uint64_t offset, uint64_t length,
                                lunar_completion_t completion);
LUNAR_API int lunar_aio_write_zeroes(lunar_image_t image, uint64_t offset, uint64_t length,
                                     lunar_completion_t completion);
LUNAR_API int lunar_aio_write_same(lunar_image_t image, uint64_t offset, uint64_t length,
                                   const void* pattern, size_t pattern_length, int op_flags,
                                   lunar_completion_t completion);
LUNAR_API int lunar_aio_compare_and_write(lunar_image_t image, uint64_t offset, size_t length,
                                          const void* compare, const void* buffer, int op_flags,
                                          lunar_completion_t completion);
LUNAR_API int lunar_aio_flush(lunar_image_t image, lunar_completion_t completion);

/* The same, waiting. lunar_read() and lunar_write() return `length`. */
LUNAR_API int64_t lunar_read(lunar_image_t image, uint64_t offset, size_t length, void* buffer);
LUNAR_API int64_t lunar_write(lunar_image_t image, uint64_t offset, size_t length,
                              const void* buffer);
LUNAR_API int lunar_discard(lunar_image_t image, uint64_t offset, uint64_t length);
LUNAR_API int lunar_flush(lunar_image_t image);

#ifdef __cplusplus
}
#endif

#endif
