/*
 * Files and directories, written so that a crash leaves the old content or the new, never half of either.
 */
#pragma once

#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"

char *path_join(const char *directory, const char *name); /* owned by the caller */

/* Reads a whole file of at most `max` bytes into `out` (appended). -EFBIG when it is larger. */
int file_read(const char *path, size_t max, struct buf *out, struct error *error);
/* Writes aside, fsyncs and renames. */
int file_write(const char *path, const void *data, size_t len, mode_t mode, struct error *error);
int fd_write_all(int fd, const void *data, size_t len); /* 0 or a negative errno; retries short writes */
int fd_read_all(int fd, size_t max, struct buf *out);   /* until the end; -EFBIG above `max` */

/* Makes a directory and its parents; the last one gets `mode` also if it existed. */
int dir_make(const char *path, mode_t mode, struct error *error);
/* Removes a tree without following a link and without leaving its file system. A missing one is no error. */
int dir_remove(const char *path, struct error *error);

/* flock(LOCK_EX) on a file made when missing. With `wait_ms` 0 it does not wait. -EWOULDBLOCK when another holds it.
 * The descriptor (close-on-exec) holds the lock until it and every inherited copy is closed. */
int file_lock(const char *path, int64_t wait_ms, int *ret_fd, struct error *error);
