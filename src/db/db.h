/*
 * Statements and the two ways to run them. A statement is a constant: name, SQL, the rows it may give and the decoder
 * of one row. A query is a statement with its parameters and the place its answer goes: a plain value. The same query is
 * sent by db_await() on the loop (the web process) and run by db_run() in blocking code (runner, CLI).
 */
#pragma once

#include <libpq-fe.h>

#include "base/json.h"
#include "base/task.h"

struct db_row {
        const PGresult *result;
        int row;
};

/* Columns by position. Text is borrowed and valid during the decoder's call; NULL columns give NULL, 0, false. */
bool db_null(const struct db_row *row, int column);
const char *db_text(const struct db_row *row, int column);
int64_t db_int(const struct db_row *row, int column);
double db_double(const struct db_row *row, int column);
bool db_bool(const struct db_row *row, int column);
/* The row as an object with the columns' names: bool, int, float, json and text by the column's type, NULL as null. */
json_t *db_object(const struct db_row *row);

enum db_rows {
        DB_NO_ROWS, /* none */
        DB_ONE,     /* exactly one, else an error */
        DB_MAYBE,   /* none or one */
        DB_MANY,
};

struct db_statement {
        const char *name; /* of the prepared statement; unique in the program */
        const char *sql;  /* one statement, parameters $1.. with casts where the type is not plain */
        enum db_rows rows;
        /* Called for each row with the query's receiver. NULL for DB_NO_ROWS. */
        int (*decode)(const struct db_row *row, void *receiver, struct error *error);
        const char *retry; /* SQLSTATE that means "run the same statement again" (e.g. "23505"); NULL: none.
                                * 40001 and 40P01 are always run again, at most 10 times. */
        bool idempotent;   /* may be sent again when the connection broke while it ran */
};

enum db_kind { DB_P_NULL, DB_P_TEXT, DB_P_INT, DB_P_DOUBLE, DB_P_BOOL };

struct db_param {
        enum db_kind kind;
        union {
                const char *text;
                int64_t integer;
                double real;
                bool boolean;
        };
};

#define DB_TEXT(value) ((struct db_param){(value) ? DB_P_TEXT : DB_P_NULL, {.text = (value)}})
#define DB_INT(value) ((struct db_param){DB_P_INT, {.integer = (value)}})
#define DB_DOUBLE(value) ((struct db_param){DB_P_DOUBLE, {.real = (value)}})
#define DB_BOOL(value) ((struct db_param){DB_P_BOOL, {.boolean = (value)}})
#define DB_NULL ((struct db_param){DB_P_NULL, {.text = NULL}})

#define DB_PARAMS_MAX 16

struct db_query {
        const struct db_statement *statement;
        void *receiver; /* zeroed by the caller; decoded into only while its task lives */
        size_t n_params;
        struct db_param params[DB_PARAMS_MAX]; /* texts borrowed: db_await copies, db_run uses them at once */
};

/* db_query(&stmt, &receiver, DB_TEXT(hostname), DB_INT(5)) */
#define db_query(stmt, recv, ...) \
        ((struct db_query){.statement = (stmt), \
                           .receiver = (recv), \
                           .n_params = sizeof((struct db_param[]){__VA_ARGS__}) / sizeof(struct db_param), \
                           .params = {__VA_ARGS__}})

/* --- on the loop --------------------------------------------------------------------------------------------------- */

struct db_pool_options {
        const char *conninfo;    /* libpq connection string or URL */
        const char *application; /* application_name */
        const char *init_sql;    /* run on each new connection; may be NULL */
        unsigned connections;    /* 0: 4 */
        int64_t deadline_ms;     /* 0: 10,000: then the query fails with -ETIMEDOUT */
};

/* Connects in the background and for ever; queries wait for a connection up to the deadline. Sets loop->db. */
int db_pool_new(struct loop *loop, const struct db_pool_options *options, struct db_pool **ret, struct error *error);
struct db_pool *db_pool_free(struct db_pool *pool);
bool db_pool_ready(const struct db_pool *pool);          /* at least one connection stands */
const char *db_pool_trouble(const struct db_pool *pool); /* why none does; "" otherwise */
/* Can it serve? "ready", "not-connected", "no-answer" (connected, and owes answers for seconds), "read-only", "disk-full"
 * (it refused a statement for that, or did a moment ago). */
const char *db_pool_health(const struct db_pool *pool);

/* Sends the query on loop->db; `next` runs when the answer is decoded. No answer within the deadline: the task fails with
 * -ETIMEDOUT; no connection: -ENOTCONN; anything the server refuses: -EIO with SQLSTATE and message. */
int db_await_named(struct task *t, struct db_query query, task_step next, const char *name);
#define db_await(t, query, next) db_await_named((t), (query), (next), #next)

/* --- blocking ------------------------------------------------------------------------------------------------------ */

struct db;

int db_open(const char *conninfo, const char *application, struct db **ret, struct error *error);
struct db *db_close(struct db *db);
static inline void db_closep(struct db **db)
{
        db_close(*db);
}
#define _cleanup_db_ _cleanup_(db_closep)

/* As db_await, at once. -ENOTCONN: the connection has gone (db_reopen). */
int db_run(struct db *db, struct db_query query, struct error *error);
/* One or more statements without parameters or rows ("begin", "commit", migrations). */
int db_exec(struct db *db, const char *sql, struct error *error);
int db_reopen(struct db *db, int64_t patience_ms, struct error *error);
PGconn *db_raw(struct db *db);
/* Tries session advisory lock `key`; *ret says whether it is held now. */
int db_lock(struct db *db, int64_t key, bool *ret, struct error *error);
