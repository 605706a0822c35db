/*
 * Words that are given to ssh. Two programs read them, and neither takes an argument as it is: the shell at the other end,
 * and ssh's own configuration, which knows quotes, %-words and ${variables} also in an option of the command line.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

/* One word for the shell at the other end. */
void ssh_quote(const char *word, struct buf *out);
/* KEY "PATH", for a line of the configuration or an option -o. -EINVAL: ssh cannot be told that path (NULL, a line break,
 * or "${"). Needs OpenSSH 8.7: older ones know no quote inside of quotes. */
int ssh_path_option(const char *key, const char *path, struct buf *out, struct error *error);
