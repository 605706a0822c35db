/* States of the routes about collections, and what their files share. */
#pragma once

#include "lab/collection.h"
#include "lab/operation.h"
#include "lab/selection.h"
#include "lab/vm.h"
#include "web/archive.h"
#include "web/web.h"

struct download_state {
        struct selection selection;
        char *selection_text, *arguments_text;
        json_t *arguments;
        struct count_answer id;
        struct json_answer row, counts, operation;
        struct operation_new made;
        int64_t collection, list;
        bool follow, names, ranged;
        int64_t from, to; /* first and last byte that is wanted; `to` -1: all */
        int64_t length, left;
        int tries;
        char etag[64];
        struct archive_pipe pipe;
        struct buf head; /* of the pipe: a line, and what came behind it */
        size_t head_len;
        char tail[22]; /* last bytes that went out */
        size_t tail_len;
};

struct collections_state {
        int64_t id;
        struct vm_list list, seats;
        struct json_answer row, operation, guard, look;
        struct operation_new made;
        struct selection selection;
        struct count_answer taken;
        char *selection_text, *arguments_text;
        json_t *arguments;
        const char *kind;
        int tries;
};
void download_state_free(void *state);
void collections_state_free(void *state);

int download_collecting(struct task *t); /* download.c */
int download_kept(struct task *t);
int collections_list(struct task *t); /* collections.c */
int collection_show(struct task *t);
int collection_start(struct task *t);
int collection_delete(struct task *t);

int unknown_collection(struct task *t);
/* What is asked for, of the query or of the body; a new reference. */
json_t *selection_query(struct task *t);
json_t *selection_body(struct task *t);
