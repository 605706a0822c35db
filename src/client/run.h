/*
 * A child program on the loop: started with exactly the environment, user and descriptors named here, its output handed
 * over line by line and limited, its end awaited by a task through a pidfd.
 */
#pragma once

#include <sys/types.h>

#include "base/task.h"

struct person { /* the user that a program runs as, looked up before the fork */
        uid_t uid;
        gid_t gid;
        gid_t *groups;
        int n_groups;
        char *name, *home, *shell;
};

/* 0; -ENOENT when there is no such user. */
int person_find(const char *name, struct person *ret);
void person_deinit(struct person *person);

#define RUN_OUTPUT_MAX 65536 /* bytes of output handed over */
#define RUN_FLOOD_MAX \
        (1 << 20) /* after so much it is not even read any more: the child blocks until its time is up \
                   */
#define RUN_LINE_MAX 2048

struct run_spec {
        const char *const *argv; /* argv[0] is the path */
        const char *const *env;
        const char *cwd;         /* when it cannot be entered: "/" */
        const struct person *as; /* NULL: as this process */
        const char *input; /* written at once to standard input, which stays open until the end; NULL: /dev/null */
        void (*line)(void *userdata, const char *line, size_t len); /* NULL: output goes to our standard error */
        void *userdata;
        bool tied;          /* killed when the agent ends */
        int64_t timeout_ms; /* 0: none; then its process group is killed */
};

struct run;

/* NULL with the reason, also when exec failed (-ENOENT, -EACCES, ...). */
struct run *run_start(struct loop *loop, const struct run_spec *spec, struct error *error);
int run_await_named(struct task *t, struct run *run, task_step next, const char *name);
#define run_await(t, run, next) run_await_named((t), (run), (next), #next)
int run_status(const struct run *run); /* as waitpid gives it; valid after the wait */
bool run_timed_out(const struct run *run);
bool run_flooded(const struct run *run); /* more output than RUN_OUTPUT_MAX */
/* Lets go: a tied child that still runs is killed, another one lives on. */
void run_free(struct run *run);
