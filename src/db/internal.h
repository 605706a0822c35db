/*
 * What the files of this room share and nobody else sees: parameters and results of a query, whichever way it runs; the
 * link, a connection on the loop that mends itself; and queries sent without a task, for batches.
 */
#pragma once

#include "db/db.h"

/* The parameters in text form, in one block of memory. */
struct db_values {
        const char *texts[DB_PARAMS_MAX];
        char *block;
};
void db_encode(const struct db_query *query, struct db_values *ret);
void db_values_deinit(struct db_values *values);

/* Checks the number of rows and decodes each. `receiver` may be NULL: nothing is decoded. */
int db_decode(const struct db_statement *statement, const PGresult *result, void *receiver, struct error *error);

const char *db_sqlstate(const PGresult *result); /* "" when it has none */
bool db_result_ok(const PGresult *result);
/* Fills the error from what the server said. */
int db_refused(const char *what, const PGresult *result, struct error *error);
bool db_says_again(const struct db_statement *statement, const char *sqlstate); /* run the same statement again */
bool db_says_gone(const char *sqlstate);                                        /* the server ends this connection */
bool db_says_full(const char *sqlstate);
bool db_says_read_only(const char *sqlstate);
bool db_says_unprepared(const char *sqlstate); /* it does not know the statement, or in an older form */
#define DB_ATTEMPTS_MAX 10

/* The statements that a connection has prepared. */
struct db_prepared {
        const struct db_statement **slots;
        size_t n, size;
};
bool db_prepared_has(const struct db_prepared *set, const struct db_statement *statement);
void db_prepared_add(struct db_prepared *set, const struct db_statement *statement);
void db_prepared_remove(struct db_prepared *set, const struct db_statement *statement);
void db_prepared_clear(struct db_prepared *set);

/* Opens as db_open() promises: at once, or (`start`) with PQconnectPoll still to do. */
PGconn *db_connect(const char *conninfo, const char *application, bool start);
extern const char db_setup_sql[]; /* run first on every connection */
char *db_trouble(PGconn *pg);     /* the connection's last words in one line; owned by the caller */

/* --- link ---------------------------------------------------------------------------------------------------------- */

struct db_link;

struct db_link_class {
        int (*up)(struct db_link *link);     /* connected and set up; < 0: give the connection up again */
        void (*input)(struct db_link *link); /* something was read */
        void (*down)(struct db_link *link);  /* it was up and is not any more; link->trouble says why */
};

enum db_link_state { LINK_DOWN, LINK_RESOLVING, LINK_CONNECTING, LINK_SETTING_UP, LINK_UP, LINK_CLOSED };

struct db_link {
        const struct db_link_class *class;
        void *owner;
        uv_loop_t *uv;
        PGconn *pg;
        char *trouble; /* why it does not stand; NULL: it does */
        enum db_link_state state;
        char *conninfo, *application, *setup;
        struct link_socket *socket;
        struct link_resolver *resolver;
        uv_timer_t timer;
        int64_t backoff_ms, up_since_ms;
        unsigned attempts;
};

struct db_link *db_link_new(uv_loop_t *uv, const struct db_link_class *class, void *owner, const char *conninfo,
                            const char *application, const char *setup_sql);
void db_link_start(struct db_link *link);
/* Sends what libpq has buffered. May call `down`. */
void db_link_flush(struct db_link *link);
/* Gives the connection up and makes another soon. Calls `down` if it was up. */
void db_link_drop(struct db_link *link, const char *format, ...) _printf_(2, 3);
/* Ends it without calling anything; freed by the loop. */
void db_link_close(struct db_link *link);

/*
 * Turns the names of hosts in a connection string into addresses off the loop, for libpq would block in getaddrinfo.
 * `done` gets the connection string to use (owned by it) or NULL and a sentence. Every `turn` begins with another host.
 */
struct link_resolver *link_resolve(uv_loop_t *uv, const char *conninfo, unsigned turn,
                                   void (*done)(void *owner, char *conninfo, const char *trouble), void *owner);
void link_resolver_cancel(struct link_resolver *resolver);

/* --- queries without a task ---------------------------------------------------------------------------------------- */

struct db_request;

/* `result` is NULL when `error` is set. Called once, from the loop. */
typedef void (*db_answer)(void *owner, const PGresult *result, struct error *error);
struct db_request *db_pool_send(struct db_pool *pool, const struct db_query *query, db_answer answer, void *owner);
void db_request_abandon(struct db_request *request); /* `answer` will not be called */
void db_pool_dispatch(struct db_pool *pool);         /* hands queries that wait to connections, and flushes these */
int64_t db_pool_deadline(const struct db_pool *pool);
/* -EINVAL when libpq does not understand it. */
int db_check_conninfo(const char *conninfo, struct error *error);
