/*
 * What is hidden before a line leaves this machine: the value after --code, the code itself and the seat's PIN.
 */
#pragma once

#include "base/buf.h"

struct mask {
        char *code; /* NULL: none known */
        char *pin;
};

#define MASKED "***"

/* Appends `len` bytes of a line with the secrets replaced. */
void mask_line(const struct mask *mask, const char *line, size_t len, struct buf *out);
void mask_set(struct mask *mask, const char *code, const char *pin);
void mask_deinit(struct mask *mask);
