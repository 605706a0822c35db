/*
 * The gathering of items and their one statement. At most one statement of a batch is on its way; what arrives
 * meanwhile is the next one. When the server refuses a statement for what is in it, its items are sent once more one by
 * one, so that a bad item fails alone. While no connection stands nothing is bound into a statement: each item keeps its
 * own deadline, and whoever was refused or has gone is not written when the database comes back.
 */
#include "db/batch.h"

#include <errno.h>

#include "base/clock.h"
#include "base/text.h"
#include "db/internal.h"

#define ITEMS_MAX 256
#define TEXT_USUAL ((size_t)1 << 20) /* bytes of a statement's items: while the database takes them the next are made */
#define WAITING_MAX 20000

struct batch_item {
        struct wait wait; /* wait.task NULL: nobody wants to know any more */
        struct list link;
        struct batch *batch;
        char *key;
        json_t *json;
        void *receiver;
        int64_t deadline_ms;
        bool sent, alone;
};

struct batch {
        struct loop *loop;
        const struct batch_kind *kind;
        struct turn_hook hook;
        uv_timer_t *timer;   /* makes a turn at the oldest deadline while no connection stands */
        struct list waiting; /* struct batch_item.link */
        size_t n_waiting;
        struct db_request *request; /* the statement on its way */
        struct batch_item **sent;   /* by ord */
        size_t n_sent;
};

static void free_item(struct batch_item *item)
{
        list_remove(&item->link);
        json_decref(item->json);
        free(item->key);
        free(item);
}

static void fail_item(struct batch_item *item, int code, const char *words)
{
        struct error error = ERROR_NULL;
        error_set(&error, code, "%s", words);
        task_wake_failed(&item->wait, &error);
        free_item(item);
}

/* Before it was sent it is simply forgotten; afterwards only its receiver is. */
static void cancel_item(struct wait *wait)
{
        struct batch_item *item = container_of(wait, struct batch_item, wait);
        if (item->sent)
                return;
        item->batch->n_waiting--;
        free_item(item);
}

/* --- the answer --------------------------------------------------------------------------------------------------- */

static void take_rows(struct batch *batch, const PGresult *result, struct error *errors)
{
        int (*decode)(const struct db_row *, void *, struct error *) = batch->kind->statement->decode;
        for (int i = 0; i < PQntuples(result); i++) {
                struct db_row row = {.result = result, .row = i};
                int64_t ord = db_int(&row, 0);
                if (db_null(&row, 0) || ord < 0 || ord >= (int64_t)batch->n_sent)
                        continue;
                struct batch_item *item = batch->sent[ord];
                if (item->wait.task && item->receiver && decode(&row, item->receiver, &errors[ord]) < 0 &&
                    errors[ord].code == 0)
                        error_set(&errors[ord], -EPROTO, "%s: an answer was not understood",
                                  batch->kind->statement->name);
        }
}

static void answer_all(struct batch *batch, const PGresult *result)
{
        struct error *errors = xcalloc(batch->n_sent, sizeof *errors);
        take_rows(batch, result, errors);
        for (size_t i = 0; i < batch->n_sent; i++) {
                if (errors[i].code)
                        task_wake_failed(&batch->sent[i]->wait, &errors[i]);
                else
                        task_wake(&batch->sent[i]->wait);
                error_clear(&errors[i]);
                free_item(batch->sent[i]);
        }
        free(errors);
}

/* In their order, before all others; those that nobody waits for any more are still written. */
static void try_alone(struct batch *batch)
{
        for (size_t i = batch->n_sent; i-- > 0;) {
                struct batch_item *item = batch->sent[i];
                item->alone = true;
                item->sent = false;
                list_append(batch->waiting.next, &item->link);
                batch->n_waiting++;
        }
}

static bool is_about_content(int code)
{
        return code != -ENOTCONN && code != -ETIMEDOUT && code != -ENOSPC && code != -EAGAIN;
}

