/* The lab's schema: its migrations, applied. */
#pragma once

#include "db/db.h"

struct config;

/* Brings the database up to date, or refuses a newer one and a table name that changed since it was made. */
int schema_migrate(struct db *db, const struct config *config, struct error *error);
int schema_version(void); /* of this program */
