/*
 * What most statements answer with, and the decoders that fill it. The receiver's owner zeroes it before, makes a list's
 * array, and releases what is in it.
 */
#pragma once

#include "db/db.h"

struct flag_answer {
        bool yes;
};

struct count_answer {
        int64_t count;
};

struct text_answer {
        char *text; /* owned */
};

struct json_answer {
        json_t *value; /* owned; stays NULL when there was no row */
};

/* An array that rows are appended to as objects. */
struct vm_list {
        json_t *array;
};

/* For db_statement.decode: the first column, or (object, append) the whole row by the columns' names. */
int answer_flag(const struct db_row *row, void *receiver, struct error *error);
int answer_count(const struct db_row *row, void *receiver, struct error *error);
int answer_text(const struct db_row *row, void *receiver, struct error *error);
int answer_object(const struct db_row *row, void *receiver, struct error *error);
int answer_append(const struct db_row *row, void *receiver, struct error *error);
