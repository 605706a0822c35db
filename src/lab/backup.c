/*
 * A backup is read once from end to end: that finds out whether it is whole, and counts what is in it on the way. Which
 * of its tables is the one of VMs is known only when its settings were read, so every table is counted.
 */
#include "lab/backup.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "config/config.h"
#include "lab/answer.h"
#include "lab/schema.h"
#include "lab/sql.h"

#define TABLES_MAX 64

struct counted {
        char *name;
        int email; /* its column; -1: none */
        int64_t rows, held;
};

struct look {
        struct counted tables[TABLES_MAX];
        size_t n;
        bool knows_schema;
        int schema;
        char *table_name;
};

static void look_deinit(struct look *look)
{
        for (size_t i = 0; i < look->n; i++)
                free(look->tables[i].name);
        free(look->table_name);
}

/* "id, hostname, email": which one is it? */
static int column_of(const char *columns, const char *wanted)
{
        int found = -1;
        _cleanup_strv_ char **names = str_split(columns, ',');
        for (int i = 0; names[i] && found < 0; i++)
                if (str_eq(str_trim(names[i]), wanted))
                        found = i;
        return found;
}

static void take_table(void *userdata, const char *name, const char *columns)
{
        struct look *look = userdata;
        if (look->n < TABLES_MAX)
                look->tables[look->n++] = (struct counted){.name = xstrdup(name), .email = column_of(columns, "email")};
}

/* The field's start and length; an empty one when there are fewer. */
static const char *field(const char *row, int number, size_t *len)
{
        for (; number > 0 && *row; number--) {
                row += strcspn(row, "\t");
                row += *row == '\t';
        }
        *len = strcspn(row, "\t");
        return row;
}

/* settings: key and JSON value, a text in quotes. */
static void take_setting(struct look *look, const char *row)
{
        static const char head[] = "table_name\t\"";
        if (!str_starts(row, head))
                return;
        free(look->table_name);
        look->table_name = xstrdup(row + strlen(head));
        look->table_name[strcspn(look->table_name, "\"")] = '\0';
}

static void take_row(void *userdata, const char *row)
{
        struct look *look = userdata;
        if (look->n == 0)
                return;
        struct counted *table = &look->tables[look->n - 1];
        size_t len;
        const char *email = field(row, MAX(table->email, 0), &len);
        table->rows++;
        table->held += table->email >= 0 && len > 0 && strncmp(email, "\\N", 2) != 0;
        if (str_eq(table->name, "schema_migrations")) {
                look->knows_schema = true;
                look->schema = MAX(look->schema, atoi(row));
        } else if (str_eq(table->name, "settings")) {
                take_setting(look, row);
        }
}

static const struct counted *find(const struct look *look, const char *name)
{
        for (size_t i = 0; i < look->n; i++)
                if (str_eq(look->tables[i].name, name))
                        return &look->tables[i];
        return NULL;
}

static int64_t rows_of(const struct look *look, const char *name)
{
        const struct counted *table = find(look, name);
        return table ? table->rows : 0;
}

static int judge(const struct look *look, const struct config *config, struct error *error)
{
        if (!look->knows_schema || !look->table_name || !find(look, look->table_name))
                return error_set(error, -EBADMSG, "it is a backup of another database, not of a lab");
        if (look->schema > schema_version())
                return error_set(error, -EPROTO,
                                 "it has schema %d, but this program knows only %d: restore it with the newer version "
                                 "of LabLink that made it",
                                 look->schema, schema_version());
        if (!str_eq(look->table_name, config->db.table_name))
                return error_set(error, -EINVAL, "it was made with db.table_name: %s, the configuration says %s",
                                 look->table_name, config->db.table_name);
        return 0;
}

int lab_backup_look(const struct backup_place *place, int fd, const struct config *config, struct lab_backup *ret,
                    struct error *error)
{
        _cleanup_(look_deinit) struct look look = {0};
        struct backup_reader reader = {.table = take_table, .row = take_row, .userdata = &look};
        int r = backup_read(place, fd, &reader, error);
        if (r == -EBADMSG)
                return error_wrap(error, "it is no backup of a lab, or it is not whole");
        if (r == 0)
                r = judge(&look, config, error);
        if (r < 0)
                return r;
        const struct counted *vms = find(&look, look.table_name);
        *ret = (struct lab_backup){.schema = look.schema,
                                   .vms = rows_of(&look, look.table_name),
                                   .seats = vms ? vms->held : 0,
                                   .operations = rows_of(&look, "operations"),
                                   .log_lines = rows_of(&look, "vm_log_lines")};
        return 0;
}

static int decode_schema(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        *(int *)receiver = db_null(row, 0) ? -1 : (int)db_int(row, 0);
        return 0;
}

