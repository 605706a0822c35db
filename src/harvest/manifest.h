/* The archive's own list of what is in it and what is not, as JSON and as CSV, gathered on the disk while it is made. */
#pragma once

#include <stdio.h>

#include "harvest/store.h"

struct manifest {
        FILE *json, *csv; /* without names: they go with their descriptors */
        int64_t rows;
};

struct manifest_row {
        const char *folder, *hostname, *email; /* the last may be NULL */
        const char *status;                    /* "collected", "left out", "failed" */
        const char *name;                      /* in the archive, or NULL */
        const char *path;                      /* in the VM, or NULL: then the row is about the VM */
        const char *reason;                    /* or NULL */
        const struct entry *entry;             /* or NULL */
        int64_t size;
};

int manifest_open(const struct store *store, struct manifest *ret, struct error *error);
void manifest_add(struct manifest *manifest, const struct manifest_row *row);
/* `about`: members of the JSON's top, borrowed. Both files stand at their beginning then. */
int manifest_end(struct manifest *manifest, const json_t *about, struct error *error);
void manifest_close(struct manifest *manifest);
