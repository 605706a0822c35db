/*
 * Errors. A fallible function returns 0 or a negative errno and fills a `struct error` with a sentence that grows on
 * the way up, each caller saying what it was trying to do: "cannot launch 3 VMs: tofu apply: exit 1: no capacity".
 * The end of the road (request driver, runner, CLI) tells it once. Expected outcomes of a module are not errors: they
 * are a small enum of that module.
 *
 * Every function accepts NULL for the error: then only the code travels.
 */
#pragma once

#include "base/mem.h"

struct error {
        int code;   /* negative errno; 0: nothing went wrong */
        char *text; /* owned; the sentence so far */
};

#define ERROR_NULL ((struct error){0})

/* Sets code and sentence, replacing what was there. Returns `code`, so that a caller can `return error_set(...)`. */
int error_set(struct error *error, int code, const char *format, ...) _printf_(3, 4);

/* As error_set, and adds ": " and the system's words for the errno value `number` (positive). Returns -number. */
int error_errno(struct error *error, int number, const char *format, ...) _printf_(3, 4);

/* Puts "<sentence>: " before what is there. Returns the code that is there. */
int error_wrap(struct error *error, const char *format, ...) _printf_(2, 3);

/* Moves an error; `from` is empty afterwards. Returns the code. */
int error_move(struct error *to, struct error *from);

/* The sentence, never NULL. */
const char *error_text(const struct error *error);

void error_clear(struct error *error);
#define _cleanup_error_ _cleanup_(error_clear)
