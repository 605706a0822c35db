/*
 * What the agent must still know after a kill: which assignment it has carried out. Written aside, fsynced and renamed,
 * mode 0600 (it holds the PIN, so that log lines can be masked after a restart too). One agent a state file: a lock
 * says so.
 *
 * An assignment has two steps, start-host and the program of on_assigned; each is saved when it is done. start-host
 * dies with the agent, so an agent killed in between runs it again, and one that was done is never run twice.
 */
#pragma once

#include "base/error.h"

#define STATE_HOSTED_SIZE 90

struct state {
        char *path;
        int lock;                       /* descriptor, -1: not locked */
        int64_t generation;             /* carried out last; 0: none */
        char fingerprint[65];           /* of that assignment; "" */
        char *pin;                      /* of that assignment; NULL */
        char hosted[STATE_HOSTED_SIZE]; /* the newer assignment that start-host is done with already; "" */
};

/* Locks and reads. A missing file is a fresh state; an unreadable or damaged one is moved to PATH.damaged and
 * `note` (owned by the caller, may be NULL) says so. -EWOULDBLOCK: another agent holds it. */
int state_open(const char *path, struct state *state, char **note, struct error *error);
int state_save(const struct state *state, struct error *error);
void state_close(struct state *state);
