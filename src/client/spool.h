/*
 * What makes log shipping exact over a kill: ONE file with the place in each log and the batch that was taken from
 * before those places but is not acknowledged yet. It is renamed into place before the batch is sent and again after
 * the answer, so a batch is sent again only with its own id (the allocator stores an id once), and no line is skipped.
 *
 * Not fsynced: kill -9 needs none, and a power cut may repeat lines.
 */
#pragma once

#include "client/tail.h"

struct spool {
        char *path;    /* NULL: nothing is kept */
        json_t *batch; /* {"batch_id", "messages"}; NULL: none is under way */
};

/* Fills positions and batch from the file; what is damaged or for other logs is ignored. */
void spool_open(struct spool *spool, const char *path, struct tail *tails, size_t n);
int spool_save(const struct spool *spool, const struct tail *tails, size_t n, struct error *error);
void spool_deinit(struct spool *spool);
