/*
 * The seat page and what its script asks while it is open, and the administrator's page of the same desktop. The picture
 * itself comes over a socket (docs/desktop.md); nothing here waits for a VM.
 */
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "lab/first_frame.h"
#include "lab/names.h"
#include "web/assets.h"
#include "web/routes.h"
#include "web/seat_page.h"

#define ASSIST_SECONDS 3600 /* an hour of help, unless it is taken back before */
#define FIRST_FRAME_MOST 600.0

void seat_page_state_free(void *state)
{
        struct seat_page_state *s = state;
        desktop_seat_deinit(&s->seat);
}

json_t *seat_asset_tag(const char *path)
{
        for (const struct http_asset *asset = web_assets; asset->path; asset++)
                if (str_eq(asset->path, path))
                        return json_stringn(asset->etag + 1, strlen(asset->etag) - 2);
        return json_null();
}

/* What every form of the page needs. */
static json_t *page_model(const char *role, const char *hostname, const char *socket)
{
        return json_pack("{s:s, s:s, s:s, s:b, s:b, s:o, s:o}", "role", role, "hostname", hostname, "socket", socket,
                         "seat", str_eq(role, "seat"), "view", str_eq(role, "view"), "desktop_js",
                         seat_asset_tag("/static/desktop.js"), "desktop_css", seat_asset_tag("/static/desktop.css"));
}

/* The seat of this browser's cookie, then `next`; without one as if it sat in none. */
static int await_seat(struct task *t, task_step next, const char *name)
{
        struct seat_page_state *s = t->state;
        if (!seat_cookie_hash(t, s->cookie_hash))
                s->cookie_hash[0] = '\0';
        return db_await_named(t, desktop_seat(s->cookie_hash, &s->seat), next, name);
}
#define seat_await(t, next) await_seat((t), (next), #next)

/* Another allocator that has the machine may be connected to, besides this one. Its URL is configuration, not a VM's word. */
static void allow_link(struct task *t, const char *url)
{
        const char *authority = strstr(url, "://");
        if (!authority || strpbrk(url, " \t\r\n;,'\""))
                return;
        _cleanup_free_ char *policy = xasprintf(
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
                "connect-src 'self' %s%s; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
                str_starts(url, "https:") ? "wss" : "ws", authority);
        reply_header(t, "Content-Security-Policy", policy);
}

/* --- the participant's page ---------------------------------------------------------------------------------------- */

static int desktop_shown(struct task *t)
{
        struct seat_page_state *s = t->state;
        char code[RETURN_CODE_SIZE];
        if (!s->seat.found)
                return reply_redirect(t, "/?desktop=none");
        const struct config *config = web_of(t)->config;
        json_t *model = page_model("seat", s->seat.hostname, "/desktop/ws");
        bool kept = s->seat.has_code && seat_code_kept(t, code);
        allow_link(t, s->seat.link_url);
        json_object_set_new(model, "link", json_string(s->seat.link_url));
        json_object_set_new(model, "email", json_string(s->seat.email));
        json_object_set_new(model, "return_code", kept ? json_string(code) : json_null());
        json_object_set_new(model, "welcome", json_boolean(kept && request_query(t, "welcome")));
        json_object_set_new(model, "assist", json_boolean(s->seat.assist));
        json_object_set_new(model, "consent", json_boolean(str_eq(config->desktop.assist, "consent")));
        return reply_view(t, 200, "desktop", model);
}

int desktop_page(struct task *t)
{
        return seat_await(t, desktop_shown);
}

/* --- what its script asks ------------------------------------------------------------------------------------------ */

static int no_seat(struct task *t)
{
        return reply_error(t, 404, "no-seat", "This browser sits in no seat.");
}

