/*
 * Child processes. A child is a struct filled in by name; a close-on-exec pipe tells the parent WHY an exec failed, so
 * "tofu: No such file or directory" never looks like an exit status. A process is known by pid, start time and boot id
 * together: a pid alone may be somebody else tomorrow.
 */
#pragma once

#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"

#define PROCESS_FD_NULL (-1)    /* /dev/null */
#define PROCESS_FD_INHERIT (-2) /* the parent's own */

struct process_spec {
        const char *const *argv; /* NULL-terminated; argv[0] is looked for in PATH when it holds no slash */
        const char *const *env;  /* NULL-terminated whole environment; NULL: the parent's */
        const char *cwd;         /* NULL: the parent's */
        int stdin_fd, stdout_fd, stderr_fd;
        const int *keep_fds; /* descriptors that stay open under their own numbers */
        size_t n_keep_fds;
        bool new_session;     /* setsid: a Ctrl-C for the parent is not one for the child */
        bool die_with_parent; /* SIGKILL when the parent's thread ends */
        bool drop_ids;        /* become uid/gid, with no other group, no capability and no_new_privs */
        uid_t uid;
        gid_t gid;
        void (*before_exec)(void *userdata); /* last of all, in the child: async-signal-safe calls alone; may be NULL */
        void *userdata;
};

/* Starts it. Signal mask and handlers of the child are the defaults; every other descriptor is closed. */
int process_spawn(const struct process_spec *spec, pid_t *ret_pid, struct error *error);

/* Waits for the end; *ret_status as waitpid gives it. */
int process_wait(pid_t pid, int *ret_status, struct error *error);
/* SIGTERM, up to `grace_ms`, then SIGKILL, to the whole process group when `group`. Reaps it. */
void process_stop(pid_t pid, bool group, int64_t grace_ms);

/* "exit 1", "killed by signal 9 (Killed)". Owned by the caller. */
char *process_outcome(int status);

struct process_io {
        const char *input; /* sent to standard input, which is then closed; NULL: /dev/null */
        size_t input_len;
        void (*line)(void *userdata, const char *line,
                     bool is_stderr);      /* without newline, UTF-8 made valid, the rest beyond 16 KB dropped */
        bool (*cancelled)(void *userdata); /* asked each 200 ms; true sends SIGTERM to its group; may be NULL */
        void *userdata;
        int64_t timeout_ms; /* 0: none; then it is stopped and -ETIMEDOUT returned */
};

/* Runs to the end, handing output over line by line. stdin/stdout/stderr of the spec are ignored. *ret_status as
 * waitpid gives it; the sentence of a failure to start is in `error`. -ECANCELED after `cancelled`. */
int process_run(const struct process_spec *spec, const struct process_io *io, int *ret_status, struct error *error);

/* Runs and wants exit 0; otherwise the error holds program, outcome and the last lines of standard error. `out` (may be
 * NULL) gets standard output byte for byte; -EFBIG above 1 MB. */
int process_capture(const char *const *argv, struct buf *out, struct error *error);

struct process_identity {
        pid_t pid;
        uint64_t start_time; /* field 22 of /proc/PID/stat, clock ticks since boot */
        char boot_id[37];
};

int process_identify(pid_t pid, struct process_identity *ret); /* 0 or -ESRCH */
bool process_is(const struct process_identity *identity);      /* still that very process, and not a zombie */
