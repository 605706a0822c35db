/*
 * The runner: one process that does one operation to its end, or reconciles once, or enters a VM. It alone is linked
 * with the providers. It outlives the allocator that started it; what it has done is in the database, and what it has
 * not done is found by the next reconcile.
 *
 * Two locks say that it is the only one that changes machines: the advisory lock of the database (one runner a
 * database), and an flock in the state directory (one runner a machine, whatever its database). A second pair says the
 * same of collected files; a destroy holds both pairs. A runner that lost its connection, and with it the advisory lock, stops as soon as another
 * one holds it.
 */
#pragma once

#include "aws/aws.h"
#include "config/config.h"
#include "db/db.h"
#include "lab/operation.h"
#include "provider/provider.h"

struct runner {
        struct config *config;
        char *state_dir, *conninfo;
        char *site_sql; /* tells a new connection which allocator this is */
        char *site;
        struct aws_credentials aws; /* empty: none were set by an administrator */
        char *aws_region, *aws_change, *aws_holder;
        bool aws_others; /* the ones at hand are being tried; others are in force until they are found good */
        const struct provider_ops *ops;
        struct provider *provider;
        struct db *db;
        unsigned lanes;    /* enum operation_lanes: the pairs of locks that are held */
        int lock_fd;       /* STATE/runner.lock; -1: not held */
        int files_lock_fd; /* STATE/files.lock; -1: not held */
        int64_t operation; /* 0: none */
        int64_t epoch;
        bool unlocked;      /* the connection that held the lock has gone: nothing is written before it is held again */
        int64_t refused_ms; /* since when it could not be had again; 0: not at all */
        bool lost;          /* another runner has taken over: nothing may be changed any more */

        json_t *lines; /* not yet written */
        int64_t flushed_ms, retry_ms;
        size_t dropped;
        int done, total;
        bool progress_due, cancelled;
        void *work; /* of the operation that is running: receives `created` */
        void (*created)(struct runner *runner, const char *hostname, double started, double ended);
};

/* --- database.c: statements that outlast a lost connection --- */
int runner_connect(struct runner *runner, struct error *error);
#define PATIENCE_MS 60000
/* Runs it; when the connection has gone, makes another and takes the lock again, for up to `patience_ms`. -ESTALE: another
 * runner holds the lock now. Only for statements that may be run twice. */
int runner_db(struct runner *runner, struct db_query query, int64_t patience_ms, struct error *error);

/* --- lock.c --- */
/* Both locks of each lane (enum operation_lanes). -EWOULDBLOCK: another runner works. */
int runner_lock(struct runner *runner, unsigned lanes, int64_t wait_ms, struct error *error);
/* The database's locks of the lanes that are held, after the connection was made anew. *ret: all of them are held. */
int runner_lock_again(struct runner *runner, bool *ret, struct error *error);
/* Lets that lane go again. */
void runner_unlock_lane(struct runner *runner, enum operation_lanes lane);
void runner_unlock(struct runner *runner);
/* After -EWOULDBLOCK: no runner holds the database's lock, so what holds the machine's is a child of one that has died. */
bool runner_was_orphaned(struct runner *runner);

/* --- sink.c: where the provider's words go --- */
struct provider_sink runner_sink(struct runner *runner);
void runner_say(struct runner *runner, const char *format, ...) _printf_(2, 3);
/* Writes what is waiting; `patience_ms` 0: one try. */
int runner_flush(struct runner *runner, int64_t patience_ms);

/* --- operation.c --- */
/* Exit status. Takes the row, does its work, ends it. */
int run_operation(struct runner *runner, int64_t id);
/* Ends the row by what `r` and `error` say. Takes the result. */
int operation_finish(struct runner *runner, int r, json_t *result, struct error *error);

/* --- launch.c, destroy.c, collect.c, reconcile.c: 0 or a negative errno; *ret_result may be NULL --- */
int work_launch(struct runner *runner, const json_t *arguments, json_t **ret_result, struct error *error);
int work_destroy(struct runner *runner, const json_t *arguments, json_t **ret_result, struct error *error);
int work_collect(struct runner *runner, const json_t *arguments, json_t **ret_result, struct error *error);
int work_discard(struct runner *runner, const json_t *arguments, json_t **ret_result, struct error *error);
/* Exit status. */
int run_reconcile(struct runner *runner);
/* A new secret for the VM: `token` for the machine, its hash into the row. */
int renew_token(struct runner *runner, const char *hostname, char *token, struct error *error);

/* --- archive.c: exit status --- */
struct archive_order {
        int64_t collection, list; /* `list`: the operation that makes or made it */
        int64_t from;             /* first byte that is wanted */
        bool follow;              /* it is being made: go on as it grows */
        bool names;               /* folders carry the participant's e-mail */
};
/* Writes the ZIP to standard output, behind a line of JSON that says how long it is. Needs no database. */
int run_archive(struct runner *runner, const struct archive_order *order);

/* --- aws_check.c: exit status, 0 when the AWS credentials are good --- */
int run_aws_check(struct runner *runner);

/* --- provide.c --- */
/* Opens the provider; its children inherit the runner's lock. */
int runner_open(struct runner *runner, struct error *error);
int work_repair(struct runner *runner, const json_t *arguments, struct error *error);
/* Rows of machines that are not there, and what the provider says of itself. */
int reconcile_rows(struct runner *runner, struct error *error);
/* `verb` (make or remove) for one machine of the provider, without a database. Exit status. */
int run_one(struct runner *runner, const char *verb, const char *hostname);

/* --- enter.c: exit status --- */
int run_check(struct runner *runner);
int run_exec(struct runner *runner, const char *hostname, bool as_root, const char *const *argv);
