/*
 * /healthz says that the process lives and asks nobody; /readyz says whether it can serve: database and listener decide,
 * a provider that cannot work is told but takes no web page down.
 */
#include "lab/settings.h"
#include "web/routes.h"

void ready_state_free(void *state)
{
        struct ready_state *s = state;
        json_decref(s->provider.value);
}

int health_live(struct task *t)
{
        return reply_json(t, 200, json_pack("{s:s, s:s}", "status", "ok", "version", LABLINK_VERSION));
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

static int answer(struct task *t, json_t *database, json_t *provider)
{
        bool ready = db_pool_ready(t->loop->db) && db_listener_ready(t->loop->listener);
        if (!ready)
                reply_header(t, "Retry-After", "2");
        json_t *model = json_pack("{s:s, s:o, s:o, s:o}", "status", ready ? "ready" : "not-ready", "database", database,
                                  "listener", listener_part(t), "provider", provider);
        return reply_json(t, ready ? 200 : 503, model);
}

static int ready_answer(struct task *t)
{
        struct ready_state *s = t->state;
        json_t *provider = s->provider.value ? json_incref(s->provider.value) : part("not-checked", "");
        json_object_del(provider, "detail");
        json_object_del(provider, "orphans");
        return answer(t, part("ready", ""), provider);
}

int health_ready(struct task *t)
{
        struct ready_state *s = t->state;
        if (!db_pool_ready(t->loop->db))
                return answer(
                        t, part("not-connected", "No connection to the database; the log of the allocator says why."),
                        part("unknown", ""));
        return db_await(t, setting_get("provider", &s->provider), ready_answer);
}
