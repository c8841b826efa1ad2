/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_H
#define LUNAR_H

/* The C API of Lunar images, in the manner of librbd.
 *
 * Threads: a cluster handle owns one thread, on which callbacks run. Every call here may be made
 * from any thread, at the same time as others. Those that wait (connecting, everything on images
 * but lunar_aio_*, lunar_completion_wait()) must not be made from a callback: they would wait for
 * themselves.
 *
 * Errors: functions return 0 (or a count) on success and a negative errno on failure;
 * lunar_last_error() then has the sentence for the calling thread. docs/errors.md has the table of
 * errnos. Pointers to handles, names and structs must not be NULL unless that is said.
 *
 * Lifetime: handles are owned by the caller, and are ended in the order completions, images,
 * cluster. Strings are copied. Buffers of an IO are borrowed until its completion is complete. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LUNAR_API __attribute__((visibility("default")))

typedef struct lunar_cluster* lunar_cluster_t;
typedef struct lunar_image* lunar_image_t;
typedef struct lunar_completion* lunar_completion_t;
/* Runs once, on the thread of the cluster handle, when an IO has ended; must not block. The result
 * is there; lunar_completion_release() may be called in it. */
typedef void (*lunar_callback_t)(lunar_completion_t completion, void* arg);

/* For `op_flags`. Force Unit Access: what is written is durable when the IO is complete. */
enum { LUNAR_OP_FLAG_FUA = 1 };
/* For `flags` of lunar_open(). READ_ONLY takes no lock; changes end with -EROFS. Without a flag the
 * image's lock is taken, and nobody else can write. SHARED: beside others that share it. TAKEOVER:
 * whoever has the lock is fenced and loses it. */
enum { LUNAR_OPEN_READ_ONLY = 1, LUNAR_OPEN_SHARED = 2, LUNAR_OPEN_TAKEOVER = 4 };

typedef struct {
  uint64_t size;         /* bytes */
  uint64_t object_size;  /* bytes */
  uint64_t stripe_unit;  /* bytes */
  uint32_t stripe_count; /* objects written side by side */
  char id[17];           /* 16 hex digits: of the image's objects' names */
  char uuid[37];         /* identity of the disk, the same through every gateway */
} lunar_image_info_t;

/* The sentence for the last failure on this thread, "" before the first; without control characters
 * of whoever caused it. Valid until the next call on it. */
LUNAR_API const char* lunar_last_error(void);

/* Makes a handle from a configuration file; contacts nobody yet. `entity` is TYPE.ID, NULL for
 * "client.admin"; `conf_path` NULL is the usual search order ($LUNAR_CONF, /etc/lunar, …).
 * -EINVAL: the entity, or something in the file. */
LUNAR_API int lunar_create(lunar_cluster_t* cluster, const char* conf_path, const char* entity);
/* Sets one option, as a line of lunar.conf would. Before lunar_connect(). -EINVAL: there is no such
 * option, or it does not take the value. */
LUNAR_API int lunar_conf_set(lunar_cluster_t cluster, const char* option, const char* value);
/* Waits until a server has answered with the map. -ETIMEDOUT or -EHOSTUNREACH after
 * lunar_open_timeout, -EACCES if the servers do not accept the key. May be called again after a
 * failure. */
LUNAR_API int lunar_connect(lunar_cluster_t cluster);
/* Ends everything and frees the handle; waits for that. Close images and free buffers first. NULL
 * is ignored. */
LUNAR_API void lunar_shutdown(lunar_cluster_t cluster);

/* Images as a whole, after lunar_connect(). `spec` is "POOL/IMAGE"; -EINVAL if it is not. -ENOENT:
 * there is no such pool or image. Sizes are bytes.
 *
 * `size` is a multiple of 4096; zero for a layout field takes the configured default. -EEXIST: the
 * name is taken. */
LUNAR_API int lunar_image_create(lunar_cluster_t cluster, const char* spec, uint64_t size,
                                 uint64_t object_size, uint64_t stripe_unit, uint32_t stripe_count);
/* -EBUSY: somebody has the image open. A removal that was interrupted is finished by another one.
 */
