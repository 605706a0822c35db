/*
 * A process that is root only in a user namespace: id 0 there is the VM's first id here, so nothing that it makes,
 * a setuid file included, means anything to the host. The child is made by two forks (it is nobody's child afterwards,
 * and its session is its own), tells its pid, prepares as host root what needs that, enters the namespace, waits until
 * its ids are mapped and executes. If the runner dies meanwhile the child reads the end of the stream and ends as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/file.h"
#include "provider/local/internal.h"

#define MESSAGE_MAX 2048
#define SPARE_FD 64 /* above every number that a spec asks for */

enum word { WORD_PID = 'p', WORD_IN_NAMESPACE = 'n', WORD_MAPPED = 'm', WORD_FAILED = 'f' };

static bool say(int control, char word, const char *text)
{
        char message[MESSAGE_MAX];
        int n = snprintf(message, sizeof message, "%c%s", word, text);
        return send(control, message, (size_t)MIN(n, (int)sizeof message - 1), MSG_NOSIGNAL) > 0;
}

static void reset_signals(void)
{
        for (int signo = 1; signo < NSIG; signo++)
                signal(signo, SIG_DFL);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Every descriptor of the parent goes, above all the operation's lock. Returns the control socket's new number. */
static int place_fds(const struct spawn_spec *spec, int control)
{
        int spare[16];
        if (spec->n_fds > ARRAY_SIZE(spare))
                return -E2BIG;
        for (size_t i = 0; i < spec->n_fds; i++)
                if ((spare[i] = fcntl(spec->fds[i].source, F_DUPFD, SPARE_FD)) < 0)
                        return -errno;
        int kept = fcntl(control, F_DUPFD, SPARE_FD);
        int highest = 2;
        for (size_t i = 0; i < spec->n_fds; i++)
                highest = MAX(highest, spec->fds[i].number);
        if (kept < 0 || dup3(kept, highest + 1, O_CLOEXEC) < 0)
                return -errno;
        for (size_t i = 0; i < spec->n_fds; i++)
                if (dup2(spare[i], spec->fds[i].number) < 0)
                        return -errno;
        if (syscall(SYS_close_range, (unsigned)highest + 2, ~0U, 0) < 0)
                return -errno;
        return highest + 1;
}

static int enter_new_namespace(int control, struct error *error)
{
        char answer[8];
        if (unshare(CLONE_NEWUSER) < 0)
                return error_errno(error, errno, "cannot make a user namespace");
        if (!say(control, WORD_IN_NAMESPACE, "") || recv(control, answer, sizeof answer, 0) <= 0)
                return error_set(error, -EPIPE, "the runner has gone");
        return 0;
}

static int become_mapped_root(const struct spawn_spec *spec, int control, struct error *error)
{
        int r = 0;
        if (spec->userns_fd < 0)
                r = enter_new_namespace(control, error);
        else if (setns(spec->userns_fd, CLONE_NEWUSER) < 0)
                r = error_errno(error, errno, "cannot enter the user namespace");
        if (r < 0)
                return r;
        if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
                return error_errno(error, errno, "cannot become the namespace's root");
        return 0;
}

static void child_main(const struct spawn_spec *spec, int control)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        char pid[16];
        reset_signals();
        control = place_fds(spec, control);
        if (control < 0)
                _exit(126);
        umask(022);
        snprintf(pid, sizeof pid, "%d", (int)getpid());
        syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
        int r = say(control, WORD_PID, pid) ? 0 : -EPIPE;
        if (r == 0 && spec->prepare)
                r = spec->prepare(spec->userdata, &error);
        if (r == 0)
                r = become_mapped_root(spec, control, &error);
        if (r == 0 && chdir("/") == 0) {
                if (spec->userns_fd >= 0)
                        close(spec->userns_fd);
                execvpe(spec->argv[0], (char *const *)spec->argv, (char *const *)spec->env);
                error_errno(&error, errno, "cannot execute %s", spec->argv[0]);
        }
        say(control, WORD_FAILED, error_text(&error));
        _exit(126);
}

static int write_map(pid_t pid, const char *file, uint32_t first_id)
{
        char path[64], line[64];
        snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
        int n = snprintf(line, sizeof line, "0 %u %d\n", first_id, LOCAL_IDS);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return write(fd, line, (size_t)n) == n ? 0 : -errno; /* the kernel takes a map in one piece */
}

static int map_ids(pid_t pid, uint32_t first_id, int control, struct error *error)
{
        int r = write_map(pid, "gid_map", first_id);
        if (r == 0)
                r = write_map(pid, "uid_map", first_id);
        if (r < 0)
                return error_errno(error, -r, "cannot map user ids %u to %u", first_id, first_id + LOCAL_IDS - 1);
        return say(control, WORD_MAPPED, "") ? 0 : error_set(error, -EPIPE, "the child has gone");
}

/* Follows the child up to its exec, which closes the control socket. */
static int follow_child(const struct spawn_spec *spec, int control, struct process_identity *ret, struct error *error)
{
        for (;;) {
                char message[MESSAGE_MAX + 1];
                ssize_t n = recv(control, message, MESSAGE_MAX, 0);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return ret->pid ? 0 : error_set(error, -EPIPE, "%s ended before it began", spec->argv[0]);
                message[n] = '\0';
                int r = 0;
                if (message[0] == WORD_PID)
                        r = process_identify((pid_t)strtol(message + 1, NULL, 10), ret);
                else if (message[0] == WORD_IN_NAMESPACE)
                        r = map_ids(ret->pid, spec->first_id, control, error);
                else
                        r = error_set(error, -EPERM, "%s", message + 1);
                if (r < 0)
                        return r;
        }
}

int spawn_mapped(const struct spawn_spec *spec, struct process_identity *ret, struct error *error)
{
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return error_errno(error, errno, "cannot start %s", spec->argv[0]);
        _cleanup_close_ int ours = pair[0];
        sigset_t all, before;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, &before);
        pid_t middle = fork();
        if (middle == 0) {
                setsid();
                pid_t child = fork();
                if (child == 0)
                        child_main(spec, pair[1]);
                _exit(child < 0 ? 126 : 0);
        }
        int fork_errno = errno;
        sigprocmask(SIG_SETMASK, &before, NULL);
        close(pair[1]);
        if (middle < 0)
                return error_errno(error, fork_errno, "cannot start %s", spec->argv[0]);
        int status = 0;
        int r = process_wait(middle, &status, error);
        *ret = (struct process_identity){0};
        return r < 0 ? r : follow_child(spec, ours, ret, error);
}
