/*
 * What the web process gives up before it reads the first byte of a stranger: rights, programs, files. Everything here
 * is one-way. What a kernel does not have is left out and named in the report; nothing of it is needed to serve.
 */
#pragma once

#include "base/buf.h"

struct confinement {
        struct buf in_force; /* "no new rights, no capabilities, ...", for the log */
        struct buf missing;  /* the same for what this machine cannot do; empty when it can do all */
};

/*
 * Before the first thread is started. `conninfo` says what the way to the database needs: with a socket nothing but
 * libraries can be read, with a host also /etc (names, certificates), and only the database's port can be connected.
 */
void confine(const char *conninfo, struct confinement *ret);
void confinement_deinit(struct confinement *confinement);

/* --- confine_calls.c --- */

/* System calls that start a program or another process, and those that only an attacker needs, are refused: EPERM.
 * False: no filter for this machine. */
bool confine_calls(void);

/* --- confine_files.c --- */

/* No file can be opened but the few that libraries need; none can be written or made. The version of the kernel's
 * landlock, 0: it has none. */
int confine_files(const char *conninfo);
