/*
 * Queries on the loop: a few connections in pipeline mode, and the queries that wait for one. Each query has a Sync of
 * its own, so that a failure ends nothing but itself. The one idea: an answer counts when its Sync has come back, for
 * the server commits there and not before.
 *
 * What happens to a query when its connection breaks depends on what is known: when the server's last word was an error
 * for the query at the head, neither that one nor any behind it was committed, and all are sent again; else only those
 * that may run twice.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "db/internal.h"

#define CONNECTIONS 4
#define CONNECTIONS_MAX 64
#define DEADLINE_MS 10000
#define DEPTH_MAX 32     /* queries in flight on one connection; the others wait where they can still choose */
#define SILENT_MS 3000   /* an answer owed for so long is told */
#define REFUSAL_MS 15000 /* for so long a full disk is remembered: whoever reads does not meet it */
#define NULLS_MAX 8      /* ends of results in a row that libpq gives while an answer is owed */

struct connection {
        struct db_pool *pool;
        struct db_link *link;
        struct list sent; /* struct db_request.queue, in the order of their answers */
        size_t n_sent;
        int64_t progress_ms; /* when it last answered, or began to owe an answer */
        struct db_prepared prepared;
        unsigned round; /* grows when `prepared` is forgotten */
        bool undone;    /* the server said that nothing of what is in flight was done */
};

struct db_pool {
        struct loop *loop;
        struct turn_hook hook;
        uv_timer_t *timer; /* runs while anybody waits */
        int64_t deadline_ms;
        const char *refusal; /* "read-only" or "disk-full": it said so at refused_ms */
        int64_t refused_ms;
        struct list waiting; /* struct db_request.queue, no connection yet */
        struct list alive;   /* struct db_request.age, oldest first: somebody wants the answer */
        size_t n_connections;
        struct connection connections[];
};

struct db_request {
        struct list queue, age;
        struct db_pool *pool;
        const struct db_statement *statement;
        struct db_values values;
        size_t n_params;
        db_answer answer; /* NULL: nobody wants it any more */
        void *owner;
        int64_t deadline_ms;
        unsigned attempts, round;
        struct connection *connection; /* NULL: it waits */
        bool preparing;                /* the answer to its Prepare comes first */
        PGresult *result;
};

static const struct db_statement forget_statement = {.name = "deallocate all", .sql = "deallocate all"};

/* --- requests ----------------------------------------------------------------------------------------------------- */

static void list_prepend(struct list *head, struct list *link)
{
        list_append(head->next, link);
}

static void free_request(struct db_request *request)
{
        list_remove(&request->queue);
        list_remove(&request->age);
        db_values_deinit(&request->values);
        PQclear(request->result);
        free(request);
}

/* Gives the answer and forgets who wanted it. */
static void tell(struct db_request *request, const PGresult *result, struct error *error)
{
        db_answer answer = request->answer;
        request->answer = NULL;
        list_remove(&request->age);
        if (answer)
                answer(request->owner, result, error);
}

static void fail_request(struct db_request *request, int code, const char *words)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        error_set(&error, code, "database: %s: %s", request->statement->name, words);
        tell(request, NULL, &error);
}

/* Back to those that wait, before all others; they are the oldest. */
static void wait_again(struct db_request *request)
{
        PQclear(STEAL(request->result));
        request->connection = NULL;
        request->preparing = false;
        list_remove(&request->queue);
        list_prepend(&request->pool->waiting, &request->queue);
}

struct db_request *db_pool_send(struct db_pool *pool, const struct db_query *query, db_answer answer, void *owner)
{
        struct db_request *request = xcalloc(1, sizeof *request);
        request->pool = pool;
        request->statement = query->statement;
        request->n_params = query->n_params;
        request->answer = answer;
        request->owner = owner;
        request->deadline_ms = clock_ms() + pool->deadline_ms;
        db_encode(query, &request->values);
        list_append(&pool->waiting, &request->queue);
        list_append(&pool->alive, &request->age);
        return request;
}

