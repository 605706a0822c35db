/*
 * Which allocator this is. Several may share one database, each with machines of its own: what one of them launched only
 * that one may start, reset, destroy or take for gone. A site is the state directory's: its name is made once and kept
 * there. Connections carry it as the setting lablink.site, rows as their column `site`.
 */
#pragma once

#include "base/error.h"

#define SITE_SIZE 24

/* Reads the name, or makes it. */
int site_open(const char *state_dir, char ret[SITE_SIZE], struct error *error);
/* The statement that tells a connection; owned by the caller. */
char *site_sql(const char *site);
