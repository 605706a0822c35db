/*
 * The web process: one loop, one listener for the database's notifications, a few connections, and the handlers of
 * src/web/. A handler finds it by web_of(t). Whatever matters is in the database; what is here may be lost at any moment.
 */
#pragma once

#include "base/token.h"
#include "config/config.h"
#include "db/batch.h"
#include "db/db.h"
#include "db/listener.h"
#include "desktop/hub.h"
#include "http/http.h"

struct login;
struct limiter;
struct dashboard;

struct web {
        struct loop loop;
        struct config *config;
        struct http_server *server;
        struct batch *claims, *reports, *waits, *metrics, *logs, *counts, *briefs;
        struct login *login;
        struct limiter *claims_by_email, *wrong_codes, *return_codes;
        struct dashboard *dashboard;
        struct hub *hub;
        struct ws_set websockets; /* counted with the connections */
        void *waiters;            /* tsearch tree of the open waits of VMs, by host name */
        int supervisor;           /* socket to the supervisor; -1: none */
        int archives;             /* another, for downloads */
        uv_poll_t *archive_poll;
        struct list archive_waits;
        uid_t owner; /* may use the admin socket besides root */
        char *public_url;
        char *site, *aws_holder; /* this allocator, and this supervisor's life: see lab/aws_order.h */
        int64_t started_ms;
};

static inline struct web *web_of(struct task *t)
{
        return t->loop->user;
}

/* What a route demands; read by web_authorize. */
enum rights {
        RIGHT_PUBLIC,
        RIGHT_ADMIN,
        RIGHT_VM,          /* the VM named by the body's or the path's `hostname` */
        RIGHT_REPORT,      /* the same, and the statement that writes its word asks: one way to the database, not two */
        RIGHT_LOGS,        /* the VM named by `log_stream`, or the log forwarder's token */
        RIGHT_AGENT,       /* the VM named by the header X-Lablink-Hostname */
        RIGHT_VM_OR_ADMIN, /* reading a VM's logs: open to all in `open` mode */
};

extern const struct http_route web_routes[]; /* ends with a NULL pattern */

/* --- auth.c --- */
int web_authorize(struct task *t);
const char *web_user(struct task *t); /* the administrator's name, or NULL */
void web_become_admin(struct task *t);

/* --- login.c --- */
struct login *login_new(const char *user, const char *bcrypt_hash);
struct login *login_free(struct login *login);
/* Is there a good admin cookie or an already checked password? */
bool login_known(struct login *login, struct task *t);
/* A step: checks the password of the request, then http_proceed() or 401/429. */
int login_check(struct task *t);

/* --- limiter.c: how often a key did something within a window --- */
struct limiter *limiter_new(unsigned limit, int64_t window_ms, int64_t penalty_max_ms);
struct limiter *limiter_free(struct limiter *limiter);
/* 0: may go on; else milliseconds until it may. */
int64_t limiter_blocked(struct limiter *limiter, const char *key);
void limiter_count(struct limiter *limiter, const char *key);
void limiter_forget(struct limiter *limiter, const char *key);

/* --- shared by handlers --- */

/* Members of a JSON body, strictly: 0, or replied already (then *ret_replied is what the step returns). */
const char *web_hostname_field(struct task *t, const char *name, int *ret_replied);
/* 404: no VM has this name. */
int web_unknown_vm(struct task *t);
/* Must a VM that makes this request prove itself? */
bool web_token_demanded(struct task *t);
/* For a route of RIGHT_REPORT that is not to write: asks now, and runs the route's first step again when the VM may speak;
 * web_vm_proven() is true then. */
int web_prove_vm(struct task *t);
bool web_vm_proven(struct task *t);
int web_unauthorized_vm(struct task *t);
/* The hash of the secret that came with the request, or NULL. */
const char *web_proof(struct task *t, char hash[TOKEN_HASH_LENGTH + 1]);
/* The one-time key of the form or call, or NULL. */
const char *web_request_key(struct task *t);
void web_page_globals(struct task *t, json_t *model);
json_t *web_vm_public(json_t *vm); /* in place: without the command */
/* Tells the supervisor that operation `id` waits for its runner, or (0) that reconciling is due. */
void web_kick(struct web *web, int64_t operation_id);

/* 409: that operation is at work. */
int web_busy(struct task *t, json_t *operation);

/* --- archive.c: downloads, by a socket to the supervisor that is the program's to close --- */
void archives_start(struct web *web, int fd);
void archives_stop(struct web *web);

/* --- dashboard.c --- */
struct dashboard *dashboard_new(struct web *web);
struct dashboard *dashboard_free(struct dashboard *dashboard);

/* --- housekeeping.c: silences, retention --- */
/* Until task_kill(). */
struct task *housekeeping_start(struct web *web);
/* --- overlooked.c: seats whose notification was lost; until task_kill() --- */
struct task *overlooked_start(struct web *web);

/* --- first steps of the routes, a file a group --- */
int home_page(struct task *t); /* claim.c */
int claim_seat(struct task *t);
int claimable_count(struct task *t);
int startup_wait(struct task *t);  /* startup.c */
int status_report(struct task *t); /* reports.c */
int in_use_report(struct task *t);
int health_report(struct task *t);
int metrics_report(struct task *t);
int heartbeat_report(struct task *t);
int status_one(struct task *t);
int status_all(struct task *t);
int logs_take(struct task *t); /* logs.c */
int logs_give(struct task *t);
int logs_page(struct task *t);
int admin_page(struct task *t); /* admin.c */
int create_page(struct task *t);
int instances_page(struct task *t);
int delete_page(struct task *t);
int release_seat(struct task *t);
int aws_set(struct task *t); /* aws.c */
int aws_unset(struct task *t);
int launch_start(struct task *t); /* operations.c */
int destroy_start(struct task *t);
int repair_start(struct task *t);
int operations_list(struct task *t);
int operation_show(struct task *t);
int operation_stop(struct task *t);
int operation_page(struct task *t); /* follow.c */
int operation_output(struct task *t);
int follow_page(struct task *t, json_t *operation); /* streams the page of an operation until its end */
int events_stream(struct task *t);                  /* events.c */
int desktop_socket(struct task *t);                 /* desktop_socket.c */
int desktop_ticket(struct task *t);
int agent_tunnel(struct task *t);
int agent_data(struct task *t);
int thumbnail(struct task *t);
int health_live(struct task *t); /* health.c */
int health_ready(struct task *t);
