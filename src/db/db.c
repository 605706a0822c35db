/*
 * The blocking way: one connection, one query at a time, for runner and CLI. The one idea: outside a transaction a
 * statement that lost a race is simply run again here; inside one only the caller knows what else must be repeated.
 */
#include "db/db.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "db/internal.h"

#define ANSWER_MS 60000 /* longer than any single statement of ours takes */

struct db {
        PGconn *pg;
        char *conninfo, *application;
        struct db_prepared prepared;
};

static void hang_up(struct db *db)
{
        PQfinish(STEAL(db->pg));
        db_prepared_clear(&db->prepared);
}

static int set_up(struct db *db, struct error *error)
{
        PGresult *result = PQexec(db->pg, db_setup_sql);
        int r = db_result_ok(result) ? 0 : db_refused("setting up the connection", result, error);
        PQclear(result);
        return r;
}

static int dial(struct db *db, struct error *error)
{
        hang_up(db);
        db->pg = db_connect(db->conninfo, db->application, false);
        if (PQstatus(db->pg) == CONNECTION_OK && set_up(db, error) == 0)
                return 0;
        if (PQstatus(db->pg) != CONNECTION_OK) {
                _cleanup_free_ char *trouble = db_trouble(db->pg);
                error_set(error, -ENOTCONN, "cannot connect to the database: %s", trouble);
        }
        hang_up(db);
        return -ENOTCONN;
}

int db_open(const char *conninfo, const char *application, struct db **ret, struct error *error)
{
        _cleanup_db_ struct db *db = xcalloc(1, sizeof *db);
        *ret = NULL;
        db->conninfo = xstrdup(conninfo);
        db->application = xstrdup(application);
        int r = dial(db, error);
        if (r == 0)
                *ret = STEAL(db);
        return r;
}

struct db *db_close(struct db *db)
{
        if (!db)
                return NULL;
        hang_up(db);
        free(db->conninfo);
        free(db->application);
        free(db);
        return NULL;
}

int db_reopen(struct db *db, int64_t patience_ms, struct error *error)
{
        int64_t deadline = clock_ms() + patience_ms, pause = 50;
        for (;;) {
                struct error trouble = ERROR_NULL;
                if (dial(db, &trouble) == 0)
                        return 0;
                if (clock_ms() + pause > deadline)
                        return error_move(error, &trouble);
                error_clear(&trouble);
                clock_sleep_ms(pause + random() % pause);
                pause = MIN(pause * 2, (int64_t)2000);
        }
}

PGconn *db_raw(struct db *db)
{
        return db->pg;
}

static int lost(struct db *db, const char *what, struct error *error)
{
        _cleanup_free_ char *trouble = db_trouble(db->pg);
        hang_up(db);
        return error_set(error, -ENOTCONN, "database: %s: %s", what, *trouble ? trouble : "the connection broke");
}

/* Waits until libpq holds the whole answer. */
static int wait_answer(struct db *db, const char *what, struct error *error)
{
        int64_t deadline = clock_ms() + ANSWER_MS;
        while (PQisBusy(db->pg)) {
                struct pollfd pfd = {.fd = PQsocket(db->pg), .events = POLLIN};
                int64_t left = deadline - clock_ms();
                if (left <= 0 || (poll(&pfd, 1, (int)left) == 0)) {
                        hang_up(db);
                        return error_set(error, -ETIMEDOUT, "database: %s: no answer within %d s", what,
                                         ANSWER_MS / 1000);
                }
                if (!PQconsumeInput(db->pg))
                        return lost(db, what, error);
        }
        return 0;
}

/* The last result of what was sent, as PQexec gives it; an error ends it. */
static int take_answer(struct db *db, const char *what, PGresult **ret, struct error *error)
{
        PGresult *last = NULL;
        for (;;) {
                int r = wait_answer(db, what, error);
                PGresult *next = r == 0 ? PQgetResult(db->pg) : NULL;
                if (r < 0)
                        PQclear(last);
                if (r < 0)
                        return r;
                if (!next)
                        break;
                PQclear(last);
                last = next;
        }
        *ret = last;
        return last ? 0 : lost(db, what, error);
}

