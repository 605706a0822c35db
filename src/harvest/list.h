/*
 * What `find` in a VM says, read as a stranger's words: "SIZE MTIME MODE PATH" NUL, again and again, in pieces of any
 * length. A line that is none or a path that comes twice is dropped; a path that would lead out, or is too long or deep,
 * is left out by name; an endless list ends at the limit.
 */
#pragma once

#include "harvest/walk.h"

#define LIST_FORMAT "%s %T@ %m %P\\0" /* of find's -printf */

struct list_parser {
        const struct selection *selection;
        const char *prefix; /* put before each path, with a slash; "" for none */
        size_t files_max;
        struct finds *finds;
        struct buf partial;
        size_t line; /* bytes of the present line so far */
        size_t bad;  /* dropped */
};

/* 0, or -E2BIG: there are more than files_max, or it has no end (finds.cut is set), and nothing more need be read. */
int list_feed(struct list_parser *parser, const char *data, size_t len);
/* At the end: sorts, and drops what came twice. */
void list_done(struct list_parser *parser);
