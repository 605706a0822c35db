#include "rig.h"

#include "base/text.h"
#include "db/migrate.h"

extern const struct migration lab_migrations[];

void lab_open(struct lab *lab)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct migrate_names names = {.table = "vms", .channel = "vm_updates"};
        pg_open(&lab->pg);
        lab->db = pg_db(&lab->pg);
        lab_exec(lab, "set synchronous_commit = off"); /* hundreds of small commits, and nothing to keep */
        if (migrate(lab->db, lab_migrations, &names, NULL, &error) < 0)
                fail_msg("%s", error_text(&error));
}

void lab_close(struct lab *lab)
{
        lab->db = db_close(lab->db);
        pg_close(&lab->pg);
}

void lab_empty(struct lab *lab)
{
        lab_exec(lab, "delete from vms; delete from retired_hostnames; delete from operations; delete from audit");
}

void lab_run(struct lab *lab, struct db_query query)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        if (db_run(lab->db, query, &error) < 0)
                fail_msg("%s", error_text(&error));
}

static PGresult *execute(struct lab *lab, const char *sql)
{
        PGresult *result = PQexec(db_raw(lab->db), sql);
        ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
                fail_msg("%s: %s", sql, PQresultErrorMessage(result));
        return result;
}

void lab_exec(struct lab *lab, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *sql = xvasprintf(format, args);
        va_end(args);
        PQclear(execute(lab, sql));
}

static char *first_value(struct lab *lab, const char *sql)
{
        PGresult *result = execute(lab, sql);
        char *value = xstrdup(PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
        PQclear(result);
        return value;
}

char *lab_value(struct lab *lab, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *sql = xvasprintf(format, args);
        va_end(args);
        return first_value(lab, sql);
}

void lab_expect(struct lab *lab, const char *wanted, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *sql = xvasprintf(format, args);
        va_end(args);
        _cleanup_free_ char *value = first_value(lab, sql);
        if (!str_eq(value, wanted))
                fail_msg("%s gives \"%s\" instead of \"%s\"", sql, value, wanted);
}

void lab_add_vm(struct lab *lab, const char *hostname)
{
        lab_exec(lab, "insert into vms (hostname, status, reported_status) values ('%s', 'running', 'running')",
                 hostname);
}

int lab_batch(struct lab *lab, const struct db_statement *statement, json_t *items, void *receivers, size_t size,
              struct error *error)
{
        size_t index;
        json_t *item;
        json_array_foreach (items, index, item)
                json_object_set_new(item, "ord", json_integer((json_int_t)index));
        _cleanup_free_ char *text = json_text(items);
        json_decref(items);
        const char *values[] = {text};
        PGresult *result = PQexecParams(db_raw(lab->db), statement->sql, 1, NULL, values, NULL, NULL, 0);
        int r = PQresultStatus(result) == PGRES_TUPLES_OK
                        ? 0
                        : error_set(error, -1, "%s: %s", statement->name, PQresultErrorMessage(result));
        for (int i = 0; r == 0 && i < PQntuples(result); i++) {
                struct db_row row = {.result = result, .row = i};
                r = statement->decode(&row, (char *)receivers + (size_t)db_int(&row, 0) * size, error);
        }
        PQclear(result);
        return r;
}

struct lab lab;

int lab_set_up(void **state _unused_)
{
        lab_open(&lab);
        return 0;
}

int lab_tear_down(void **state _unused_)
{
        lab_close(&lab);
        return 0;
}
