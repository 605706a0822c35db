/*
 * A real server on a loop of its own with a small table of routes, and a raw socket as its client. Both live in one
 * thread: whoever waits for bytes turns the loop.
 */
#pragma once

#include "base/buf.h"
#include "http/http.h"

#define PATIENCE_MS 20000 /* only a broken server takes that long */

struct server {
        struct loop loop;
        struct http_server *http;
        uv_timer_t timer; /* limits a turn */
        uint16_t port;
        struct task *sleeper; /* the task that waits at /wait, for the test to wake */
        struct wait wait;
        unsigned runs, freed; /* of first steps and of their states */
        bool drained;
        int64_t put; /* bytes put by /flood */
};

/* Changes `options` before the server starts; may be NULL. */
void server_start(struct server *server, void (*change)(struct http_options *options));
void server_stop(struct server *server);
void server_turn(struct server *server); /* one turn of the loop, at most 10 ms */
void server_wake(struct server *server); /* the sleeper of /wait */
void server_wait_sleeper(struct server *server);

int client_open(struct server *server);
void client_send(int fd, const char *text);
void client_send_bytes(struct server *server, int fd, const void *data, size_t len);
/* Reads what comes until `text` is in it. Fails the test when it does not come. */
void client_expect(struct server *server, int fd, struct buf *in, const char *text);
/* Reads until the server closes. */
void client_expect_close(struct server *server, int fd, struct buf *in);
/* Sends one request on a connection of its own with "Connection: close" and gives the whole answer. The caller frees.
 */
char *client_ask(struct server *server, const char *request_line, const char *headers, const char *body);
unsigned answer_status(const char *answer);
const char *answer_body_of(const char *answer);
