/*
 * fork and exec by hand, because start-host must run as a user WITH its supplementary groups (it checks one) and with
 * setuid helpers allowed. After the fork only async-signal-safe calls are made; a close-on-exec pipe carries the errno
 * of what failed.
 */
#include "client/run_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define GROUPS_MAX 1024

int person_find(const char *name, struct person *ret)
{
        *ret = (struct person){0};
        const struct passwd *entry = getpwnam(name);
        if (!entry)
                return -ENOENT;
        *ret = (struct person){.uid = entry->pw_uid,
                               .gid = entry->pw_gid,
                               .name = xstrdup(entry->pw_name),
                               .home = xstrdup(entry->pw_dir),
                               .shell = xstrdup(entry->pw_shell)};
        ret->n_groups = GROUPS_MAX;
        ret->groups = xcalloc(GROUPS_MAX, sizeof *ret->groups);
        if (getgrouplist(ret->name, ret->gid, ret->groups, &ret->n_groups) < 0)
                ret->n_groups = GROUPS_MAX;
        return 0;
}

void person_deinit(struct person *person)
{
        free(person->groups);
        free(person->name);
        free(person->home);
        free(person->shell);
        *person = (struct person){0};
}

struct spawn {
        const struct run_spec *spec;
        int in, out, tell;
        pid_t parent;
};

static void die(const struct spawn *s)
{
        int number = errno;
        ssize_t n _unused_ = write(s->tell, &number, sizeof number);
        _exit(127);
}

static void reset_signals(void)
{
        sigset_t none;
        sigemptyset(&none);
        for (int i = 1; i < 32; i++)
                signal(i, SIG_DFL);
        sigprocmask(SIG_SETMASK, &none, NULL);
}

static void become(const struct spawn *s)
{
        const struct person *as = s->spec->as;
        if (as && (setgroups((size_t)as->n_groups, as->groups) < 0 || setresgid(as->gid, as->gid, as->gid) < 0 ||
                   setresuid(as->uid, as->uid, as->uid) < 0))
                die(s);
        if (s->spec->tied && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) /* changing ids would clear it */
                die(s);
        if (s->spec->tied && getppid() != s->parent)
                _exit(127);
}

/* libcurl's sockets and whatever else came without close-on-exec. */
static void close_rest(void)
{
        if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
                return;
        for (int fd = 3; fd < 1024; fd++)
                fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static void run_child(const struct spawn *s) __attribute__((noreturn));
static void run_child(const struct spawn *s)
{
        reset_signals();
        setsid();
        if (dup2(s->in, 0) < 0 || dup2(s->out, 1) < 0 || dup2(s->out, 2) < 0)
                die(s);
        close_rest();
        become(s);
        if (!s->spec->cwd || chdir(s->spec->cwd) < 0)
                if (chdir("/") < 0)
                        die(s);
        execve(s->spec->argv[0], (char *const *)s->spec->argv, (char *const *)s->spec->env);
        die(s);
        _exit(127);
}

static int hear_from(int fd, pid_t pid, const struct run_spec *spec, struct error *error)
{
        int number = 0;
        ssize_t n;
        do {
                n = read(fd, &number, sizeof number);
        } while (n < 0 && errno == EINTR);
        if (n == 0)
                return 0;
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
        return error_errno(error, n == sizeof number ? number : EIO, "cannot start %s", spec->argv[0]);
}

int run_spawn(const struct run_spec *spec, int in, int out, pid_t *ret_pid, struct error *error)
{
        int tell[2];
        if (pipe2(tell, O_CLOEXEC) < 0)
                return error_errno(error, errno, "cannot start %s", spec->argv[0]);
        _cleanup_close_ int hear = tell[0];
        struct spawn s = {.spec = spec, .in = in, .out = out, .tell = tell[1], .parent = getpid()};
        pid_t pid = fork();
        if (pid == 0)
                run_child(&s);
        int number = errno;
        close(tell[1]);
        if (pid < 0)
                return error_errno(error, number, "cannot start %s", spec->argv[0]);
        *ret_pid = pid;
        return hear_from(hear, pid, spec, error);
}
