/*
 * A log file read line by line from where the last look ended, over rotation (renamed, a new one in its place),
 * truncation (copytruncate) and restarts of the agent. A position is device, inode and offset, and a hash of the file's
 * first bytes, because inodes are used again and a truncated file may have grown past the old place.
 */
#pragma once

#include <sys/types.h>

#include "base/buf.h"
#include "base/json.h"

#define TAIL_HEAD 256          /* bytes that tell one file from another */
#define TAIL_LINE_MAX 16384    /* a longer line is taken in pieces */
#define TAIL_BACKLOG (8 << 20) /* more than this behind: the oldest lines are dropped, and that is said */
#define TAIL_PARTIAL_MS 10000  /* a line without its end is taken when nothing came for so long */
#define TAIL_ROTATED_MS 1000   /* so long without a word, then the rotated file is done with */

struct tail {
        char *path;
        int fd; /* -1: not open */
        dev_t device;
        ino_t inode;    /* 0: nothing was read yet */
        int64_t offset; /* of the first byte that was not taken */
        int64_t head_len;
        char head[65];                /* SHA-256 of the first head_len bytes */
        int64_t quiet_size, quiet_ms; /* the size that was seen last, and since when */
};

struct tail_sink {
        void (*line)(void *userdata, const char *line, size_t len);
        void *userdata;
        size_t lines, bytes; /* how much may still be taken */
};

void tail_init(struct tail *tail, const char *path);
/* Takes what is there, as far as the sink allows. A missing file is simply not there yet. */
void tail_read(struct tail *tail, struct tail_sink *sink);
json_t *tail_position(const struct tail *tail);
void tail_restore(struct tail *tail, const json_t *position); /* what cannot be used is ignored */
void tail_deinit(struct tail *tail);
