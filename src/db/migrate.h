/*
 * Numbered migrations, embedded in the program, applied under an advisory lock, each in a transaction of its own. A
 * schema that is newer than the program is refused.
 */
#pragma once

#include "db/db.h"

struct migration {
        int number; /* 1, 2, 3 ... */
        const char *name;
        /* May hold @table@ and @channel@ (the settings' names as quoted identifiers), @table_name@ and @channel_name@
         * (as quoted text). */
        const char *sql;
};

struct migrate_names {
        const char *table;   /* db.table_name */
        const char *channel; /* db.message_channel */
};

/* *ret_version (may be NULL) is the version afterwards. -EPROTO with a sentence when the database is newer. */
int migrate(struct db *db, const struct migration *migrations, const struct migrate_names *names, int *ret_version,
            struct error *error);
