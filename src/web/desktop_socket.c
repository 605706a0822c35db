/*
 * Who is let in to the desktops: browsers by their seat's cookie (or a ticket from another allocator), administrators by
 * their session, agents by their VM's secret. What is refused to a browser is told by the close frame of an accepted
 * socket, because a page cannot read the status of a refused one; only another site's page is turned away before.
 *
 * docs/desktop.md is the contract.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "base/token.h"
#include "lab/names.h"
#include "web/principal.h"
#include "web/routes.h"

#define TICKET_PREFIX "lablink.ticket."

/* What outlives the request: it goes with the connection's descriptor. */
struct guest {
        struct hub *hub;
        struct hub_visit visit;
        char link[96], id[TOKEN_LENGTH + 1], secret_hash[TOKEN_HASH_LENGTH + 1];
};

void desktop_state_free(void *state)
{
        struct desktop_state *s = state;
        desktop_seat_deinit(&s->seat);
}

static struct guest *guest_new(struct task *t)
{
        struct desktop_state *s = t->state;
        struct guest *guest = xcalloc(1, sizeof *guest);
        guest->hub = web_of(t)->hub;
        guest->visit = s->visit;
        return guest;
}

static void forget_guest(void *argument)
{
        free(argument);
}

/* --- browsers ------------------------------------------------------------------------------------------------------- */

static void browser_opened(void *argument, int fd, const void *early, size_t early_len)
{
        _cleanup_free_ struct guest *guest = argument;
        hub_browser(guest->hub, &guest->visit, fd, early, early_len);
}

static int let_in(struct task *t)
{
        struct http_upgrade upgrade = {.opened = browser_opened, .lost = forget_guest, .argument = guest_new(t)};
        return reply_websocket(t, request_offers(t, "binary") ? "binary" : NULL, &upgrade);
}

static int refuse(struct task *t, enum hub_end end)
{
        struct desktop_state *s = t->state;
        s->visit.refused = end;
        return let_in(t);
}

bool desktop_is_here(const struct web *web, const struct desktop_seat *seat)
{
        return !seat->linked || !seat->link_url[0] || str_eq(seat->link_url, web->config->desktop.url);
}

static void aim_at(struct desktop_state *s, struct task *t)
{
        snprintf(s->visit.hostname, sizeof s->visit.hostname, "%s", s->seat.hostname);
        s->visit.tenancy = s->seat.tenancy;
        s->visit.other_allocator = !desktop_is_here(web_of(t), &s->seat);
}

static int participant_answer(struct task *t)
{
        struct desktop_state *s = t->state;
        if (!s->seat.found)
                return refuse(t, HUB_END_NO_SEAT);
        aim_at(s, t);
        return let_in(t);
}

/* The socket lives as long as the cookie that asked for its ticket. */
static int ticket_taken(struct task *t)
{
        struct desktop_state *s = t->state;
        const char *cookie = json_string_value(json_array_get(s->seat.cookies, 0));
        snprintf(s->visit.cookie_hash, sizeof s->visit.cookie_hash, "%s", cookie ? cookie : "");
        return participant_answer(t);
}

static int admin_answer(struct task *t)
{
        struct desktop_state *s = t->state;
        const char *mode = web_of(t)->config->desktop.assist;
        bool helper = s->visit.role == HUB_HELPER;
        if (!s->seat.found)
                return refuse(t, HUB_END_NO_SEAT);
        if (helper && strcmp(mode, "always") != 0 && (strcmp(mode, "consent") != 0 || !s->seat.assist))
                return refuse(t, HUB_END_FORBIDDEN);
        aim_at(s, t);
        if (web_user(t))
                hub_audit(web_of(t)->hub, web_user(t), helper ? "assist" : "watch", s->seat.hostname);
        return let_in(t);
}

static bool is_admin(struct task *t)
{
        struct web *web = web_of(t);
        uid_t peer = request_peer_uid(t);
        bool socket = request_listener(t) == HTTP_ADMIN_SOCKET;
        if (socket ? peer != 0 && peer != web->owner : !login_known(web->login, t))
                return false;
        web_become_admin(t);
        return true;
}

static int admin_socket(struct task *t, enum hub_role role, const char *hostname)
{
        struct desktop_state *s = t->state;
        s->visit.role = role;
        if (!is_admin(t))
                return refuse(t, HUB_END_FORBIDDEN);
        if (!hostname_valid(hostname))
                return refuse(t, HUB_END_NO_SEAT);
        snprintf(s->name, sizeof s->name, "%s", hostname);
        return db_await(t, desktop_guard(s->name, &s->seat), admin_answer);
}

