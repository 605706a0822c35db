/*
 * Who may call what: one gate before every route. Order: cross-site requests, then the administrator's or the VM's
 * right. A VM proves itself by its own secret where `token` mode demands it, on the socket of local VMs, and wherever
 * its row holds the hash of one; it speaks only for itself. What it reports passes here: the statement that writes it
 * asks.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "base/token.h"
#include "web/collections.h"
#include "web/principal.h"

struct principal *principal_of(struct task *t)
{
        struct principal *p = request_principal(t);
        if (!p) {
                p = xcalloc(1, sizeof *p);
                request_set_principal(t, p);
        }
        return p;
}

const char *web_user(struct task *t)
{
        struct principal *p = request_principal(t);
        return p && p->admin ? p->admin_name : NULL;
}

void web_become_admin(struct task *t)
{
        struct principal *p = principal_of(t);
        p->admin = true;
        p->admin_name = web_of(t)->config->app.admin_user;
}

/* --- cross-site ---------------------------------------------------------------------------------------------------- */

/* A GET that starts to collect is one, too. */
static bool changes_something(struct task *t)
{
        const char *method = request_method(t);
        if (request_route(t)->first == download_collecting)
                return true;
        return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0;
}

static bool same_origin(const char *origin, const char *host)
{
        const char *authority = strstr(origin, "://");
        return authority && host && strcasecmp(authority + 3, host) == 0;
}

/* Browsers say where a request comes from; requests that say nothing (curl, agents) pass. */
static bool is_cross_site(struct task *t)
{
        const char *site = request_header(t, "Sec-Fetch-Site"), *origin = request_header(t, "Origin");
        if (site)
                return strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0;
        return origin && !same_origin(origin, request_header(t, "Host"));
}

/* --- VMs ----------------------------------------------------------------------------------------------------------- */

static const char *bearer(struct task *t)
{
        const char *header = request_header(t, "Authorization");
        if (!header || strncasecmp(header, "Bearer ", 7) != 0)
                return NULL;
        return header + 7 + strspn(header + 7, " ");
}

const char *web_proof(struct task *t, char hash[TOKEN_HASH_LENGTH + 1])
{
        const char *token = bearer(t);
        if (!token)
                return NULL;
        token_hash(token, hash);
        return hash;
}

int web_unauthorized_vm(struct task *t)
{
        reply_header(t, "WWW-Authenticate", "Bearer realm=\"LabLink VMs\"");
        return reply_error(t, 401, "bad-token", "This VM is not known, or its token is missing or wrong.");
}

bool web_token_demanded(struct task *t)
{
        return strcmp(config_client_auth(web_of(t)->config), "token") == 0 || request_listener(t) == HTTP_VM_SOCKET;
}

static int vm_known(struct task *t)
{
        struct principal *p = principal_of(t);
        char hash[TOKEN_HASH_LENGTH + 1];
        if (p->brief.has_token)
                p->proven = web_proof(t, hash) && token_equal(hash, p->brief.token_hash);
        else
                p->proven = !web_token_demanded(t);
        return p->proven ? http_proceed(t) : web_unauthorized_vm(t);
}

/* The name that a request speaks for, wherever its route carries it; NULL: the handler will say what is wrong. */
static const char *spoken_for(struct task *t)
{
        const struct http_route *route = request_route(t);
        if (strstr(route->pattern, ":hostname"))
                return request_argument(t, "hostname");
        if (route->rights == RIGHT_AGENT)
                return request_header(t, "X-Lablink-Hostname");
        return json_get_string(request_json(t), route->rights == RIGHT_LOGS ? "log_stream" : "hostname");
}

int web_prove_vm(struct task *t)
{
        struct principal *p = principal_of(t);
        const char *hostname = spoken_for(t), *log_token = web_of(t)->config->security.log_token;
        if (request_route(t)->rights == RIGHT_LOGS && *log_token && bearer(t) && token_equal(bearer(t), log_token))
                return http_proceed(t);
        if (!hostname || !hostname_valid(hostname))
                return web_token_demanded(t) ? web_unauthorized_vm(t) : http_proceed(t);
        strncpy(p->hostname, hostname, HOSTNAME_MAX);
        char key[32];
        snprintf(key, sizeof key, "%p", (void *)t); /* looks need no order among each other */
        return batch_await(t, web_of(t)->briefs, key, brief_item(p->hostname), &p->brief, vm_known);
}

bool web_vm_proven(struct task *t)
{
        const struct principal *p = request_principal(t);
        return p && p->proven;
}

/* Without a body that names a VM there is nothing to write, and nobody to ask later. */
static int check_report(struct task *t)
{
        const char *hostname = spoken_for(t);
        return hostname && hostname_valid(hostname) ? http_proceed(t) : web_prove_vm(t);
}

/* --- administrators ------------------------------------------------------------------------------------------------ */

static int check_admin(struct task *t)
{
        struct web *web = web_of(t);
        uid_t peer = request_peer_uid(t);
        if (request_listener(t) == HTTP_VM_SOCKET)
                return reply_error(t, 403, "not-here", "Administration is not offered to VMs.");
        if ((request_listener(t) == HTTP_ADMIN_SOCKET && (peer == 0 || peer == web->owner)) ||
            login_known(web->login, t)) {
                web_become_admin(t);
                return http_proceed(t);
        }
        if (request_listener(t) == HTTP_ADMIN_SOCKET)
                return reply_error(t, 403, "not-the-owner",
                                   "Only root and the user who runs the allocator may use this socket.");
        return login_check(t);
}

static int check_vm_or_admin(struct task *t)
{
        if (bearer(t))
                return web_prove_vm(t);
        if (!web_token_demanded(t))
                return http_proceed(t);
        return request_listener(t) == HTTP_VM_SOCKET ? web_unauthorized_vm(t) : check_admin(t);
}

int web_authorize(struct task *t)
{
        if (changes_something(t) && is_cross_site(t))
                return reply_error(t, 403, "cross-site", "This request came from another web site and was refused.");
        switch ((enum rights)request_route(t)->rights) {
        case RIGHT_ADMIN:
                return check_admin(t);
        case RIGHT_VM:
        case RIGHT_AGENT:
        case RIGHT_LOGS:
                return web_prove_vm(t);
        case RIGHT_REPORT:
                return check_report(t);
        case RIGHT_VM_OR_ADMIN:
                return check_vm_or_admin(t);
        case RIGHT_PUBLIC:
                break;
        }
        return http_proceed(t);
}
