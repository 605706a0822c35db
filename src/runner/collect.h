/* What the files of the operation `collect` share: a collection being made, and its list on the disk. */
#pragma once

#include <stdio.h>

#include "harvest/harvest.h"
#include "runner/runner.h"

struct seat_row { /* a seat of the collection, also of machines that are gone */
        char *folder, *hostname, *email;
        int64_t vm_id;
        struct entries had; /* of earlier rounds; moved into the harvest's seat while that one is collected */
        bool asked;         /* in this round */
        bool was_failed;
        int64_t told_ms;
        size_t index; /* of harvest.seats, when asked */
};

struct collecting {
        struct runner *runner;
        int64_t id;
        bool look;
        struct selection selection;
        struct store store;
        struct seat_row *rows;
        size_t n_rows;
        struct harvest harvest;
        struct entries *now; /* one a seat of the harvest: what this round has told, by path alone */
        FILE *list;
        int list_error;
        int64_t old_list; /* that counted before; 0: none */
        bool differs;     /* from the old list */
        size_t done, failed;
        int64_t files, bytes; /* of the whole list */
        double started;
};

/* --- collect_list.c --- */
/* Reads every list that is there, also one that was cut off, into the rows' `had`: the latest of each path. */
int collected_before(struct collecting *c, struct error *error);
/* The new list: its head and its seats. */
int list_begin(struct collecting *c, struct error *error);
void list_file(struct collecting *c, const char *folder, const struct entry *entry);
void list_skip(struct collecting *c, const char *folder, const json_t *skip);
void list_failed(struct collecting *c, const char *folder, const char *reason);
void list_flush(struct collecting *c);
/* What is kept of earlier rounds and was not told in this one; then the end. */
int list_end(struct collecting *c, struct error *error);
/* Removes what is no list that counts, and what no list names. */
void lists_tidy(struct collecting *c, int64_t list);
