/*
 * A WebSocket (RFC 6455), or a plain stream socket, on the loop: bytes come in pieces as they arrive, and whoever writes
 * more than the peer takes is told by ws_idle(). Nobody needs messages whole, so nothing is ever collected here: a frame
 * of any length passes through one buffer. What a relay does with it is one rule: read a side only while the other side's
 * queue is empty, so that at most one buffer waits for a slow peer.
 *
 * ws_frame.c knows the format, and no socket; websocket.c knows sockets; upgrade.c makes one of a request.
 */
#pragma once

#include <sys/types.h>

#include "base/buf.h"
#include "base/task.h"

/* --- the format ---------------------------------------------------------------------------------------------------- */

enum ws_opcode { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

enum ws_code {
        WS_CODE_NORMAL = 1000,
        WS_CODE_GOING_AWAY = 1001,
        WS_CODE_PROTOCOL = 1002,
        WS_CODE_UNSUPPORTED = 1003,
        WS_CODE_NONE = 1005,     /* never on the wire: a close frame without a code */
        WS_CODE_ABNORMAL = 1006, /* never on the wire: the connection ended without a close frame */
        WS_CODE_NOT_UTF8 = 1007,
        WS_CODE_POLICY = 1008,
        WS_CODE_TOO_BIG = 1009,
        WS_CODE_INTERNAL = 1011,
        WS_CODE_TRY_AGAIN = 1013,
};

#define WS_CONTROL_MAX 125
#define WS_REASON_MAX 123
#define WS_HEADER_MAX 14

/* Zeroed is valid. */
struct utf8_state {
        uint32_t rest;   /* of a character that is not complete: continuation bytes still to come */
        uint8_t low, up; /* the next byte's bounds */
};
/* Goes on with a text that comes in pieces. False: it is no UTF-8. */
bool utf8_feed(struct utf8_state *state, const uint8_t *data, size_t len);

struct ws_parser {
        bool masked;          /* what the peer's frames must be */
        uint64_t message_max; /* 0: no limit */
        /* the rest is the parser's own */
        uint8_t header[WS_HEADER_MAX];
        uint8_t have, opcode, message, mask_at;
        bool fin, in_frame, closed;
        uint8_t key[4];
        uint64_t left, message_len;
        struct utf8_state utf8;
        uint8_t control[WS_CONTROL_MAX];
        uint8_t control_len;
};

enum ws_event_kind { WS_EVENT_NONE, WS_EVENT_DATA, WS_EVENT_PING, WS_EVENT_PONG, WS_EVENT_CLOSE };

struct ws_event {
        enum ws_event_kind kind;
        const uint8_t
                *data; /* of a message's piece, a ping, or a close's reason; borrowed from the input or the parser */
        size_t len;
        bool text, end; /* of a message */
        unsigned code;  /* of a close; WS_CODE_NONE when it has none */
};

/* Takes some bytes, unmasking them in place. Returns how many it took (more than 0 when len is) and fills *event; or, with
 * the connection to be failed, minus an enum ws_code. */
ssize_t ws_parse(struct ws_parser *parser, uint8_t *data, size_t len, struct ws_event *event);
/* Writes the header of a whole frame. A client's mask key is 0, which changes no byte: it protects proxies from what
 * scripts of a browser may choose, and our clients are no browsers. Returns its length. */
size_t ws_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, size_t len, bool masked);
bool ws_code_valid(unsigned code); /* may it stand in a close frame? */
/* The answer to a Sec-WebSocket-Key. */
#define WS_ACCEPT_LENGTH 28
void ws_accept(const char *key, char out[WS_ACCEPT_LENGTH + 1]);

/* --- the socket ---------------------------------------------------------------------------------------------------- */

enum ws_side {
        WS_SERVER,
        WS_CLIENT,
        WS_RAW, /* no frames: a stream socket with the same calls */
};

struct ws;

/* All are called from the loop, never from inside a ws_...() call of the owner. */
struct ws_handler {
        /* A piece of a message (or of the raw stream). */
        void (*data)(struct ws *ws, const uint8_t *data, size_t len, bool text, bool end);
        void (*idle)(struct ws *ws); /* what was queued has gone out; may be NULL */
        /* The peer has ended it, or broke the rules, or was lost. Last call; the ws is gone afterwards. */
        void (*closed)(struct ws *ws, unsigned code, const char *reason);
};

/* How bytes get through when not by read() and write() on the descriptor (TLS). Both as read(2) and write(2), with
 * -EAGAIN; 0 from read is the end. */
struct ws_transport {
        ssize_t (*read)(void *context, void *data, size_t len);
        ssize_t (*write)(void *context, const void *data, size_t len);
        void (*free)(void *context); /* closes the descriptor, too */
};

/* Those that live, also after ws_close() while the last words go out; zeroed is empty. */
struct ws_set {
        struct list all;
        unsigned n;
};

struct ws_options {
        struct loop *loop;
        int fd; /* a connected, non-blocking stream socket; owned */
        enum ws_side side;
        const struct ws_handler *handler;
        void *userdata;
        uint64_t message_max;
        int64_t ping_ms;    /* 0: no pings; two without an answer end it */
        int64_t stall_ms;   /* 0: 60 s; a peer that takes nothing of what waits for so long is lost */
        struct ws_set *set; /* that it belongs to until it is gone; may be NULL */
        const struct ws_transport *transport;
        void *transport_context;
};

/* Reads from the next turn of the loop on; `early` are bytes that came with the handshake. */
struct ws *ws_new(const struct ws_options *options, const void *early, size_t early_len);
void *ws_userdata(const struct ws *ws);
/* Gives it to another owner. */
void ws_handle(struct ws *ws, const struct ws_handler *handler, void *userdata);
void ws_pause(struct ws *ws, bool paused); /* stops reading, and begins again */
/* Sends a whole message, or bytes of the raw stream; what the socket does not take is queued. */
void ws_send(struct ws *ws, enum ws_opcode opcode, const void *data, size_t len);
bool ws_idle(const struct ws *ws);     /* nothing is queued */
size_t ws_queued(const struct ws *ws); /* bytes */
/* Ends it: what is queued goes out, then the close frame; its handler is not called any more and the caller forgets it.
 * `reason` may be NULL and is cut. A peer that does not answer is left after 5 s. */
void ws_close(struct ws *ws, unsigned code, const char *reason);
/* As ws_close, at once and without a word. */
void ws_drop(struct ws *ws);
void ws_set_drop(struct ws_set *set);