static int state_shown(struct task *t)
{
        struct seat_page_state *s = t->state;
        if (!s->seat.found)
                return no_seat(t);
        struct hub *hub = web_of(t)->hub;
        bool here = desktop_is_here(web_of(t), &s->seat);
        return reply_json(
                t, 200,
                json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:o}", "hostname", s->seat.hostname, "email",
                          s->seat.email, "status", s->seat.status, "linked", s->seat.linked, "assist", s->seat.assist,
                          "watching", here ? hub_count(hub, s->seat.hostname, HUB_WATCHER) > 0 : s->seat.watched,
                          "assisting", here ? hub_count(hub, s->seat.hostname, HUB_HELPER) > 0 : s->seat.helped, "open",
                          here ? json_integer(hub_count(hub, s->seat.hostname, HUB_PARTICIPANT)) : json_null()));
}

int desktop_state(struct task *t)
{
        return seat_await(t, state_shown);
}

static int flag_told(struct task *t)
{
        struct seat_page_state *s = t->state;
        return s->done.yes ? reply_json(t, 200, json_pack("{s:b}", "done", 1)) : no_seat(t);
}

int desktop_first_frame(struct task *t)
{
        struct seat_page_state *s = t->state;
        const json_t *seconds = json_object_get(request_json(t), "seconds");
        double value = json_number_value(seconds);
        if (!json_is_number(seconds) || !isfinite(value) || value <= 0 || value > FIRST_FRAME_MOST)
                return reply_error(t, 422, "bad-time", "seconds must be a number above 0 and at most 600.");
        if (!seat_cookie_hash(t, s->cookie_hash))
                return no_seat(t);
        return db_await(t, first_frame_put(s->cookie_hash, value, &s->done), flag_told);
}

int desktop_consent(struct task *t)
{
        struct seat_page_state *s = t->state;
        const json_t *allow = json_object_get(request_json(t), "allow");
        if (!json_is_boolean(allow))
                return reply_error(t, 422, "wrong-type", "allow must be true or false.");
        if (!str_eq(web_of(t)->config->desktop.assist, "consent"))
                return reply_error(t, 409, "not-asked", "This lab does not ask participants whether they want help.");
        if (!seat_cookie_hash(t, s->cookie_hash))
                return no_seat(t);
        return db_await(t, desktop_assist(s->cookie_hash, json_is_true(allow) ? ASSIST_SECONDS : 0, &s->done),
                        flag_told);
}

static int left(struct task *t)
{
        struct seat_page_state *s = t->state;
        seat_cookie_set(t, NULL);
        if (request_wants_json(t))
                return reply_json(t, 200, json_pack("{s:b}", "done", s->done.yes));
        return reply_redirect(t, "/?desktop=left");
}

int desktop_left(struct task *t)
{
        struct seat_page_state *s = t->state;
        if (!seat_cookie_hash(t, s->cookie_hash))
                return left(t);
        return db_await(t, desktop_leave(s->cookie_hash, &s->done), left);
}

/* --- the administrator's page -------------------------------------------------------------------------------------- */

static int watch_shown(struct task *t)
{
        struct seat_page_state *s = t->state;
        const char *hostname = request_argument(t, "hostname");
        bool assist = request_query(t, "assist") != NULL;
        if (!s->seat.found)
                return web_unknown_vm(t);
        _cleanup_free_ char *socket = xasprintf("/desktop/ws?%s=%s", assist ? "assist" : "view", hostname);
        json_t *model = page_model(assist ? "assist" : "view", hostname, socket);
        bool may = !str_eq(web_of(t)->config->desktop.assist, "never");
        json_object_set_new(model, "may_assist", json_boolean(may));
        json_object_set_new(model, "link", json_string(s->seat.link_url));
        return reply_view(t, 200, "desktop", model);
}

int desktop_watch(struct task *t)
{
        struct seat_page_state *s = t->state;
        const char *hostname = request_argument(t, "hostname");
        if (!hostname_valid(hostname))
                return web_unknown_vm(t);
        return db_await(t, desktop_guard(hostname, &s->seat), watch_shown);
}
