/* What the hub's files share: a VM with everything that is open for it, and the sessions of browsers. */
#pragma once

#include "db/listener.h"
#include "desktop/hub.h"
#include "desktop/rfb_filter.h"
#include "http/websocket.h"

#define CONTROL_TEXT_MAX 4096
#define CONTROL_QUEUE_MAX 65536
#define THUMBNAIL_MAX 32768
#define PING_MS 25000
#define ARRIVAL_MS 5000 /* for a data connection to come */
#define SPEAK_MS 10000  /* for a desktop to say its first word */
#define VIEWERS_MAX 4   /* of one seat, administrators not counted */
#define VISITORS_MAX 4  /* administrators at one desktop */
#define DATA_MAX 16     /* data connections of one VM */
#define SPARE_AGAIN_MS 5000
#define THUMBNAIL_SECONDS 5
#define LOOK_SECONDS 20

struct hub {
        struct hub_options options;
        char name[44];
        uint64_t links; /* given out so far */
        void *tree;     /* tsearch: struct machine by hostname */
        struct list machines, errands;
        uv_timer_t *tick;
        bool stopping;
};

/* A data connection that was asked for and is not yet in a session. */
struct call {
        struct list link;
        char id[44];
        struct session *session; /* NULL: a spare */
        struct ws *ws;           /* a spare that has come and waits */
        struct machine *machine;
        bool arriving; /* its request was taken */
        int64_t until_ms;
};

struct session {
        struct list link;
        struct machine *machine;
        struct hub_visit visit;
        struct ws *browser, *data; /* data is NULL until it has come */
        struct call *call;         /* what it waits for */
        struct rfb_filter filter;
        struct buf filtered;
        bool heard; /* the desktop has said something */
        bool asked; /* it was here when the guard last asked about the seat */
        int64_t speak_until_ms;
};

struct machine {
        struct list link;
        struct hub *hub;
        char *hostname;
        struct ws *control;
        char *control_link;
        char secret_hash[65]; /* with which the agent came */
        bool asked;           /* it had come when the guard last asked */
        struct buf message;   /* of the control connection, as far as it has come */
        struct list sessions, calls;
        int64_t spare_again_ms;
        struct buf thumbnail;
        char etag[68];
        int64_t looked_ms, told_ms; /* somebody looked; the agent was told so */
        /* guard.c */
        struct task guard;
        struct watch watch;
        struct desktop_seat seat;
        bool leaving;
};

/* machine.c */
struct machine *machine_find(struct hub *hub, const char *hostname);
struct machine *machine_get(struct hub *hub, const char *hostname);
/* Forgets it when nothing is open for it any more. */
void machine_settle(struct machine *machine);
void machine_free(struct machine *machine);                 /* from the guard's end */
void machine_say(struct machine *machine, json_t *message); /* takes the reference */
/* The agent is not the VM's (any more): it is sent away, and what passes through it ends. */
void machine_hang_up(struct machine *machine);
void machine_end_sessions(struct machine *machine, enum hub_end end);
/* An administrator came or left: the page of the participant, who may be at another allocator, hears of it. */
void machine_note_visitors(struct machine *machine);
unsigned machine_data_count(const struct machine *machine);

/* call.c */
struct call *call_new(struct machine *machine, struct session *session);
struct call *call_find(struct machine *machine, const char *id);
void call_free(struct call *call);
struct ws *call_take_spare(struct machine *machine);
void call_want_spare(struct machine *machine);

/* session.c */
void session_join(struct session *session, struct ws *data);
void session_end(struct session *session, enum hub_end end);

/* guard.c */
void guard_start(struct machine *machine);
void guard_look_again(struct machine *machine);
/* Runs one query that nobody waits for. */
void errand_run(struct hub *hub, struct db_query query);
void errands_end(struct hub *hub);