static void on_answer(void *owner, const PGresult *result, struct error *error)
{
        struct batch *batch = owner;
        batch->request = NULL;
        if (result)
                answer_all(batch, result);
        else if (batch->n_sent > 1 && is_about_content(error->code))
                try_alone(batch);
        else
                for (size_t i = 0; i < batch->n_sent; i++)
                        fail_item(batch->sent[i], error->code, error_text(error));
        batch->n_sent = 0;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void take_item(struct batch *batch, struct buf *text, struct batch_item *item)
{
        list_remove(&item->link);
        batch->n_waiting--;
        item->sent = true;
        json_object_set_new(item->json, "ord", json_integer((json_int_t)batch->n_sent));
        buf_addc(text, batch->n_sent ? ',' : '[');
        json_write(item->json, text);
        batch->sent[batch->n_sent++] = item;
}

/* The oldest items, each key once; what stands behind an item of its own key that must wait, waits too. */
static void gather(struct batch *batch, struct buf *text)
{
        _cleanup_json_ json_t *keys = json_object();
        size_t max = batch->kind->items_max ? batch->kind->items_max : ITEMS_MAX;
        list_for_each (link, &batch->waiting) {
                struct batch_item *item = list_entry(link, struct batch_item, link);
                if (batch->n_sent == max || text->len >= TEXT_USUAL || (item->alone && batch->n_sent))
                        break;
                if (json_object_get(keys, item->key))
                        continue;
                json_object_set_new(keys, item->key, json_true());
                take_item(batch, text, item);
                if (item->alone)
                        break;
        }
}

static void send_batch(struct batch *batch)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        gather(batch, &text);
        buf_addc(&text, ']');
        struct db_query query = db_query(batch->kind->statement, NULL, DB_TEXT(buf_str(&text)));
        batch->request = db_pool_send(batch->loop->db, &query, on_answer, batch);
        db_pool_dispatch(batch->loop->db);
}

static void drop_late(struct batch *batch)
{
        int64_t now = clock_ms();
        while (!list_empty(&batch->waiting)) {
                struct batch_item *item = list_entry(batch->waiting.next, struct batch_item, link);
                if (item->deadline_ms > now)
                        return;
                batch->n_waiting--;
                const char *trouble = batch->loop->db ? db_pool_trouble(batch->loop->db) : "";
                _cleanup_free_ char *words = xasprintf("database: %s", *trouble ? trouble : "no answer in time");
                fail_item(item, *trouble ? -ENOTCONN : -ETIMEDOUT, words);
        }
}

static void on_deadline(uv_timer_t *timer _unused_)
{
}

static bool is_timed(const struct batch *batch)
{
        return uv_is_active((const uv_handle_t *)batch->timer);
}

static void watch_deadline(struct batch *batch)
{
        if (list_empty(&batch->waiting)) {
                uv_timer_stop(batch->timer);
        } else if (!is_timed(batch)) {
                const struct batch_item *oldest = list_entry(batch->waiting.next, struct batch_item, link);
                uv_timer_start(batch->timer, on_deadline, (uint64_t)MAX(oldest->deadline_ms - clock_ms(), (int64_t)1),
                               0);
        }
}

static void on_turn(struct turn_hook *hook)
{
        struct batch *batch = container_of(hook, struct batch, hook);
        if (list_empty(&batch->waiting) && !is_timed(batch))
                return; /* most turns are somebody else's */
        drop_late(batch);
        if (!batch->request && batch->loop->db && !list_empty(&batch->waiting) && db_pool_ready(batch->loop->db))
                send_batch(batch);
        watch_deadline(batch);
}

/* --- the batch ---------------------------------------------------------------------------------------------------- */

struct batch *batch_new(struct loop *loop, const struct batch_kind *kind)
{
        struct batch *batch = xcalloc(1, sizeof *batch);
        batch->loop = loop;
        batch->kind = kind;
        batch->sent = xcalloc(kind->items_max ? kind->items_max : ITEMS_MAX, sizeof *batch->sent);
        list_init(&batch->waiting);
        batch->timer = xcalloc(1, sizeof *batch->timer);
        uv_timer_init(&loop->uv, batch->timer);
        batch->hook.run = on_turn;
        loop_hook(loop, &batch->hook);
        return batch;
}

struct batch *batch_free(struct batch *batch)
{
        if (!batch)
                return NULL;
        list_remove(&batch->hook.link);
        uv_close((uv_handle_t *)batch->timer, loop_free_handle);
        if (batch->request)
                db_request_abandon(batch->request);
        for (size_t i = 0; i < batch->n_sent; i++)
                fail_item(batch->sent[i], -ENOTCONN, "the program is stopping");
        while (!list_empty(&batch->waiting))
                fail_item(list_entry(batch->waiting.next, struct batch_item, link), -ENOTCONN,
                          "the program is stopping");
        free(batch->sent);
        free(batch);
        return NULL;
}

int batch_await_named(struct task *t, struct batch *batch, const char *key, json_t *item, void *receiver,
                      task_step next, const char *name)
{
        if (batch->n_waiting >= WAITING_MAX || !batch->loop->db) {
                json_decref(item);
                return batch->loop->db ? error_set(&t->error, -EAGAIN, "database: too many reports are waiting")
                                       : error_set(&t->error, -ENOTCONN, "database: there is no connection");
        }
        struct batch_item *entry = xcalloc(1, sizeof *entry);
        *entry = (struct batch_item){.wait.cancel = cancel_item, .batch = batch, .json = item, .receiver = receiver};
        entry->key = xstrdup(key);
        entry->deadline_ms = clock_ms() + db_pool_deadline(batch->loop->db);
        list_append(&batch->waiting, &entry->link);
        batch->n_waiting++;
        return task_await_named(t, &entry->wait, next, name);
}
