/*
 * What a backup holds, told before it is loaded, and what must be set right when a lab goes back to an earlier state.
 */
#pragma once

#include "base/json.h"
#include "db/backup.h"
#include "db/db.h"

struct config;

struct lab_backup {
        int schema;
        int64_t vms, seats, operations, log_lines;
};

/* Reads the whole file. -EBADMSG with a sentence when it is no backup of a lab or not whole, -EPROTO when a newer
 * version of LabLink made it, -EINVAL when its table has another name than the configuration says. */
int lab_backup_look(const struct backup_place *place, int fd, const struct config *config, struct lab_backup *ret,
                    struct error *error);

/* Is a lab in the database, and which schema has it? */
int lab_schema_now(struct db *db, bool *ret_made, int *ret_schema, struct error *error);

/* {"hostname": generation} of the lab that is about to be replaced; {} when there is none. */
int lab_generations(struct db *db, json_t **ret, struct error *error);
/*
 * After loading: a seat that was given to others since the backup gets a generation above theirs, or its VM would take
 * the next assignment for an old one; no row says that it was changed in the future of this database's transactions;
 * and, when `site` is not NULL (the database is that state directory's own), machines and operations are that site's.
 */
int lab_settle(struct db *db, const json_t *generations, const char *site, struct error *error);