void db_request_abandon(struct db_request *request)
{
        request->answer = NULL;
        list_remove(&request->age);
        if (!request->connection)
                free_request(request);
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static bool sync_pipeline(PGconn *pg)
{
#ifdef LIBPQ_HAS_SEND_PIPELINE_SYNC
        return PQsendPipelineSync(pg);
#else
        return PQpipelineSync(pg);
#endif
}

static void on_input(struct db_link *link);

static void enlist(struct connection *c, struct db_request *request)
{
        if (list_empty(&c->sent))
                c->progress_ms = clock_ms();
        list_remove(&request->queue);
        list_append(&c->sent, &request->queue);
        c->n_sent++;
        request->connection = c;
        request->round = c->round;
}

static bool send_parts(struct connection *c, struct db_request *request)
{
        PGconn *pg = c->link->pg;
        const struct db_statement *statement = request->statement;
        request->preparing = !db_prepared_has(&c->prepared, statement);
        if (request->preparing) {
                if (!PQsendPrepare(pg, statement->name, statement->sql, 0, NULL))
                        return false;
                db_prepared_add(&c->prepared, statement);
        }
        return PQsendQueryPrepared(pg, statement->name, (int)request->n_params, request->values.texts, NULL, NULL, 0) &&
               sync_pipeline(pg);
}

static void send_request(struct connection *c, struct db_request *request)
{
        enlist(c, request);
        request->attempts++;
        if (send_parts(c, request))
                return;
        on_input(c->link); /* the server's last words may have come before */
        if (c->link->state == LINK_UP) {
                _cleanup_free_ char *words = db_trouble(c->link->pg);
                db_link_drop(c->link, "%s", words);
        }
}

/* After this the connection knows no statement, and neither do we think that it does. */
static void forget_prepared(struct connection *c)
{
        struct db_request *request = xcalloc(1, sizeof *request);
        request->pool = c->pool;
        request->statement = &forget_statement;
        enlist(c, request);
        db_prepared_clear(&c->prepared);
        c->round++;
        if (!PQsendQueryParams(c->link->pg, forget_statement.sql, 0, NULL, NULL, NULL, NULL, 0) ||
            !sync_pipeline(c->link->pg))
                db_link_drop(c->link, "the connection broke");
}

static struct connection *least_busy(struct db_pool *pool)
{
        struct connection *best = NULL;
        for (size_t i = 0; i < pool->n_connections; i++) {
                struct connection *c = &pool->connections[i];
                if (c->link->state == LINK_UP && c->n_sent < DEPTH_MAX && (!best || c->n_sent < best->n_sent))
                        best = c;
        }
        return best;
}

static void on_tick(uv_timer_t *timer);

static void watch_time(struct db_pool *pool)
{
        bool owed = !list_empty(&pool->alive);
        for (size_t i = 0; i < pool->n_connections; i++)
                owed |= !list_empty(&pool->connections[i].sent);
        uint64_t tick = (uint64_t)MIN(MAX(pool->deadline_ms / 16, (int64_t)5), (int64_t)250);
        if (!owed)
                uv_timer_stop(pool->timer);
        else if (!uv_is_active((uv_handle_t *)pool->timer))
                uv_timer_start(pool->timer, on_tick, tick, tick);
}

void db_pool_dispatch(struct db_pool *pool)
{
        bool sent = false;
        struct connection *c;
        while (!list_empty(&pool->waiting) && (c = least_busy(pool))) {
                send_request(c, list_entry(pool->waiting.next, struct db_request, queue));
                sent = true;
        }
        for (size_t i = 0; sent && i < pool->n_connections; i++)
                if (pool->connections[i].n_sent)
                        db_link_flush(pool->connections[i].link);
        watch_time(pool);
}

static void on_turn(struct turn_hook *hook)
{
        struct db_pool *pool = container_of(hook, struct db_pool, hook);
        bool timed = uv_is_active((uv_handle_t *)pool->timer);
        if (timed || !list_empty(&pool->alive) || !list_empty(&pool->waiting)) /* else nobody is owed anything */
                db_pool_dispatch(pool);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

/* Takes the request from its connection; it is in no queue then. */
static void leave(struct connection *c, struct db_request *request)
{
        list_remove(&request->queue);
        c->n_sent--;
        request->connection = NULL;
}

static bool send_again(struct connection *c, struct db_request *request)
{
        const char *sqlstate = db_sqlstate(request->result);
        if (request->statement == &forget_statement)
                return false;
        if (request->preparing)
                db_prepared_remove(&c->prepared, request->statement);
        if (db_says_unprepared(sqlstate) && request->round == c->round && request->attempts < DB_ATTEMPTS_MAX)
                forget_prepared(c);
        return request->answer && request->attempts < DB_ATTEMPTS_MAX &&
               (db_says_again(request->statement, sqlstate) || db_says_unprepared(sqlstate));
}

static void note_refusal(struct db_pool *pool, const char *sqlstate)
{
        const char *refusal = db_says_full(sqlstate) ? "disk-full" : db_says_read_only(sqlstate) ? "read-only" : NULL;
        if (!refusal)
                return;
        pool->refusal = refusal;
        pool->refused_ms = clock_ms();
}

/* Its Sync has come: what it did is committed, or undone. */
static void complete(struct connection *c, struct db_request *request)
{
        c->progress_ms = clock_ms();
        leave(c, request);
        if (db_result_ok(request->result)) {
                tell(request, request->result, NULL);
        } else if (send_again(c, request)) {
                wait_again(request);
                return;
        } else {
                _cleanup_error_ struct error error = ERROR_NULL;
                db_refused(request->statement->name, request->result, &error);
                note_refusal(c->pool, db_sqlstate(request->result));
                tell(request, NULL, &error);
        }
        free_request(request);
}

/* The server's last word on this connection. */
static void hear_farewell(struct connection *c, const struct db_request *request, PGresult *result)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        c->undone = *db_sqlstate(result) && !request->result;
        db_refused(request->statement->name, result, &error);
        note_refusal(c->pool, db_sqlstate(result));
        PQclear(result);
        db_link_drop(c->link, "%s", error_text(&error));
}

static void take_result(struct connection *c, PGresult *result)
{
        struct db_request *request = list_entry(c->sent.next, struct db_request, queue);
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_PIPELINE_SYNC) {
                PQclear(result);
                if (request->result)
                        complete(c, request);
                else
                        db_link_drop(c->link, "an answer without a result");
        } else if (status == PGRES_PIPELINE_ABORTED) {
                PQclear(result);
        } else if (db_result_ok(result)) {
                if (request->preparing) {
                        request->preparing = false;
                        PQclear(result);
                } else {
                        PQclear(request->result);
                        request->result = result;
                }
        } else if (PQstatus(c->link->pg) != CONNECTION_OK || db_says_gone(db_sqlstate(result))) {
                hear_farewell(c, request, result);
        } else {
                PQclear(request->result);
                request->result = result;
        }
}

