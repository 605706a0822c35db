/* What the allocator answers as a list, as a table. */
#pragma once

#include "cli/cli.h"
#include "cli/table.h"

/* Gets `path` and prints the entries of its array `member`, a row each by `add`, or the answer as it is under --output
 * json. No entry: the sentence `empty`. */
int list_show(struct cli *cli, const char *path, const char *member, const char *const *heads,
              void (*add)(struct table *table, const json_t *entry), const char *empty, struct error *error);
