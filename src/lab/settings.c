/* The settings table: one JSON value a key. */
#include "lab/settings.h"

#include <string.h>

static int decode_value(const struct db_row *row, void *receiver, struct error *error)
{
        struct json_answer *answer = receiver;
        json_decref(answer->value);
        answer->value = json_read(db_text(row, 0), strlen(db_text(row, 0)), error);
        return answer->value ? 0 : error->code;
}

struct db_query setting_get(const char *key, struct json_answer *ret)
{
        static const struct db_statement statement = {
                .name = "setting_get",
                .sql = "select value from settings where key = $1",
                .rows = DB_MAYBE,
                .decode = decode_value,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(key));
}

struct db_query setting_put(const char *key, const char *json)
{
        static const struct db_statement statement = {
                .name = "setting_put",
                .sql = "insert into settings as s (key, value) values ($1, $2::jsonb)"
                       " on conflict (key) do update set value = excluded.value where s.value <> excluded.value",
                .rows = DB_NO_ROWS,
                .idempotent = true,
        };
        return db_query(&statement, NULL, DB_TEXT(key), DB_TEXT(json));
}