int lab_schema_now(struct db *db, bool *ret_made, int *ret_schema, struct error *error)
{
        static const struct db_statement there = {
                .name = "lab_schema_there",
                .sql = "select to_regclass('schema_migrations') is not null",
                .rows = DB_ONE,
                .decode = answer_flag,
        };
        static const struct db_statement now = {
                .name = "lab_schema_now",
                .sql = "select max(number) from schema_migrations",
                .rows = DB_ONE,
                .decode = decode_schema,
        };
        struct flag_answer table = {0};
        int schema = -1;
        int r = db_run(db, db_query_none(&there, &table), error);
        if (r == 0 && table.yes)
                r = db_run(db, db_query_none(&now, &schema), error);
        *ret_made = schema >= 0;
        *ret_schema = MAX(schema, 0);
        return r;
}

int lab_machines(struct db *db, json_t **ret, struct error *error)
{
        static const struct db_statement statement = {
                .name = "lab_machines",
                // clang-format off
                .sql = "select coalesce(jsonb_object_agg(hostname, jsonb_build_object('generation', generation,"
                       "   'email', email, 'token_hash', token_hash, 'needs_reset', needs_reset, 'status', status,"
                       "   'reported_status', reported_status, 'healthy', healthy, 'in_use', in_use)), '{}') from vms",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_text,
        };
        int schema;
        bool made;
        struct text_answer answer = {0};
        int r = lab_schema_now(db, &made, &schema, error);
        if (r == 0 && made)
                r = db_run(db, db_query_none(&statement, &answer), error);
        if (r == 0)
                *ret = answer.text ? json_loads(answer.text, 0, NULL) : json_object();
        free(answer.text);
        return r;
}

static const char forget_future[] =
        // clang-format off
        "do $$ declare t text := (select value #>> '{}' from settings where key = 'table_name'); begin"
        " execute format('alter table %I disable trigger vms_mark', t);"
        " execute format('update %I set changed_xid = pg_current_xact_id()', t);"
        " execute format('alter table %I enable trigger vms_mark', t);"
        " update retired_hostnames set changed_xid = pg_current_xact_id();"
        " end $$";
// clang-format on

static int keep_machines(struct db *db, const json_t *machines, struct error *error)
{
        static const struct db_statement statement = {
                .name = "lab_keep_machines",
                // clang-format off
                .sql = "update vms v set"
                       "   generation = case when m.generation = v.generation and m.email is not distinct from v.email"
                       "                     then v.generation else greatest(v.generation, m.generation + 1) end,"
                       "   needs_reset = m.needs_reset or (m.email is not null and m.email is distinct from v.email),"
                       "   token_hash = m.token_hash, status = m.status, reported_status = m.reported_status,"
                       "   healthy = m.healthy, in_use = m.in_use"
                       " from jsonb_each($1::jsonb) o, jsonb_to_record(o.value) m(generation bigint, email text,"
                       "   token_hash text, needs_reset boolean, status text, reported_status text, healthy boolean,"
                       "   in_use boolean)"
                       " where o.key = v.hostname",
                // clang-format on
                .rows = DB_NO_ROWS,
        };
        _cleanup_free_ char *text = json_dumps(machines, JSON_COMPACT);
        return db_run(db, db_query(&statement, NULL, DB_TEXT(str_or(text, "{}"))), error);
}

/* A backup of an older schema has none. */
static const char move_collections[] =
        // clang-format off
        "do $$ begin if to_regclass('collections') is not null then"
        " update collections c set site = o.site, open = open and c.site is not distinct from o.site"
        "   from (select site from operations where site is not null limit 1) o; end if; end $$";
// clang-format on

static int move_here(struct db *db, const char *site, struct error *error)
{
        static const struct db_statement vms = {
                .name = "lab_move_vms",
                .sql = "update vms set site = $1 where site is distinct from $1",
                .rows = DB_NO_ROWS,
        };
        static const struct db_statement operations = {
                .name = "lab_move_operations",
                .sql = "update operations set site = $1 where site is distinct from $1",
                .rows = DB_NO_ROWS,
        };
        int r = db_run(db, db_query(&vms, NULL, DB_TEXT(site)), error);
        if (r == 0)
                r = db_run(db, db_query(&operations, NULL, DB_TEXT(site)), error);
        return r < 0 ? r : db_exec(db, move_collections, error);
}

int lab_settle(struct db *db, const json_t *machines, const char *site, struct error *error)
{
        int r = db_exec(db, "begin", error);
        if (r == 0)
                r = keep_machines(db, machines, error);
        if (r == 0 && site)
                r = move_here(db, site, error);
        if (r == 0)
                r = db_exec(db, forget_future, error);
        if (r == 0)
                r = db_exec(db, "commit", error);
        return r;
}
