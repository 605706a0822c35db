/*
 * The child that collects one VM. It tells its parent by lines on a pipe: one JSON object a line,
 *
 *   {"step": "find"}  {"found": n, "bytes": n}  {"file": {...}, "incoming": NAME}  {"would": size}
 *   {"skip": {...}, "count": n}  {"say": "..."}  {"failed": "..."}  {"done": true}
 *
 * and shares with it and the others how many bytes are still free. What it brings lies in its own place (store.h) under a
 * NAME until the parent has read the line and moved it: the child itself can write nowhere else.
 */
#pragma once

#include <stdatomic.h>

#include "harvest/harvest.h"
#include "harvest/walk.h"

struct shared {                /* of all workers, in memory that they share */
        _Atomic int64_t bytes; /* new ones, of all VMs */
};

struct worker {
        const struct harvest *harvest;
        struct harvest_seat *seat;
        struct shared *shared;
        int out;
        int place;            /* its directory, work/SEAT */
        char *work;           /* its path */
        int64_t taken, files; /* of this VM: bytes and files, kept ones too */
        int64_t coming;       /* bytes that were found good and will be fetched together, not yet taken */
};

/* In the child. Exit status. */
int worker_main(struct worker *worker);

/* Telling. */
void worker_step(struct worker *worker, const char *step);
void worker_found(struct worker *worker, const struct finds *finds); /* and what is left out because of its path */
void worker_alive(struct worker *worker);                            /* a byte moved */
void worker_say(struct worker *worker, const char *format, ...) _printf_(2, 3);
void worker_would(struct worker *worker, const struct found *found); /* one that a look has found to be new */
void worker_skip(struct worker *worker, const struct found *found, const char *reason);

/* What is to be done with a file that was found. */
enum verdict { FILE_KNOWN, FILE_WANTED, FILE_REFUSED };
/* FILE_KNOWN: it has been told as unchanged. FILE_REFUSED: it has been told as left out. */
enum verdict worker_judge(struct worker *worker, const struct found *found);
/* Takes an open file into the worker's place and tells it; not more than the bytes that were found. With a directory `from`
 * (else -1) it lies there under `path`, nobody else can write it, and it is moved instead of copied. A failure of the file's
 * own (it changed, it cannot be read) is told and is 0; a failure of ours (a full disk) is negative. */
int worker_take(struct worker *worker, const struct found *found, int fd, int from, const char *path,
                struct error *error);

/* --- the transports: 0 or a negative errno with the reason for people ---------------------------------------------- */
int fetch_directory(struct worker *worker, struct error *error);
int fetch_ssh(struct worker *worker, struct error *error);