/* The ticket that stands among the subprotocols, into `hash`. */
static bool has_ticket(struct task *t, char hash[TOKEN_HASH_LENGTH + 1])
{
        const char *list = request_header(t, "Sec-WebSocket-Protocol");
        const char *at = list ? strstr(list, TICKET_PREFIX) : NULL;
        if (!at)
                return false;
        at += strlen(TICKET_PREFIX);
        _cleanup_free_ char *ticket = xstrndup(at, strcspn(at, ", \t"));
        token_hash(ticket, hash);
        return strlen(ticket) == TOKEN_LENGTH;
}

/* Browsers always say which page opens a socket; what is no browser has nobody's cookie. */
static bool is_own_page(struct task *t)
{
        const char *origin = request_header(t, "Origin"), *host = request_header(t, "Host");
        const char *authority = origin ? strstr(origin, "://") : NULL;
        const char *own = web_of(t)->public_url ? strstr(web_of(t)->public_url, "://") : NULL;
        if (!origin)
                return true;
        if (!authority)
                return false;
        return (host && strcasecmp(authority + 3, host) == 0) || (own && strcasecmp(authority, own) == 0);
}

int desktop_socket(struct task *t)
{
        struct desktop_state *s = t->state;
        const char *view = request_query(t, "view"), *assist = request_query(t, "assist");
        const char *cookie = request_cookie(t, "lablink_seat");
        char hash[TOKEN_HASH_LENGTH + 1];
        int replied = 0;
        if (request_listener(t) == HTTP_VM_SOCKET)
                return reply_error(t, 403, "not-here", "Desktops are not offered to VMs.");
        if (!request_websocket(t, &replied))
                return replied;
        if (has_ticket(t, hash))
                return db_await(t, desktop_ticket_take(hash, &s->seat), ticket_taken);
        if (!is_own_page(t))
                return reply_error(t, 403, "cross-site", "This request came from another web site and was refused.");
        if (view || assist)
                return admin_socket(t, assist ? HUB_HELPER : HUB_WATCHER, assist ? assist : view);
        if (!cookie || strlen(cookie) != TOKEN_LENGTH)
                return refuse(t, HUB_END_NO_SEAT);
        token_hash(cookie, s->visit.cookie_hash);
        return db_await(t, desktop_seat(s->visit.cookie_hash, &s->seat), participant_answer);
}

/* --- a socket at another allocator ---------------------------------------------------------------------------------- */

static int ticket_answer(struct task *t)
{
        struct desktop_state *s = t->state;
        const char *url = s->seat.link_url;
        if (!s->flag.yes)
                return reply_error(t, 401, "no-seat", "This browser sits in no seat.");
        const char *authority = strstr(url, "://");
        _cleanup_free_ char *socket = authority ? xasprintf("ws%s%s/desktop/ws", str_starts(url, "https:") ? "s" : "",
                                                            authority)
                                                : xstrdup("/desktop/ws");
        _cleanup_free_ char *protocol = xasprintf(TICKET_PREFIX "%s", s->ticket);
        return reply_json(t, 200, json_pack("{s:s, s:[s, s]}", "url", socket, "protocols", "binary", protocol));
}

static int ticket_seat(struct task *t)
{
        struct desktop_state *s = t->state;
        char hash[TOKEN_HASH_LENGTH + 1];
        if (!s->seat.found)
                return reply_error(t, 401, "no-seat", "This browser sits in no seat.");
        token_random(s->ticket);
        token_hash(s->ticket, hash);
        return db_await(t, desktop_ticket_add(s->visit.cookie_hash, hash, &s->flag), ticket_answer);
}

int desktop_ticket(struct task *t)
{
        struct desktop_state *s = t->state;
        const char *cookie = request_cookie(t, "lablink_seat");
        if (!cookie || strlen(cookie) != TOKEN_LENGTH)
                return reply_error(t, 401, "no-seat", "This browser sits in no seat.");
        token_hash(cookie, s->visit.cookie_hash);
        return db_await(t, desktop_seat(s->visit.cookie_hash, &s->seat), ticket_seat);
}

/* --- agents --------------------------------------------------------------------------------------------------------- */

