/* What the tests of this folder share: a directory of their own with a config.yaml in it, loaded without the
 * environment of whoever runs them. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"

struct lab_file {
        char directory[64];
        char *path; /* of config.yaml */
};

int lab_file_setup(void **state);
int lab_file_teardown(void **state);

/* Writes config.yaml; NULL removes it. */
void lab_file_write(const struct lab_file *file, const char *yaml);
/* Loads it with these sets and variables (NULL-terminated or NULL). NULL when refused: then `problems` says why. */
struct config *lab_file_load(const struct lab_file *file, const char *yaml, const char *const *sets,
                             const char *const *environment, struct buf *problems);
/* As before, with nothing but the file, and fails the test when it is refused. */
struct config *lab_file_good(const struct lab_file *file, const char *yaml);

/* Fails unless `problems` holds a line that begins with `place` and holds `words`. */
void assert_problem(const struct buf *problems, const char *place, const char *words);
size_t count_lines(const struct buf *text);
