/*
 * A real PostgreSQL for one test program: an embedded cluster in a directory of its own, made by cluster_start() and
 * removed at the end, also when the program crashes. And a loop on which single queries are awaited.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "db/cluster.h"
#include "db/db.h"

#define PG_PATIENCE_MS 60000 /* for what must come sooner or later; a test that passes never waits for it */

struct pg {
        char *directory; /* of this test; anybody may pass it */
        struct cluster *cluster;
        const char *conninfo;
        int guardian; /* our end of its pipe */
};

void pg_open(struct pg *pg);
void pg_close(struct pg *pg);
struct cluster_options pg_options(const struct pg *pg);
void pg_start(struct pg *pg); /* again, after a stop or a kill */

/* On a connection of its own; fails the test when the server refuses. */
void pg_exec(const struct pg *pg, const char *sql);
void pg_admin(const struct pg *pg, const char *sql); /* as the cluster's superuser */
/* First column of the first row, "" for null and for no row. Owned by the caller. */
char *pg_value(const struct pg *pg, const char *sql);
int64_t pg_number(const struct pg *pg, const char *sql);
/* Until the query gives `wanted`. */
void pg_wait_for(const struct pg *pg, const char *sql, const char *wanted);
/* Fails the test with the sentence of the error unless `code` is 0. */
void pg_fine(int code, struct error *error);
struct db *pg_db(const struct pg *pg); /* a blocking connection; db_close */

/* --- tasks --- */

struct wish {
        struct task task;
        int (*start)(struct task *t); /* the first step: starts the wait, goes on with wish_done */
        void *argument;
        bool finished;
        int code;
        struct error error;
};

/* A task that begins with `start`; freed by its owner after `finished`. */
void wish_start(struct wish *wish, struct loop *loop, int (*start)(struct task *t), void *argument);
int wish_done(struct task *t); /* a last step */
/* Turns the loop until it has finished; its code. */
int wish_wait(struct wish *wish);
void wish_clear(struct wish *wish);
/* Turns the loop until `*flag`. */
void loop_until(struct loop *loop, const bool *flag);
void loop_turn_ms(struct loop *loop, int64_t ms);
/* One query, awaited. */
int loop_query(struct loop *loop, struct db_query query, struct error *error);