static void on_input(struct db_link *link)
{
        struct connection *c = link->owner;
        int nulls = 0;
        while (!PQisBusy(link->pg) && !list_empty(&c->sent)) {
                PGresult *result = PQgetResult(link->pg);
                if (result) {
                        nulls = 0;
                        take_result(c, result);
                } else if (++nulls > NULLS_MAX) { /* libpq forgets what it owes when a write failed */
                        _cleanup_free_ char *words = db_trouble(link->pg);
                        db_link_drop(link, "%s", *words ? words : "an answer is missing");
                }
                if (link->state != LINK_UP)
                        return;
        }
}

/* Only a server that may be written to is taken (target_session_attrs). */
static int on_up(struct db_link *link)
{
        struct db_pool *pool = ((struct connection *)link->owner)->pool;
        if (pool->refusal && str_eq(pool->refusal, "read-only"))
                pool->refusal = NULL;
        return PQenterPipelineMode(link->pg) ? 0 : -EIO;
}

static void on_down(struct db_link *link)
{
        struct connection *c = link->owner;
        _cleanup_free_ char *words = xasprintf("the connection broke: %s", link->trouble);
        db_prepared_clear(&c->prepared);
        c->round++;
        while (!list_empty(&c->sent)) {
                struct db_request *request = list_entry(c->sent.prev, struct db_request, queue);
                leave(c, request);
                bool again = request->answer && request->attempts < DB_ATTEMPTS_MAX &&
                             (c->undone || request->statement->idempotent);
                if (again) {
                        wait_again(request);
                        continue;
                }
                fail_request(request, -ENOTCONN, words);
                free_request(request);
        }
        c->undone = false;
}

static const struct db_link_class link_class = {.up = on_up, .input = on_input, .down = on_down};

/* --- time --------------------------------------------------------------------------------------------------------- */

static void expire(struct db_pool *pool, struct db_request *request)
{
        if (!request->connection && !db_pool_ready(pool))
                fail_request(request, -ENOTCONN, db_pool_trouble(pool));
        else
                fail_request(request, -ETIMEDOUT, "no answer in time");
        if (!request->connection)
                free_request(request);
}

