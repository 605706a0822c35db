/* A task waits for a query: the answer is decoded into its receiver, and the task goes on. */
#include <errno.h>

#include "db/internal.h"

struct query_wait {
        struct wait wait;
        struct db_request *request;
        const struct db_statement *statement;
        void *receiver;
};

static void cancel(struct wait *wait)
{
        struct query_wait *q = container_of(wait, struct query_wait, wait);
        db_request_abandon(q->request);
        free(q);
}

static void on_answer(void *owner, const PGresult *result, struct error *error)
{
        struct query_wait *q = owner;
        struct error trouble = ERROR_NULL;
        int r = result ? db_decode(q->statement, result, q->receiver, &trouble) : error_move(&trouble, error);
        if (r < 0)
                task_wake_failed(&q->wait, &trouble);
        else
                task_wake(&q->wait);
        free(q);
}

int db_await_named(struct task *t, struct db_query query, task_step next, const char *name)
{
        if (!t->loop->db)
                return error_set(&t->error, -ENOTCONN, "database: %s: there is no connection", query.statement->name);
        struct query_wait *q = xcalloc(1, sizeof *q);
        q->wait.cancel = cancel;
        q->statement = query.statement;
        q->receiver = query.receiver;
        q->request = db_pool_send(t->loop->db, &query, on_answer, q);
        return task_await_named(t, &q->wait, next, name);
}
