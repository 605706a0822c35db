/*
 * Connection strings of libpq: made from settings, and parted into what everybody may see and what nobody may.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

/* Adds keyword='value', quoted as libpq wants it. */
void conninfo_add(struct buf *out, const char *keyword, const char *value);

/* *ret_open: the same without what libpq itself calls secret; *ret_password (may be NULL): the password in it, or NULL.
 * Both are the caller's. -EINVAL for what cannot be read, or holds another secret than a password and `ret_password`
 * wants them all. */
int conninfo_split(const char *conninfo, char **ret_open, char **ret_password, struct error *error);
