/*
 * What both ways to run a query share: parameters into text, results into receivers, SQLSTATEs into error codes, and
 * the settings of a connection. The one idea: the server's word (SQLSTATE) decides what happens next, never its
 * sentence, which is for people and may be in any language.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "db/internal.h"

/* Times are read and shown in UTC and ISO, whatever the server or the role prefers. */
const char db_setup_sql[] = "set timezone = 'UTC'; set datestyle = 'ISO'; set extra_float_digits = 1; "
                            "set client_min_messages = warning";

static size_t add_text(struct buf *block, const struct db_param *param)
{
        size_t start = block->len;
        switch (param->kind) {
        case DB_P_NULL:
                break;
        case DB_P_TEXT:
                buf_adds(block, param->text);
                break;
        case DB_P_INT:
                buf_addf(block, "%lld", (long long)param->integer);
                break;
        case DB_P_DOUBLE:
                buf_addf(block, "%.17g", param->real);
                break;
        case DB_P_BOOL:
                buf_addc(block, param->boolean ? 't' : 'f');
                break;
        }
        buf_addc(block, '\0');
        return start;
}

void db_encode(const struct db_query *query, struct db_values *ret)
{
        struct buf block = BUF_NULL;
        size_t starts[DB_PARAMS_MAX];
        for (size_t i = 0; i < query->n_params; i++)
                starts[i] = add_text(&block, &query->params[i]);
        *ret = (struct db_values){.block = buf_steal(&block)};
        for (size_t i = 0; i < query->n_params; i++)
                ret->texts[i] = query->params[i].kind == DB_P_NULL ? NULL : ret->block + starts[i];
}

void db_values_deinit(struct db_values *values)
{
        free(values->block);
        *values = (struct db_values){0};
}

static int check_count(const struct db_statement *statement, int n, struct error *error)
{
        if (statement->rows == DB_ONE && n == 0)
                return error_set(error, -ENOENT, "%s: no such row", statement->name);
        if ((statement->rows == DB_ONE || statement->rows == DB_MAYBE) && n > 1)
                return error_set(error, -EPROTO, "%s: %d rows instead of one", statement->name, n);
        return 0;
}

int db_decode(const struct db_statement *statement, const PGresult *result, void *receiver, struct error *error)
{
        int n = PQntuples(result);
        int r = check_count(statement, n, error);
        if (!statement->decode || !receiver || statement->rows == DB_NO_ROWS)
                return r;
        for (int i = 0; i < n && r == 0; i++) {
                struct db_row row = {.result = result, .row = i};
                r = statement->decode(&row, receiver, error);
                if (r < 0 && error && error->code == 0)
                        error_set(error, r, "%s: row %d was not understood", statement->name, i);
        }
        return r < 0 ? r : 0;
}

const char *db_sqlstate(const PGresult *result)
{
        return str_or(PQresultErrorField(result, PG_DIAG_SQLSTATE), "");
}

bool db_result_ok(const PGresult *result)
{
        ExecStatusType status = PQresultStatus(result);
        return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
}

bool db_says_again(const struct db_statement *statement, const char *sqlstate)
{
        return str_eq(sqlstate, "40001") || str_eq(sqlstate, "40P01") ||
               (statement->retry && str_eq(sqlstate, statement->retry));
}

bool db_says_gone(const char *sqlstate)
{
        return (str_starts(sqlstate, "08") && !str_eq(sqlstate, "08P01")) || str_eq(sqlstate, "57P01") ||
               str_eq(sqlstate, "57P02") || str_eq(sqlstate, "57P03") || str_eq(sqlstate, "57P05") ||
               str_eq(sqlstate, "25006"); /* it became a read-only replica: another host is the one now */
}

bool db_says_full(const char *sqlstate)
{
        return str_eq(sqlstate, "53100");
}

bool db_says_read_only(const char *sqlstate)
{
        return str_eq(sqlstate, "25006");
}

bool db_says_unprepared(const char *sqlstate)
{
        return str_eq(sqlstate, "26000") || str_eq(sqlstate, "0A000") || str_eq(sqlstate, "42P05");
}