static int judge(struct db *db, const char *what, const PGresult *result, struct error *error)
{
        if (db_result_ok(result))
                return 0;
        int r = db_refused(what, result, error);
        if (PQstatus(db->pg) == CONNECTION_OK && !db_says_gone(db_sqlstate(result)))
                return r;
        hang_up(db);
        if (error)
                error->code = -ENOTCONN;
        return -ENOTCONN;
}

static int prepare(struct db *db, const struct db_statement *statement, struct error *error)
{
        if (db_prepared_has(&db->prepared, statement))
                return 0;
        PGresult *result = NULL;
        if (!PQsendPrepare(db->pg, statement->name, statement->sql, 0, NULL))
                return lost(db, statement->name, error);
        int r = take_answer(db, statement->name, &result, error);
        if (r == 0)
                r = judge(db, statement->name, result, error);
        PQclear(result);
        if (r == 0)
                db_prepared_add(&db->prepared, statement);
        return r;
}

static void forget_prepared(struct db *db)
{
        PQclear(PQexec(db->pg, "deallocate all"));
        db_prepared_clear(&db->prepared);
}

/* *again: the same statement may be run once more, and the error does not count yet. */
static int run_once(struct db *db, const struct db_query *query, const struct db_values *values, bool *again,
                    struct error *error)
{
        const struct db_statement *statement = query->statement;
        bool alone = PQtransactionStatus(db->pg) == PQTRANS_IDLE;
        *again = false;
        int r = prepare(db, statement, error);
        if (r < 0)
                return r;
        if (!PQsendQueryPrepared(db->pg, statement->name, (int)query->n_params, values->texts, NULL, NULL, 0))
                return lost(db, statement->name, error);
        PGresult *result = NULL;
        r = take_answer(db, statement->name, &result, error);
        if (r == 0)
                r = judge(db, statement->name, result, error);
        if (r == 0) {
                r = db_decode(statement, result, query->receiver, error);
        } else if (db->pg && alone) {
                const char *sqlstate = db_sqlstate(result);
                *again = db_says_again(statement, sqlstate) || db_says_unprepared(sqlstate);
                if (db_says_unprepared(sqlstate))
                        forget_prepared(db);
        }
        PQclear(result);
        return r;
}

int db_run(struct db *db, struct db_query query, struct error *error)
{
        if (!db->pg)
                return error_set(error, -ENOTCONN, "database: %s: not connected", query.statement->name);
        struct db_values values;
        db_encode(&query, &values);
        bool again = true;
        int r = 0;
        for (int attempt = 0; again && attempt < DB_ATTEMPTS_MAX; attempt++) {
                if (attempt > 0)
                        clock_sleep_ms(random() % (1 + 5 * attempt));
                if (error)
                        error_clear(error);
                r = run_once(db, &query, &values, &again, error);
        }
        db_values_deinit(&values);
        return r;
}

int db_exec(struct db *db, const char *sql, struct error *error)
{
        if (!db->pg)
                return error_set(error, -ENOTCONN, "database: not connected");
        bool alone = PQtransactionStatus(db->pg) == PQTRANS_IDLE;
        PGresult *result = PQexec(db->pg, sql);
        int r = judge(db, "script", result, error);
        PQclear(result);
        if (r < 0 && db->pg && alone && PQtransactionStatus(db->pg) != PQTRANS_IDLE)
                PQclear(PQexec(db->pg, "rollback"));
        return r;
}

static int decode_lock(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        *(bool *)receiver = db_bool(row, 0);
        return 0;
}

static const struct db_statement try_lock = {
        .name = "db_try_lock",
        .sql = "select pg_try_advisory_lock($1)",
        .rows = DB_ONE,
        .decode = decode_lock,
};

int db_lock(struct db *db, int64_t key, bool *ret, struct error *error)
{
        *ret = false;
        return db_run(db, db_query(&try_lock, ret, DB_INT(key)), error);
}
