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

/* What the lab that is about to be replaced knows of its machines: an object by host name, {} when there is no lab. */
int lab_machines(struct db *db, json_t **ret, struct error *error);
/*
 * After loading. The seats are the backup's, but the machines are as they are now: their tokens, what they reported last,
 * whose files lie on them. A seat that changed hands since gets a generation above the others', or its VM would take it
 * for an old one; a machine with somebody else's files is made fresh. No row says that it was changed in the future of
 * this database's transactions. When `site` is not NULL (the database is that state directory's own), machines and
 * operations are that site's.
 */
int lab_settle(struct db *db, const json_t *machines, const char *site, struct error *error);
