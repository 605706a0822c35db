/*
 * Log lines: append-only rows, numbered per VM under the lock of its head, a batch with an id stored once. The cost of
 * a batch does not depend on how much is stored.
 */
#pragma once

#include "db/batch.h"
#include "db/db.h"

#define LOG_LINE_MAX 16384  /* bytes of one line; the rest is cut with a mark */
#define LOG_LINES_MAX 10000 /* lines of one batch */

struct log_answer {
        bool found;   /* the VM exists: the lines are committed (or were already, for a repeated batch) */
        int64_t last; /* number of its last line now */
};

/* `messages`: an array of texts as they came, made clean here (UTF-8, NUL, codes masked); `batch_id` may be NULL. */
json_t *logs_item(const char *hostname, const json_t *messages, const char *batch_id);
extern const struct batch_kind logs_kind;

struct log_text {
        struct buf text; /* lines with newlines */
        int64_t last;    /* number of the last line given; unchanged when there is none */
};

/* Both give at most 2 MB. */
/* The last `tail` lines, in order. */
struct db_query logs_tail(const char *hostname, int64_t tail, struct log_text *ret);
/* At most `limit` lines after number `after`, in order. */
struct db_query logs_after(const char *hostname, int64_t after, int64_t limit, struct log_text *ret);
/* Forgets lines older than `seconds`, at most `limit` in one go; *ret.count: how many. */
struct count_answer;
struct db_query logs_expire(double seconds, int64_t limit, struct count_answer *ret);
/* While all lines together take more than `bytes`, forgets some of the oldest of the VMs that hold the most, at most `limit` in
 * one go; *ret.count: how many, 0 when there is room. */
struct db_query logs_shrink(int64_t bytes, int64_t limit, struct count_answer *ret);
