/*
 * A VM waits for its seat. It looks, listens and looks again: the watch is set before the query, so that no assignment
 * falls between. A newer wait of the same VM replaces the older one, and a wait ends when the VM was given another
 * secret meanwhile: what waits there is of the seat before. Each 20 s a blank goes out, so that proxies do not cut an
 * idle connection; of a VM that sends no heartbeats the wait counts as a sign of life for as long as it is open.
 */
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "lab/names.h"
#include "web/principal.h"
#include "web/routes.h"

#define BLANK_MS 20000

static int compare_waiters(const void *a, const void *b)
{
        return strcmp(((const struct startup_state *)a)->hostname, ((const struct startup_state *)b)->hostname);
}

static void leave_tree(struct startup_state *s)
{
        void *found = s->web ? tfind(s, &s->web->waiters, compare_waiters) : NULL;
        if (found && *(struct startup_state **)found == s)
                tdelete(s, &s->web->waiters, compare_waiters);
}

void startup_state_free(void *state)
{
        struct startup_state *s = state;
        leave_tree(s);
        watch_stop(&s->watch);
        seat_deinit(&s->seat);
}

/* The newest wait of a VM is the one in the tree; an older one is told by its watch. */
static void enter_tree(struct task *t, struct startup_state *s)
{
        struct web *web = web_of(t);
        s->web = web;
        void *slot = tsearch(s, &web->waiters, compare_waiters);
        if (!slot)
                abort();
        struct startup_state *older = *(struct startup_state **)slot;
        if (older != s) {
                older->replaced = true;
                *(struct startup_state **)slot = s;
                watch_fire(t->loop, web->config->db.message_channel, s->hostname);
        }
}

void startup_given(struct web *web, const char *hostname, int64_t generation)
{
        struct startup_state key;
        if (snprintf(key.hostname, sizeof key.hostname, "%s", hostname) >= (int)sizeof key.hostname)
                return;
        void *found = tfind(&key, &web->waiters, compare_waiters);
        if (found && (*(struct startup_state **)found)->generation < generation)
                watch_fire(&web->loop, web->config->db.message_channel, hostname);
}

static json_t *startup_json(const struct seat *seat)
{
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "status", "success", "hostname", seat->hostname, "email",
                         seat->email, "pin", seat->pin, "command", seat->command, "generation",
                         (json_int_t)seat->generation);
}

static int startup_look(struct task *t);

static int startup_wake(struct task *t)
{
        struct startup_state *s = t->state;
        if (s->replaced)
                return reply_close(t);
        if (clock_ms() < s->next_blank_ms)
                return startup_look(t);
        s->next_blank_ms = clock_ms() + BLANK_MS;
        if (!stream_begun(t))
                stream_begin(t, 200, "application/json");
        stream_puts(t, " ");
        return batch_await(t, web_of(t)->waits, s->hostname, report_seen(s->hostname), &s->seen, startup_look);
}

static int startup_answer(struct task *t)
{
        struct startup_state *s = t->state;
        if (s->replaced)
                return reply_close(t);
        if (!s->seat.found)
                return s->waited ? reply_close(t) : web_unknown_vm(t);
        if (s->seat.email && s->seat.generation > s->generation) {
                failpoint("assignment.before-answer");
                return reply_json(t, 200, startup_json(&s->seat));
        }
        s->waited = true;
        int64_t left = s->next_blank_ms - clock_ms();
        return watch_await(t, &s->watch, left > 0 ? left : 1, startup_wake);
}

static int startup_look(struct task *t)
{
        struct startup_state *s = t->state;
        const struct vm_brief *brief = &principal_of(t)->brief;
        seat_deinit(&s->seat);
        watch_start(t->loop, &s->watch, web_of(t)->config->db.message_channel, s->hostname);
        return db_await(t, seat_assignment(s->hostname, brief->has_token ? brief->token_hash : NULL, &s->seat),
                        startup_answer);
}

static int startup_known(struct task *t)
{
        struct startup_state *s = t->state;
        if (!s->seen.found)
                return web_unknown_vm(t);
        enter_tree(t, s);
        return startup_look(t);
}

int startup_wait(struct task *t)
{
        struct startup_state *s = t->state;
        int replied = 0;
        const char *hostname = web_hostname_field(t, "hostname", &replied);
        if (!hostname)
                return replied;
        const json_t *generation = json_object_get(request_json(t), "generation");
        if (generation && (!json_is_integer(generation) || json_integer_value(generation) < 0))
                return reply_error(t, 422, "wrong-type", "generation must be a whole number, 0 or more.");
        s->generation = generation ? (int64_t)json_integer_value(generation) : -1;
        snprintf(s->hostname, sizeof s->hostname, "%s", hostname);
        s->next_blank_ms = clock_ms() + BLANK_MS;
        request_no_deadline(t);
        char key[REPORT_KEY_SIZE], hash[TOKEN_HASH_LENGTH + 1];
        report_key(s->hostname, web_proof(t, hash), key);
        return batch_await(t, web_of(t)->reports, key, report_proven(report_seen(s->hostname)), &s->seen,
                           startup_known);
}
