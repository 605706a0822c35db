/*
 * The lab's database for the commands that save and load it: the embedded one, which is started for the while when no
 * allocator runs it, or an external one.
 */
#pragma once

#include "cli/cli.h"
#include "db/backup.h"
#include "db/cluster.h"

struct database {
        struct config *config; /* borrowed */
        bool embedded;
        char *state, *directory, *conninfo;
        struct cluster_options options;
        struct cluster *cluster; /* when it was started or found by us */
        int supervisor_lock, runner_lock;
};

/* Only finds out where it is. */
int database_find(struct cli *cli, struct database *ret, struct error *error);
/* Keeps an allocator (and, with `runners`, any runner) of this state directory from starting. -EWOULDBLOCK while one
 * runs. */
int database_hold(struct cli *cli, struct database *database, bool runners, struct error *error);
/* The embedded one; made when there is none and `make`. */
int database_start(struct cli *cli, struct database *database, bool make, struct error *error);
/* Ends what database_start started. */
void database_deinit(struct database *database);

/* Where, for pg_dump and pg_restore; what `database` holds is borrowed. */
struct backup_place database_place(const struct database *database, const char *conninfo);
