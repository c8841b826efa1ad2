/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nbdkit-lunar-plugin: an image as a network block device, over the C API alone. nbdkit-plugin(3)
 * says what each function is.
 *
 * The cluster handle is made after nbdkit has forked, as it has a thread. All connections share one
 * open image: it is opened by the first one, with its lock, and closed by the last one. So a flush
 * on any connection is one for all, and an image that nobody is connected to can be removed or
 * opened elsewhere. */
#define NBDKIT_API_VERSION 2
#include <errno.h>
#include <inttypes.h>
#include <nbdkit-plugin.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/lunar.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

struct option {
  char* name;
  char* value;
  struct option* next;
};

static char* spec;   /* POOL/IMAGE */
static char* conf;   /* NULL: the usual search order */
static char* entity; /* NULL: client.admin */
static int lock_flags;
static struct option* options; /* of the configuration */

static lunar_cluster_t cluster;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of the two below */
static lunar_image_t image;                               /* NULL while nobody is connected */
static int num_connections;

/* NBD knows few errors, and nbdkit makes EINVAL of any other, which a client takes for a mistake of
 * its own. */
static int nbd_errno(int error) {
  switch (error) {
    case EPERM:
    case EROFS:
    case EIO:
    case ENOMEM:
    case EINVAL:
    case ENOSPC:
    case ESHUTDOWN:
      return error;
    default:
      return EIO;
  }
}

/* `result` is a negative errno of the C API. Always -1. */
static int failed(const char* what, int result) {
  nbdkit_error("%s %s: %s", what, spec, lunar_last_error());
  nbdkit_set_error(nbd_errno(-result));
  return -1;
}

static int failed_io(const char* what, uint64_t offset, int result) {
  nbdkit_error("%s at byte %" PRIu64 " of %s: %s", what, offset, spec, strerror(-result));
  nbdkit_set_error(nbd_errno(-result));
  return -1;
}

/* -- configuration */

/* Takes `value`. -1 if that is NULL: nbdkit ends then. */
static int set_text(char** text, char* value) {
  free(*text);
  *text = value;
  return value != NULL ? 0 : -1;
}

static int set_lock(const char* value) {
  if (strcmp(value, "exclusive") == 0) {
    lock_flags = 0;
  } else if (strcmp(value, "shared") == 0) {
    lock_flags = LUNAR_OPEN_SHARED;
  } else if (strcmp(value, "takeover") == 0) {
    lock_flags = LUNAR_OPEN_TAKEOVER;
  } else {
    nbdkit_error("lock=%s is not one of exclusive, shared and takeover", value);
    return -1;
  }
  return 0;
}

static int add_option(const char* name, const char* value) {
  struct option* added = calloc(1, sizeof *added);
  if (added == NULL) return -1;
  added->next = options;
  options = added;
  added->name = strdup(name);
  added->value = strdup(value);
  return added->name != NULL && added->value != NULL ? 0 : -1;
}

static int lunar_nbd_config(const char* key, const char* value) {
  if (strcmp(key, "image") == 0) return set_text(&spec, strdup(value));
  if (strcmp(key, "conf") == 0) return set_text(&conf, nbdkit_realpath(value));
  if (strcmp(key, "lock") == 0) return set_lock(value);
  if (strcmp(key, "id") == 0) {
    char* name = NULL;
    if (asprintf(&name, "client.%s", value) < 0) name = NULL;
    return set_text(&entity, name);
  }
  return add_option(key, value);
}

static int lunar_nbd_config_complete(void) {
  if (spec != NULL) return 0;
  nbdkit_error("name the image: nbdkit lunar POOL/IMAGE");
  return -1;
}

#define CONFIG_HELP                                                                          \
  "[image=]POOL/IMAGE      (required) the image to serve.\n"                                 \
  "conf=FILE               the cluster's configuration; else $LUNAR_CONF, /etc/lunar, ...\n" \
  "id=ID                   connect as client.ID (default: admin).\n"                         \
  "lock=exclusive|shared|takeover\n"                                                         \
  "OPTION=VALUE            any option of the configuration, over the file."

static int lunar_nbd_after_fork(void) {
  int result = lunar_create(&cluster, conf, entity);
  if (result != 0) {
    cluster = NULL;
    return failed("configuring", result);
  }
  for (const struct option* each = options; each != NULL; each = each->next) {
    result = lunar_conf_set(cluster, each->name, each->value);
    if (result != 0) return failed("configuring", result);
  }
  result = lunar_connect(cluster);
  return result == 0 ? 0 : failed("connecting for", result);
}

static void lunar_nbd_cleanup(void) {
  lunar_shutdown(cluster);
  cluster = NULL;
}

static void lunar_nbd_unload(void) {
  while (options != NULL) {
    struct option* next = options->next;
    free(options->name);
    free(options->value);
    free(options);
    options = next;
  }
  free(spec);
  free(conf);
  free(entity);
}

/* -- connections */

