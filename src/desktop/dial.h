/*
 * An agent's way out: a WebSocket to the allocator, over TCP, TLS or a unix socket. Finding the address, connecting and
 * the handshake block on a helper thread, with libcurl doing what it does well (names, proxies, certificates); the loop
 * gets a connected socket. Plain connections are taken from libcurl then, encrypted ones stay with it.
 */
#pragma once

#include "http/websocket.h"

struct dial_target {
        const char *url;    /* "http(s)://HOST[:PORT][/PREFIX]"; NULL with `socket` */
        const char *socket; /* path of a unix socket */
        const char *ca_file;
        const char *hostname, *token; /* whom the agent speaks for; the token may be NULL */
        const char *boot;
};

struct dial_result {
        struct ws *ws;   /* open, its handler is `handler`; NULL: it did not work */
        unsigned status; /* of HTTP, when there was an answer */
        const char *why; /* a sentence, "" when it worked; borrowed */
};

struct dial;

/* Calls `done` once, from the loop, unless it is dropped before. Texts are copied. */
struct dial *dial_start(struct loop *loop, const struct dial_target *target, const char *path,
                        const struct ws_options *options,
                        void (*done)(void *userdata, const struct dial_result *result), void *userdata);
/* Nobody waits any more. The thread ends soon; the memory goes with it. */
void dial_drop(struct dial *dial);
