/*
 * Rows that print either as aligned columns for people or as JSON for programs. Cells are text and are made harmless
 * when they are printed.
 */
#pragma once

#include <stdio.h>

#include "base/json.h"

struct table;

/* With `heads` (NULL-terminated, borrowed): lines under headings; JSON gives an array of objects whose keys are the
 * heads in lower case, blanks as underscores. Without: a name and a value a line; JSON gives one object. */
struct table *table_new(const char *const *heads);
struct table *table_free(struct table *table);
static inline void table_freep(struct table **table)
{
        table_free(*table);
}
#define _cleanup_table_ _cleanup_(table_freep)

/* One cell after the other, row by row; NULL and "" print as "-". */
void table_add(struct table *table, const char *text);
void table_addf(struct table *table, const char *format, ...) _printf_(2, 3);
/* The value under `key`: text, number, "yes"/"no", "-" for null and what is missing. */
void table_add_json(struct table *table, const json_t *object, const char *key);
size_t table_rows(const struct table *table);

void table_print(const struct table *table, bool as_json, FILE *out);

/* A JSON value as an answer prints it: indented on a terminal, on one line elsewhere; newline at the end. */
void json_put(const json_t *value, FILE *out);
