/*
 * Applying what is not applied yet. Two programs that start together are kept apart by a session lock, and each
 * migration commits together with the row that says so: after a crash at any point the next start goes on right there.
 */
#include "db/migrate.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "db/internal.h"

#define MIGRATE_LOCK_KEY INT64_C(0x6c61626c696e6b02) /* "lablink" and 2 */
#define LOCK_PATIENCE_MS 60000

/* Names stand inside quoted function bodies too, where only plain ones are safe. */
static int check_name(const char *what, const char *name, struct error *error)
{
        size_t len = strlen(name);
        if (len == 0 || len > 63 || !utf8_valid(name, len) || strpbrk(name, "$'\"\\"))
                return error_set(error, -EINVAL, "\"%s\" cannot be the name of a %s", name, what);
        return 0;
}

static char *expand(const char *sql, const struct migrate_names *names)
{
        const struct {
                const char *mark, *name;
                char quote;
        } marks[] = {{"@table@", names->table, '"'},
                     {"@table_name@", names->table, '\''},
                     {"@channel@", names->channel, '"'},
                     {"@channel_name@", names->channel, '\''}};
        struct buf out = BUF_NULL;
        while (*sql) {
                size_t i = 0;
                while (i < ARRAY_SIZE(marks) && !str_starts(sql, marks[i].mark))
                        i++;
                if (i == ARRAY_SIZE(marks)) {
                        buf_addc(&out, *sql++);
                        continue;
                }
                buf_addf(&out, "%c%s%c", marks[i].quote, marks[i].name, marks[i].quote);
                sql += strlen(marks[i].mark);
        }
        return buf_steal(&out);
}

static int decode_version(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        *(int *)receiver = (int)db_int(row, 0);
        return 0;
}

static const struct db_statement version_statement = {
        .name = "schema_version",
        .sql = "select coalesce(max(number), 0) from schema_migrations",
        .rows = DB_ONE,
        .decode = decode_version,
};

static int apply(struct db *db, const struct migration *migration, const struct migrate_names *names,
                 struct error *error)
{
        _cleanup_free_ char *sql = expand(migration->sql, names);
        _cleanup_free_ char *script = xasprintf(
                "begin;\nset local lock_timeout = '60s';\n%s\n;\n"
                "insert into schema_migrations (number, name) values (%d, '%s');\ncommit",
                sql, migration->number, migration->name);
        int r = db_exec(db, script, error);
        if (r < 0)
                return error_wrap(error, "migration %04d_%s", migration->number, migration->name);
        log_info("database: migration %04d_%s applied", migration->number, migration->name);
        return 0;
}

static int apply_missing(struct db *db, const struct migration *migrations, const struct migrate_names *names,
                         int *version, struct error *error)
{
        const char *table = "create table if not exists schema_migrations (number integer primary key, "
                            "name text not null, applied_at timestamptz not null default now())";
        int last = 0;
        for (const struct migration *m = migrations; m->number; m++)
                last = m->number;
        int r = db_exec(db, table, error);
        if (r == 0)
                r = db_run(db, (struct db_query){.statement = &version_statement, .receiver = version}, error);
        if (r == 0 && *version > last)
                return error_set(error, -EPROTO,
                                 "the database has schema %d, but this program knows only %d: start the newer version "
                                 "of LabLink that made it",
                                 *version, last);
        for (const struct migration *m = migrations; r == 0 && m->number; m++)
                if (m->number > *version) {
                        r = apply(db, m, names, error);
                        if (r == 0)
                                *version = m->number;
                }
        return r;
}

static int lock(struct db *db, struct error *error)
{
        int64_t deadline = clock_ms() + LOCK_PATIENCE_MS;
        for (bool held = false;;) {
                int r = db_lock(db, MIGRATE_LOCK_KEY, &held, error);
                if (r < 0 || held)
                        return r;
                if (clock_ms() > deadline)
                        return error_set(error, -ETIMEDOUT, "another program has been changing the schema for %d s",
                                         LOCK_PATIENCE_MS / 1000);
                clock_sleep_ms(50);
        }
}

int migrate(struct db *db, const struct migration *migrations, const struct migrate_names *names, int *ret_version,
            struct error *error)
{
        int version = 0;
        int r = check_name("table", names->table, error);
        if (r == 0)
                r = check_name("channel", names->channel, error);
        if (r == 0)
                r = lock(db, error);
        if (r < 0)
                return r;
        r = apply_missing(db, migrations, names, &version, error);
        _cleanup_free_ char *unlock = xasprintf("select pg_advisory_unlock(%lld)", (long long)MIGRATE_LOCK_KEY);
        if (db_raw(db))
                db_exec(db, unlock, NULL);
        if (ret_version)
                *ret_version = version;
        return r;
}