static void on_tick(uv_timer_t *timer)
{
        struct db_pool *pool = timer->data;
        int64_t now = clock_ms();
        while (!list_empty(&pool->alive)) {
                struct db_request *oldest = list_entry(pool->alive.next, struct db_request, age);
                if (oldest->deadline_ms > now)
                        break;
                expire(pool, oldest);
        }
        for (size_t i = 0; i < pool->n_connections; i++) {
                struct connection *c = &pool->connections[i];
                if (!list_empty(&c->sent) && now - c->progress_ms >= pool->deadline_ms)
                        db_link_drop(c->link, "no answer from the database within %lld ms",
                                     (long long)pool->deadline_ms);
        }
}

/* --- the pool ----------------------------------------------------------------------------------------------------- */

bool db_pool_ready(const struct db_pool *pool)
{
        for (size_t i = 0; i < pool->n_connections; i++)
                if (pool->connections[i].link->state == LINK_UP)
                        return true;
        return false;
}

const char *db_pool_trouble(const struct db_pool *pool)
{
        return db_pool_ready(pool) ? "" : str_or(pool->connections[0].link->trouble, "not connected");
}

static bool is_silent(const struct db_pool *pool)
{
        int64_t now = clock_ms();
        for (size_t i = 0; i < pool->n_connections; i++)
                if (!list_empty(&pool->connections[i].sent) && now - pool->connections[i].progress_ms > SILENT_MS)
                        return true;
        return false;
}

const char *db_pool_health(const struct db_pool *pool)
{
        bool read_only = pool->refusal && str_eq(pool->refusal, "read-only");
        if (!db_pool_ready(pool))
                return read_only ? "read-only" : "not-connected";
        if (pool->refusal && clock_ms() - pool->refused_ms < REFUSAL_MS)
                return pool->refusal;
        return is_silent(pool) ? "no-answer" : "ready";
}

int64_t db_pool_deadline(const struct db_pool *pool)
{
        return pool->deadline_ms;
}

int db_check_conninfo(const char *conninfo, struct error *error)
{
        PQconninfoOption *parsed = PQconninfoParse(conninfo, NULL);
        if (!parsed) /* libpq's sentence may repeat a part of the password */
                return error_set(error, -EINVAL, "the connection string of the database is not understood");
        PQconninfoFree(parsed);
        return 0;
}

int db_pool_new(struct loop *loop, const struct db_pool_options *options, struct db_pool **ret, struct error *error)
{
        int r = db_check_conninfo(options->conninfo, error);
        if (r < 0)
                return r;
        size_t n = MIN(options->connections ? options->connections : CONNECTIONS, CONNECTIONS_MAX);
        struct db_pool *pool = xcalloc(1, sizeof *pool + n * sizeof pool->connections[0]);
        pool->loop = loop;
        pool->n_connections = n;
        pool->deadline_ms = options->deadline_ms ? options->deadline_ms : DEADLINE_MS;
        list_init(&pool->waiting);
        list_init(&pool->alive);
        pool->timer = xcalloc(1, sizeof *pool->timer);
        uv_timer_init(&loop->uv, pool->timer);
        pool->timer->data = pool;
        for (size_t i = 0; i < n; i++) {
                struct connection *c = &pool->connections[i];
                c->pool = pool;
                list_init(&c->sent);
                c->link = db_link_new(&loop->uv, &link_class, c, options->conninfo, options->application,
                                      options->init_sql);
                db_link_start(c->link);
        }
        pool->hook.run = on_turn;
        loop_hook(loop, &pool->hook);
        loop->db = *ret = pool;
        return 0;
}

static void end_queue(struct list *queue)
{
        while (!list_empty(queue)) {
                struct db_request *request = list_entry(queue->next, struct db_request, queue);
                fail_request(request, -ENOTCONN, "the program is stopping");
                free_request(request);
        }
}

struct db_pool *db_pool_free(struct db_pool *pool)
{
        if (!pool)
                return NULL;
        list_remove(&pool->hook.link);
        if (pool->loop->db == pool)
                pool->loop->db = NULL;
        uv_close((uv_handle_t *)pool->timer, loop_free_handle);
        for (size_t i = 0; i < pool->n_connections; i++) {
                struct connection *c = &pool->connections[i];
                db_link_close(c->link);
                end_queue(&c->sent);
                db_prepared_clear(&c->prepared);
        }
        end_queue(&pool->waiting);
        free(pool);
        return NULL;
}