LUNAR_API int lunar_image_remove(lunar_cluster_t cluster, const char* spec);
/* Grows it. Both are possible while it is open. -EPERM: `size` is smaller than it is. */
LUNAR_API int lunar_image_resize(lunar_cluster_t cluster, const char* spec, uint64_t size);
/* The same; with allow_shrink not 0 it may become smaller, which destroys the data at its end.
 * -EBUSY: somebody alive who has it open did not give up the end in time; nothing has changed. */
LUNAR_API int lunar_image_resize2(lunar_cluster_t cluster, const char* spec, uint64_t size,
                                  int allow_shrink);
/* Names as consecutive NUL-terminated strings; returns the bytes needed, writes none if more than
 * `length`. -EHOSTUNREACH: a server does not say which names it has. */
LUNAR_API int64_t lunar_image_list(lunar_cluster_t cluster, const char* pool, char* names,
                                   size_t length);
/* The same; names that are there are returned also if `*missing` servers do not say which they
 * have: lunar_last_error() says who. */
LUNAR_API int64_t lunar_image_list2(lunar_cluster_t cluster, const char* pool, char* names,
                                    size_t length, int* missing);

/* Opens an image; `*image` is set on success. -ENOENT, -EBUSY (it is being removed, or somebody
 * alive has its lock: lunar_last_error() says who). A dead holder is waited for, at most
 * lunar_lock_timeout and a little, and fenced. */
LUNAR_API int lunar_open(lunar_cluster_t cluster, const char* spec, int flags,
                         lunar_image_t* image);
/* Waits for IO in flight, strikes the registration, frees the handle whatever it returns: an error
 * is that of striking. */
LUNAR_API int lunar_close(lunar_image_t image);
/* What the image is now: its size follows a resize at once. */
LUNAR_API int lunar_stat(lunar_image_t image, lunar_image_info_t* info);

/* A completion serves one IO. `callback` may be NULL; `arg` is handed to it. Freed by
 * lunar_completion_release(), which may be called at any time, once: the IO goes on, and its
 * callback runs. */
LUNAR_API int lunar_completion_create(void* arg, lunar_callback_t callback,
                                      lunar_completion_t* completion);
/* Waits until the IO is complete: its callback has returned. REQUIRES that an IO was started. */
LUNAR_API int lunar_completion_wait(lunar_completion_t completion);
/* 1 or 0. */
LUNAR_API int lunar_completion_is_complete(lunar_completion_t completion);
/* How the IO ended, once it is complete or in its callback: 0 or a negative errno. */
LUNAR_API int lunar_completion_result(lunar_completion_t completion);
/* After -EILSEQ of a compare and write: offset of the first difference. */
LUNAR_API uint64_t lunar_completion_mismatch(lunar_completion_t completion);
/* The handle must not be used any more, except inside its callback if it has not run. */
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

/* IO: offsets and lengths are bytes, of any alignment; a range beyond the image ends with -EINVAL.
 * These return at once: -EINVAL for a completion that is NULL or has served an IO, else 0, and the
 * completion tells how the IO ended. IOs in flight that overlap have no order. */
LUNAR_API int lunar_aio_read(lunar_image_t image, uint64_t offset, size_t length, void* buffer,
                             lunar_completion_t completion);
LUNAR_API int lunar_aio_write(lunar_image_t image, uint64_t offset, size_t length,
                              const void* buffer, int op_flags, lunar_completion_t completion);
/* Frees the range, which reads as zeroes afterwards. */
LUNAR_API int lunar_aio_discard(lunar_image_t image, uint64_t offset, uint64_t length,
                                lunar_completion_t completion);
LUNAR_API int lunar_aio_write_zeroes(lunar_image_t image, uint64_t offset, uint64_t length,
                                     lunar_completion_t completion);
/* Repeats the pattern: its length divides 4096, offset and length. */
LUNAR_API int lunar_aio_write_same(lunar_image_t image, uint64_t offset, uint64_t length,
                                   const void* pattern, size_t pattern_length, int op_flags,
                                   lunar_completion_t completion);
/* Writes `buffer` if the range holds `compare`, both of `length` bytes, atomically. -EILSEQ if it
 * holds something else; -EINVAL if the range crosses a stripe unit. */
LUNAR_API int lunar_aio_compare_and_write(lunar_image_t image, uint64_t offset, size_t length,
                                          const void* compare, const void* buffer, int op_flags,
                                          lunar_completion_t completion);
/* Makes every write durable that was complete before this call. -EIO if a server has lost any. */
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
