/*
 * What the agent must still know after a kill: which assignment it has carried out. Written aside, fsynced and renamed,
 * mode 0600 (it holds the PIN, so that log lines can be masked after a restart too). One agent a state file: a lock says so.
 *
 * At least once: the state is saved after an assignment was carried out. An agent killed in between runs start-host
 * again with the same code; a code is good for one use, so the second run only fails with a clear line.
 */
#pragma once

#include "base/error.h"

struct state {
        char *path;
        int lock;               /* descriptor, -1: not locked */
        int64_t generation;     /* carried out last; 0: none */
        char fingerprint[65];   /* of that assignment; "" */
        char *pin;              /* of that assignment; NULL */
};

/* Locks and reads. A missing file is a fresh state; an unreadable or damaged one is moved to PATH.damaged and
 * `note` (owned by the caller, may be NULL) says so. -EWOULDBLOCK: another agent holds it. */
int state_open(const char *path, struct state *state, char **note, struct error *error);
int state_save(const struct state *state, struct error *error);
void state_close(struct state *state);