static void* lunar_nbd_open(int is_read_only) {
  static char handle; /* of every connection: they have nothing of their own */
  int result = 0;
  pthread_mutex_lock(&mutex);
  if (num_connections == 0) {
    result = lunar_open(cluster, spec, is_read_only ? LUNAR_OPEN_READ_ONLY : lock_flags, &image);
  }
  if (result == 0) ++num_connections;
  pthread_mutex_unlock(&mutex);
  if (result == 0) return &handle;
  failed("opening", result);
  return NULL;
}

static void lunar_nbd_close(void* handle) {
  (void)handle;
  pthread_mutex_lock(&mutex);
  if (--num_connections == 0) {
    const int result = lunar_close(image);
    image = NULL;
    if (result != 0) failed("closing", result);
  }
  pthread_mutex_unlock(&mutex);
}

static int64_t lunar_nbd_get_size(void* handle) {
  (void)handle;
  lunar_image_info_t info;
  const int result = lunar_stat(image, &info);
  return result == 0 ? (int64_t)info.size : failed("looking at", result);
}

static int lunar_nbd_block_size(void* handle, uint32_t* minimum, uint32_t* preferred,
                                uint32_t* maximum) {
  (void)handle;
  *minimum = 1;
  *preferred = 4096; /* what checksums of objects are of */
  *maximum = 0xffffffff;
  return 0;
}

static int lunar_nbd_yes(void* handle) {
  (void)handle;
  return 1;
}

static int lunar_nbd_can_fua(void* handle) {
  (void)handle;
  return NBDKIT_FUA_NATIVE;
}

/* -- IO, each call on a thread of its own */

/* Waits for an IO that was started with `started` as result; takes the completion. */
static int result_of(lunar_completion_t completion, int started) {
  int result = started;
  if (started == 0) {
    lunar_completion_wait(completion);
    result = lunar_completion_result(completion);
  }
  lunar_completion_release(completion);
  return result;
}

static int lunar_nbd_flush(void* handle, uint32_t flags) {
  (void)handle;
  (void)flags;
  const int result = lunar_flush(image);
  return result == 0 ? 0 : failed("flushing", result);
}

static int lunar_nbd_pread(void* handle, void* buffer, uint32_t count, uint64_t offset,
                           uint32_t flags) {
  (void)handle;
  (void)flags;
  const int64_t result = lunar_read(image, offset, count, buffer);
  return result >= 0 ? 0 : failed_io("reading", offset, (int)result);
}

static int lunar_nbd_pwrite(void* handle, const void* buffer, uint32_t count, uint64_t offset,
                            uint32_t flags) {
  (void)handle;
  const int op_flags = (flags & NBDKIT_FLAG_FUA) != 0 ? LUNAR_OP_FLAG_FUA : 0;
  lunar_completion_t completion;
  int result = lunar_completion_create(NULL, NULL, &completion);
  if (result == 0) {
    result =
        result_of(completion, lunar_aio_write(image, offset, count, buffer, op_flags, completion));
  }
  return result == 0 ? 0 : failed_io("writing", offset, result);
}

/* The C API frees ranges without FUA. */
static int end_of_free(const char* what, uint64_t offset, uint32_t flags, int result) {
  if (result != 0) return failed_io(what, offset, result);
  return (flags & NBDKIT_FLAG_FUA) != 0 ? lunar_nbd_flush(NULL, 0) : 0;
}

static int lunar_nbd_trim(void* handle, uint32_t count, uint64_t offset, uint32_t flags) {
  (void)handle;
  return end_of_free("trimming", offset, flags, lunar_discard(image, offset, count));
}

/* Zeroes are a hole here. Who wants space for them gets them written by nbdkit. */
static int lunar_nbd_zero(void* handle, uint32_t count, uint64_t offset, uint32_t flags) {
  (void)handle;
  if ((flags & NBDKIT_FLAG_MAY_TRIM) == 0) {
    nbdkit_set_error(EOPNOTSUPP);
    return -1;
  }
  lunar_completion_t completion;
  int result = lunar_completion_create(NULL, NULL, &completion);
  if (result == 0) {
    result = result_of(completion, lunar_aio_write_zeroes(image, offset, count, completion));
  }
  return end_of_free("zeroing", offset, flags, result);
}

static struct nbdkit_plugin plugin = {
    .name = "lunar",
    .longname = "nbdkit Lunar plugin",
    .description = "Serves an image of a Lunar cluster",
    .version = LUNAR_VERSION,
    .unload = lunar_nbd_unload,
    .config = lunar_nbd_config,
    .config_complete = lunar_nbd_config_complete,
    .config_help = CONFIG_HELP,
    .magic_config_key = "image",
    .after_fork = lunar_nbd_after_fork,
    .cleanup = lunar_nbd_cleanup,
    .open = lunar_nbd_open,
    .close = lunar_nbd_close,
    .get_size = lunar_nbd_get_size,
    .block_size = lunar_nbd_block_size,
    .can_multi_conn = lunar_nbd_yes,
    .can_fua = lunar_nbd_can_fua,
    .can_fast_zero = lunar_nbd_yes,
    .pread = lunar_nbd_pread,
    .pwrite = lunar_nbd_pwrite,
    .flush = lunar_nbd_flush,
    .trim = lunar_nbd_trim,
    .zero = lunar_nbd_zero,
};

NBDKIT_REGISTER_PLUGIN(plugin)
