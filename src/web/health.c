/*
 * /healthz says that the process lives and asks nobody; /readyz says whether it can serve: database and listener decide,
 * a provider that cannot work is told but takes no web page down.
 */
#include <string.h>

#include "base/text.h"
#include "lab/settings.h"
#include "web/routes.h"

void ready_state_free(void *state)
{
        struct ready_state *s = state;
        json_decref(s->provider.value);
}

int health_live(struct task *t)
{
        static const char alive[] = "{\"status\":\"ok\",\"version\":\"" LABLINK_VERSION "\"}";
        return reply_text(t, 200, "application/json", alive, strlen(alive));
}

static json_t *part(const char *code, const char *hint)
{
        return json_pack("{s:s, s:s}", "code", code, "hint", hint);
}

static json_t *listener_part(struct task *t)
{
        if (db_listener_ready(t->loop->listener))
                return part("ready", "");
        return part("not-connected",
                    "Waiting VMs are told of their seats only when the listening connection stands again.");
}

/* Where the database is, and why it refuses, is for those who sit at the machine. */
static json_t *database_part(struct task *t)
{
        static const char *const hints[][2] = {
                {"ready", ""},
                {"not-connected", "No connection to the database; the log of the allocator says why."},
                {"no-answer", "The database is connected and does not answer."},
                {"read-only", "The database takes no writes: it is a replica, or was set to read-only."},
                {"disk-full", "The database refuses writes: its disk is full."},
        };
        const struct db_pool *pool = t->loop->db;
        const char *health = db_pool_health(pool), *hint = "", *trouble = db_pool_trouble(pool);
        bool near = str_eq(request_address(t), "127.0.0.1") || str_eq(request_address(t), "::1") ||
                    str_eq(request_address(t), "unix");
        for (size_t i = 0; i < ARRAY_SIZE(hints); i++)
                if (str_eq(hints[i][0], health))
                        hint = hints[i][1];
        return part(health, near && *trouble ? trouble : hint);
}

static bool database_serves(struct task *t)
{
        return str_eq(db_pool_health(t->loop->db), "ready");
}

static int answer(struct task *t, json_t *provider)
{
        bool ready = database_serves(t) && db_listener_ready(t->loop->listener);
        if (!ready)
                reply_header(t, "Retry-After", "2");
        json_t *model = json_pack("{s:s, s:o, s:o, s:o}", "status", ready ? "ready" : "not-ready", "database",
                                  database_part(t), "listener", listener_part(t), "provider", provider);
        return reply_json(t, ready ? 200 : 503, model);
}

static int ready_answer(struct task *t)
{
        struct ready_state *s = t->state;
        json_t *provider = s->provider.value ? json_incref(s->provider.value) : part("not-checked", "");
        json_object_del(provider, "detail");
        json_object_del(provider, "orphans");
        return answer(t, provider);
}

int health_ready(struct task *t)
{
        struct ready_state *s = t->state;
        if (!database_serves(t))
                return answer(t, part("unknown", ""));
        return db_await(t, setting_get("provider", &s->provider), ready_answer);
}
