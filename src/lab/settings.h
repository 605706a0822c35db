/* Facts that programs leave for each other in the database, by key: the provider's state, for example. */
#pragma once

#include "db/db.h"
#include "lab/answer.h"

/* *ret.value stays NULL when there is none. */
struct db_query setting_get(const char *key, struct json_answer *ret);
struct db_query setting_put(const char *key, const char *json);