/* Is it a handshake of an agent whose VM is known? */
static bool is_agent(struct task *t, int *ret_replied)
{
        const struct principal *p = principal_of(t);
        if (!request_websocket(t, ret_replied))
                return false;
        if (!request_offers(t, HUB_PROTOCOL)) {
                *ret_replied = reply_error(t, 400, "bad-handshake", "The subprotocol " HUB_PROTOCOL " is spoken here.");
                return false;
        }
        if (request_header(t, "Origin")) {
                *ret_replied = reply_error(t, 403, "cross-site", "This address is not for browsers.");
                return false;
        }
        if (!p->brief.found) {
                *ret_replied = web_unknown_vm(t);
                return false;
        }
        return true;
}

static void control_opened(void *argument, int fd, const void *early, size_t early_len)
{
        _cleanup_free_ struct guest *guest = argument;
        hub_control(guest->hub, guest->visit.hostname, guest->link, guest->secret_hash, fd, early, early_len);
}

static void control_lost(void *argument)
{
        _cleanup_free_ struct guest *guest = argument;
        hub_control_lost(guest->hub, guest->visit.hostname, guest->link);
}

static int tunnel_answer(struct task *t)
{
        struct desktop_state *s = t->state;
        if (!s->flag.yes)
                return web_unknown_vm(t);
        struct guest *guest = guest_new(t);
        snprintf(guest->link, sizeof guest->link, "%s", s->link);
        snprintf(guest->secret_hash, sizeof guest->secret_hash, "%s", principal_of(t)->brief.token_hash);
        return reply_websocket(
                t, HUB_PROTOCOL,
                &(struct http_upgrade){.opened = control_opened, .lost = control_lost, .argument = guest});
}

int agent_tunnel(struct task *t)
{
        struct desktop_state *s = t->state;
        struct web *web = web_of(t);
        int replied = 0;
        if (!is_agent(t, &replied))
                return replied;
        snprintf(s->visit.hostname, sizeof s->visit.hostname, "%s", principal_of(t)->hostname);
        hub_link(web->hub, s->link, sizeof s->link);
        return db_await(t, agent_link_set(s->visit.hostname, s->link, web->config->desktop.url, &s->flag),
                        tunnel_answer);
}

static void data_opened(void *argument, int fd, const void *early, size_t early_len)
{
        _cleanup_free_ struct guest *guest = argument;
        hub_data(guest->hub, guest->visit.hostname, guest->id, fd, early, early_len);
}

static void data_lost(void *argument)
{
        _cleanup_free_ struct guest *guest = argument;
        hub_data_lost(guest->hub, guest->visit.hostname, guest->id);
}

int agent_data(struct task *t)
{
        struct desktop_state *s = t->state;
        const char *id = request_argument(t, "id");
        int replied = 0;
        if (!is_agent(t, &replied))
                return replied;
        snprintf(s->visit.hostname, sizeof s->visit.hostname, "%s", principal_of(t)->hostname);
        if (!hub_expects(web_of(t)->hub, s->visit.hostname, id))
                return reply_error(t, 404, "unknown-id", "Nobody waits for this connection.");
        struct guest *guest = guest_new(t);
        snprintf(guest->id, sizeof guest->id, "%s", id);
        return reply_websocket(t, HUB_PROTOCOL,
                               &(struct http_upgrade){.opened = data_opened, .lost = data_lost, .argument = guest});
}

/* --- thumbnails ----------------------------------------------------------------------------------------------------- */

static int thumbnail_no_agent(struct task *t)
{
        struct desktop_state *s = t->state;
        if (!s->seat.found)
                return web_unknown_vm(t);
        return reply_error(t, 409, "no-tunnel", "The agent of %s is not connected.", s->seat.hostname);
}

int thumbnail(struct task *t)
{
        struct desktop_state *s = t->state;
        const char *hostname = request_argument(t, "hostname"), *known = request_header(t, "If-None-Match");
        struct hub_thumbnail picture;
        switch (hub_look(web_of(t)->hub, hostname, &picture)) {
        case HUB_NO_AGENT:
                return db_await(t, desktop_guard(hostname, &s->seat), thumbnail_no_agent);
        case HUB_NO_PICTURE_YET:
                return reply_text(t, 204, "image/jpeg", "", 0);
        case HUB_PICTURE:
                break;
        }
        reply_header(t, "ETag", picture.etag);
        if (known && strcmp(known, picture.etag) == 0)
                return reply_text(t, 304, "image/jpeg", "", 0);
        return reply_text(t, 200, "image/jpeg", (const char *)picture.data, picture.len);
}