static int code_of(const char *sqlstate)
{
        static const struct {
                const char *prefix;
                int code;
        } codes[] = {
                {"23505", -EEXIST},    /* unique violation */
                {"57014", -ETIMEDOUT}, /* statement_timeout */
                {"55P03", -ETIMEDOUT}, /* lock_timeout */
                {"22", -EINVAL},       /* a value that the type does not take */
                {"08P01", -EPROTO},    /* parameters that do not fit the statement */
                {"08", -ENOTCONN},     {"57P", -ENOTCONN}, {"53300", -ENOTCONN},
                {"25006", -ENOTCONN},  {"53100", -ENOSPC}, {"53", -EAGAIN},
        };
        for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
                if (str_starts(sqlstate, codes[i].prefix))
                        return codes[i].code;
        return -EIO;
}

int db_refused(const char *what, const PGresult *result, struct error *error)
{
        const char *sqlstate = db_sqlstate(result);
        const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        if (!message)
                message = "the connection broke";
        return error_set(error, code_of(sqlstate), "database: %s: %s%s%s%s", what, message, *sqlstate ? " (" : "",
                         sqlstate, *sqlstate ? ")" : "");
}

static size_t slot_of(const struct db_prepared *set, const struct db_statement *statement)
{
        size_t i = ((uintptr_t)statement >> 4) * 0x9E3779B97F4A7C15u >> 20;
        while (set->slots[i & (set->size - 1)] && set->slots[i & (set->size - 1)] != statement)
                i++;
        return i & (set->size - 1);
}

bool db_prepared_has(const struct db_prepared *set, const struct db_statement *statement)
{
        return set->size && set->slots[slot_of(set, statement)] == statement;
}

void db_prepared_add(struct db_prepared *set, const struct db_statement *statement)
{
        if (set->n * 2 >= set->size) {
                struct db_prepared larger = {.size = set->size ? set->size * 2 : 64, .n = set->n};
                larger.slots = xcalloc(larger.size, sizeof *larger.slots);
                for (size_t i = 0; i < set->size; i++)
                        if (set->slots[i])
                                larger.slots[slot_of(&larger, set->slots[i])] = set->slots[i];
                free(set->slots);
                *set = larger;
        }
        size_t slot = slot_of(set, statement);
        if (!set->slots[slot])
                set->n++;
        set->slots[slot] = statement;
}

void db_prepared_remove(struct db_prepared *set, const struct db_statement *statement)
{
        struct db_prepared smaller = {0};
        for (size_t i = 0; i < set->size; i++)
                if (set->slots[i] && set->slots[i] != statement)
                        db_prepared_add(&smaller, set->slots[i]);
        db_prepared_clear(set);
        *set = smaller;
}

void db_prepared_clear(struct db_prepared *set)
{
        free(set->slots);
        *set = (struct db_prepared){0};
}

static void on_notice(void *userdata _unused_, const PGresult *result)
{
        log_debug("database: %s", str_or(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), "notice"));
}

PGconn *db_connect(const char *conninfo, const char *application, bool start)
{
        /* What stands before "dbname" gives way to the connection string, what stands behind does not. */
        const char *const settings[][2] = {
                {"connect_timeout", "10"},     {"keepalives_idle", "15"},
                {"keepalives_interval", "5"},  {"keepalives_count", "3"},
                {"tcp_user_timeout", "20000"}, {"target_session_attrs", "read-write"},
                {"dbname", conninfo},          {"application_name", application},
                {"client_encoding", "UTF8"},   {NULL, NULL},
        };
        const char *keywords[ARRAY_SIZE(settings)], *values[ARRAY_SIZE(settings)];
        for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
                keywords[i] = settings[i][0];
                values[i] = settings[i][1];
        }
        PGconn *pg = start ? PQconnectStartParams(keywords, values, 1) : PQconnectdbParams(keywords, values, 1);
        if (pg)
                PQsetNoticeReceiver(pg, on_notice, NULL);
        return pg;
}

char *db_trouble(PGconn *pg)
{
        char *text = xstrdup(pg ? PQerrorMessage(pg) : "no memory");
        str_trim(text);
        for (char *c = text; *c; c++)
                if (*c == '\n' || *c == '\t')
                        *c = ' ';
        return text;
}
