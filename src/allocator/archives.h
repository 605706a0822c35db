/* The supervisor's side of downloads (lab/archive_order.h): a runner for each, whose output goes to the web process. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#define ARCHIVES_MAX 16 /* downloads at the same time */

struct supervisor;

struct archives {
        int socket; /* to the web process; -1: none */
        pid_t runners[ARCHIVES_MAX];
};

/* A new socket pair for a new web process; *ret_theirs is the caller's to close. */
int archives_open(struct supervisor *s, int *ret_theirs);
void archives_close(struct supervisor *s);
/* Orders that have come. */
void archives_hear(struct supervisor *s);
/* Was that one of them? */
bool archives_reap(struct supervisor *s, pid_t pid);
