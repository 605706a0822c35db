/*
 * Before the embedded database gets a newer schema it is saved: STATE/backups/before-migration-NNNN-DATE-TIME.dump, NNNN
 * being the schema that it had. `lablink db restore` loads such a file into an older LabLink.
 */
#pragma once

#include "db/backup.h"
#include "db/db.h"

#define SAVES_KEPT 5

/* Saves when a lab is in the database and its schema is older than this program's; otherwise nothing is done. The
 * newest SAVES_KEPT files stay, and of each schema at least one. */
int save_before_migration(struct db *db, const struct backup_place *place, const char *state_dir, struct error *error);
/* Removes what is too old in a directory of such files. */
void saves_prune(const char *directory);
