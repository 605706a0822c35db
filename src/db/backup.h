/*
 * Saving a database into a file and loading it again, by PostgreSQL's own pg_dump and pg_restore: a file is an archive
 * of pg_dump (format custom) that those programs read without LabLink too. A file is whole or it is not there. No secret
 * stands in a command line: a password reaches the programs through their environment.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

struct backup_place {
        const char *conninfo;  /* of the database; may hold a password */
        const char *directory; /* of the embedded cluster, whose user the programs become; NULL: an external database */
        /* About each 200 ms, with the bytes written or read so far; false ends it with -ECANCELED. May be NULL. */
        bool (*tick)(void *userdata, int64_t bytes);
        void *userdata;
};

/* Dumps into an open descriptor. */
int backup_dump(const struct backup_place *place, int fd, struct error *error);
/* Writes aside and renames; mode 0600. -EEXIST when there is such a file and `replace` is false. */
int backup_write(const struct backup_place *place, const char *path, bool replace, struct error *error);

struct backup_reader {
        /* The rows of a table follow; `columns` as in COPY: "id, hostname, email". */
        void (*table)(void *userdata, const char *name, const char *columns);
        /* One row as COPY writes it: fields between tabs, \N for null. Cut after 8 KB. */
        void (*row)(void *userdata, const char *row);
        void *userdata;
};

/* Reads a whole file without a database. `fd` must be a regular file. -EBADMSG for what is no archive, or not whole. */
int backup_read(const struct backup_place *place, int fd, const struct backup_reader *reader, struct error *error);

/* Loads the file in one transaction: all of it, or nothing. `clean` first drops what the file brings. */
int backup_load(const struct backup_place *place, int fd, bool clean, struct error *error);
