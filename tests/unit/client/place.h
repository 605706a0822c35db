/* What the tests of this folder share: a directory of their own and the files in it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/error.h"

struct place {
        char directory[64];
};

int place_setup(void **state);
int place_teardown(void **state);

/* Full path of a file; valid until the fourth call after it. */
const char *place_path(const struct place *place, const char *name);
void place_write(const struct place *place, const char *name, const char *text, int mode);
void place_append(const struct place *place, const char *name, const char *text);
char *place_read(const struct place *place, const char *name); /* owned by the caller */
