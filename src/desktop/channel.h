/*
 * One session on the agent's side: a data connection to the allocator, and the local socket that its bytes go to. The
 * local end comes from the agent's own table of targets; the wire only names one.
 */
#pragma once

#include "desktop/dial.h"

struct channels {
        struct loop *loop;
        const struct dial_target *allocator;
        const char *desktop; /* the target "desktop": a unix socket; NULL: none */
        struct ws_set *set;  /* of all sockets */
        struct list open;    /* struct channel.link */
        unsigned n;
        /* The target of a session that was asked for cannot be reached. */
        void (*refuse)(void *userdata, const char *id, const char *why);
        void *userdata;
};

/* A session for `target`. */
void channel_open(struct channels *channels, const char *id, const char *target);
/* A data connection that waits until it hears what it is for. */
void channel_spare(struct channels *channels, const char *id);
void channels_end(struct channels *channels);
