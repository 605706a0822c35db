/*
 * Applying the embedded migrations. The names of table and channel are settings only until the first migration ran:
 * afterwards a changed setting would silently talk to another table, so it is refused.
 */
#include "lab/schema.h"

#include <errno.h>

#include "base/text.h"
#include "config/config.h"
#include "db/migrate.h"
#include "lab/sql.h"
#include "lab/vm.h"

extern const struct migration lab_migrations[];

int schema_version(void)
{
        int last = 0;
        for (const struct migration *m = lab_migrations; m->number; m++)
                last = m->number;
        return last;
}

static int check_table_name(struct db *db, const char *wanted, struct error *error)
{
        static const struct db_statement statement = {
                .name = "schema_table_name",
                .sql = "select value #>> '{}' from settings where key = 'table_name'",
                .rows = DB_ONE,
                .decode = answer_text,
        };
        struct text_answer made = {0};
        int r = db_run(db, db_query_none(&statement, &made), error);
        if (r == 0 && !str_eq(made.text, wanted))
                r = error_set(error, -EINVAL, "the database was made with db.table_name: %s, the configuration says %s",
                              made.text, wanted);
        free(made.text);
        return r;
}

int schema_migrate(struct db *db, const struct config *config, struct error *error)
{
        struct migrate_names names = {.table = config->db.table_name, .channel = config->db.message_channel};
        int r = migrate(db, lab_migrations, &names, NULL, error);
        return r < 0 ? r : check_table_name(db, config->db.table_name, error);
}
