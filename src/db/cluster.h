/*
 * The embedded database: a private PostgreSQL made from the distribution's own binaries in the state directory. Unix
 * socket only, an unprivileged user (when we are root), peer authentication; safe after kill -9: a postmaster that
 * still lives is adopted. It runs in a session of its own and outlives the supervisor until cluster_stop().
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"

struct cluster_options {
        const char *directory;    /* STATE/db: data in STATE/db/data, socket in STATE/db/run */
        const char *user;         /* system user that runs it when we are root; NULL: "postgres" */
        const char *const *peers; /* system users that may connect besides root and that user; NULL-terminated */
        const char *dbname;       /* lablink_db */
        const char *role;         /* lablink */
};

struct cluster;

/* Finds the binaries (pg_config, /usr/lib/postgresql/N/bin with N >= 14), initdb when new, starts or adopts, waits until
 * it answers, makes role and database. A data directory of another major version is refused with the command to run. */
int cluster_start(const struct cluster_options *options, struct cluster **ret, struct error *error);
const char *cluster_conninfo(const struct cluster *cluster);    /* for libpq; holds no secret */
pid_t cluster_pid(const struct cluster *cluster);               /* of the postmaster */
bool cluster_adopted(const struct cluster *cluster);            /* it was running already: no child of ours */
int cluster_stop(struct cluster *cluster, struct error *error); /* fast shutdown, waits up to 30 s */
struct cluster *cluster_free(struct cluster *cluster);          /* leaves it running */
/* "14".."17" of the data directory, or "" when there is none. Owned by the caller. */
char *cluster_version(const char *directory);
/* The connection string without starting anything (for the CLI). Owned by the caller. */
char *cluster_conninfo_at(const struct cluster_options *options);

/* --- a restore: a database of its own beside the lab's, which takes its name in the end --------------------------- */

/* Makes it, empty; a leftover of an earlier restore is dropped. *ret_conninfo is owned by the caller. */
int cluster_restore_begin(struct cluster *cluster, const struct cluster_options *options, char **ret_conninfo,
                          struct error *error);
/* In one transaction the lab's database gives up its name and the new one takes it; then the old one is dropped. */
int cluster_restore_commit(struct cluster *cluster, const struct cluster_options *options, struct error *error);
void cluster_restore_abandon(struct cluster *cluster);
