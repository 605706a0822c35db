/*
 * Writes that arrive in one turn of the loop go out as one statement, and while that one runs the next ones gather: a
 * group commit. The statement takes one parameter, a JSON array of the items, each with its number "ord" (from 0), and
 * returns (ord, ...) rows; an item without a row is "not found". Two items of one key never share a statement, so
 * order per key is kept. The task goes on after the commit, never before.
 */
#pragma once

#include "db/db.h"

struct batch;

struct batch_kind {
        const struct db_statement *statement; /* DB_MANY; `decode` gets a struct batch_answer's receiver for its ord */
        size_t items_max; /* in one statement; 0: 256. Fewer when they are large: see TEXT_USUAL in batch.c */
};

struct batch *batch_new(struct loop *loop, const struct batch_kind *kind);
struct batch *batch_free(struct batch *batch);

/* `item` (an object) is taken over. For a row with its ord, decode(row, receiver) is called (column 0 is the ord). More than 20,000 items
 * waiting: the task fails with -EAGAIN (answered 503 + Retry-After). */
int batch_await_named(struct task *t, struct batch *batch, const char *key, json_t *item, void *receiver,
                      task_step next, const char *name);
#define batch_await(t, batch, key, item, receiver, next) \
        batch_await_named((t), (batch), (key), (item), (receiver), (next), #next)
