/*
 * A lab of the provider `local` for one test program: its own state directory (which nobody but root may enter, as the
 * worst case), its own range of user ids, and a stand-in for the agent that writes down how it was called.
 */
#pragma once

#include "base/buf.h"
#include "provider/local/internal.h"
#include "provider/local/local.h"

#define RIG_PATIENCE_MS 60000 /* a wait longer than that is a failure */
#define TOKEN_ONE "token-of-the-first-0123456789abcdef"
#define TOKEN_TWO "token-of-the-second-0123456789abcdef"

struct rig {
        struct config *config;
        struct provider *provider;
        char *directory;  /* everything of this test; removed at the end */
        struct buf lines; /* what the provider said */
        int created;
        int cancel_after; /* created VMs until `cancelled` says yes; 0: never */
};

/* False, and says why, where sandboxes are impossible: main then returns RIG_SKIP, for Meson to count it. */
bool rig_possible(void);
#define RIG_SKIP 77
void rig_open(struct rig *rig);
void rig_close(struct rig *rig);
struct provider_sink rig_sink(struct rig *rig);
/* Launches the names of a NULL-terminated list. */
int rig_launch(struct rig *rig, struct error *error, ...);
/* Runs a shell script inside; standard output and error in `out`. Gives the exit status, or -1 when it cannot enter. */
int rig_run(struct rig *rig, const char *vm, bool as_root, const char *script, struct buf *out);
/* As above, and fails the test unless exit 0. The text without its last newline; owned by the caller. */
char *rig_say(struct rig *rig, const char *vm, bool as_root, const char *script);
/* Runs it again and again until it succeeds; fails the test after a long while. */
void rig_wait(struct rig *rig, const char *vm, const char *script);
int rig_state(struct rig *rig, const char *vm); /* enum provider_state, or -1 when it is not listed */
/* Fails unless nothing of any VM is left on the machine. */
void rig_assert_nothing_left(struct rig *rig);
/* For cmocka: a lab of its own in *state; and its end, with nothing left. */
int rig_set_up(void **state);
int rig_tear_down(void **state);
/* Living processes with a user id of this lab's VMs, of that name or (NULL) of any. */
size_t rig_count_processes(struct rig *rig, const char *name);
