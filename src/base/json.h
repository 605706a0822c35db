/*
 * JSON from strangers, read by jansson under limits: depth 16, no duplicate keys, size limited by the caller, UTF-8
 * only, and whole: nothing may follow the value. Getters return borrowed pointers.
 */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "base/error.h"

#define JSON_DEPTH_MAX 16

/* From now on whatever jansson gives back is overwritten: call it first of all, in a process that reads secrets. */
void json_wipe_freed(void);

/* A new reference, or NULL with the sentence in `error` (code -EINVAL). Strings may hold \u0000. */
json_t *json_read(const char *data, size_t len, struct error *error);
/* The same for what a stranger sent: refused when it holds more than so many commas and opening brackets. */
json_t *json_read_max(const char *data, size_t len, size_t values_max, struct error *error);
/* Adds to `out` the same JSON with what a string may not hold mended: bytes that are no UTF-8, NUL and halves of surrogate
 * pairs become U+FFFD, control characters are escaped. Other faults stay. -E2BIG: that is more than `max` bytes. */
int json_mend(const char *data, size_t len, size_t max, struct buf *out);
void json_write(const json_t *value, struct buf *out); /* compact */
char *json_text(const json_t *value);                  /* compact; owned by the caller */

const char *json_get_string(const json_t *object, const char *key); /* NULL when missing or no string */
bool json_array_has(const json_t *array, const char *text);         /* is it one of its strings? */

static inline void json_unrefp(json_t **value)
{
        json_decref(*value);
}
#define _cleanup_json_ _cleanup_(json_unrefp)
