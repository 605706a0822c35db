/*
 * The allocator's side of the desktops: the agents' control connections, the data connections that they dial, and the
 * browsers' sockets, each joined with one of these. Everything is indexed by the VM; each browser's socket knows the
 * tenancy of the seat that it was let into. A guard per VM (guard.c) looks at the seat again whenever the VM was announced
 * and closes what no longer fits, so nothing of an old seat outlives it, whoever ended it.
 *
 * docs/desktop.md is the contract: messages, codes, limits. The hub knows no HTTP: src/web/desktop_socket.c lets in.
 */
#pragma once

#include "base/task.h"
#include "http/websocket.h"
#include "lab/desktop.h"

#define HUB_PROTOCOL "lablink.tunnel.1"

struct hub;

enum hub_assist { HUB_ASSIST_CONSENT, HUB_ASSIST_ALWAYS, HUB_ASSIST_NEVER };

struct hub_options {
        struct loop *loop;
        const char *channel; /* on which VMs are announced */
        enum hub_assist assist;
        struct ws_set *websockets; /* all of the hub's sockets; outlives it */
};

struct hub *hub_new(const struct hub_options *options);
/* Tells every browser that the allocator stops, and every agent; takes nobody any more. */
void hub_stop(struct hub *hub);
struct hub *hub_free(struct hub *hub);

/* --- browsers ------------------------------------------------------------------------------------------------------- */

enum hub_role { HUB_PARTICIPANT, HUB_WATCHER, HUB_HELPER };

/* How a browser's socket ends; docs/desktop.md tells their codes and reasons. */
enum hub_end {
        HUB_END_NONE,
        HUB_END_STOPPING,
        HUB_END_INTERNAL,
        HUB_END_PROTOCOL,
        HUB_END_CLOSED,
        HUB_END_NO_DESKTOP,
        HUB_END_NO_ANSWER,
        HUB_END_ELSEWHERE,
        HUB_END_SEAT,
        HUB_END_NO_SEAT,
        HUB_END_FORBIDDEN,
        HUB_END_TOO_MANY,
        HUB_END_NO_TUNNEL,
        HUB_END_LOST,
        HUB_END_OTHER_ALLOCATOR,
        N_HUB_ENDS,
};

struct hub_visit {
        enum hub_role role;
        enum hub_end refused; /* not NONE: is told this and nothing else */
        char hostname[256];
        int64_t tenancy;
        char cookie_hash[65]; /* participants: of the cookie, or of the one that asked for the ticket */
        bool other_allocator; /* the agent is connected to another one, as far as the database knows */
};

/* The descriptor is the hub's from now on. */
void hub_browser(struct hub *hub, const struct hub_visit *visit, int fd, const void *early, size_t early_len);
/* The seat of this VM was taken away by this process: what is open for it closes at once. */
void hub_seat_ended(struct hub *hub, const char *hostname);

/* How many such sockets are open for a VM here. */
unsigned hub_count(struct hub *hub, const char *hostname, enum hub_role role);
/* Notes in the audit, without waiting. */
void hub_audit(struct hub *hub, const char *who, const char *action, const char *hostname);

/* --- agents --------------------------------------------------------------------------------------------------------- */

/* `link` is the name under which the connection stands in agent_links; it is cleared when the connection ends. The secret
 * is the one with which the agent came (its hash): when the VM has another one, nothing of that agent stays. */
void hub_link(struct hub *hub, char *out, size_t size); /* a new name for a connection */
void hub_control_lost(struct hub *hub, const char *hostname, const char *link);
void hub_control(struct hub *hub, const char *hostname, const char *link, const char *secret_hash, int fd,
                 const void *early, size_t early_len);
/* Does a session of this VM, or its place for a spare, wait for this id? An id is good once: it is taken. */
bool hub_expects(struct hub *hub, const char *hostname, const char *id);
void hub_data(struct hub *hub, const char *hostname, const char *id, int fd, const void *early, size_t early_len);
void hub_data_lost(struct hub *hub, const char *hostname, const char *id);

/* --- thumbnails ----------------------------------------------------------------------------------------------------- */

enum hub_picture { HUB_PICTURE, HUB_NO_PICTURE_YET, HUB_NO_AGENT };

struct hub_thumbnail {
        const uint8_t *data; /* borrowed until the next turn of the loop */
        size_t len;
        const char *etag; /* quoted */
};

/* Somebody looks: the last picture, and the agent is asked for more. */
enum hub_picture hub_look(struct hub *hub, const char *hostname, struct hub_thumbnail *ret);
