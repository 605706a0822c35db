/*
 * Starting, waiting for and naming child processes. Between fork and exec only async-signal-safe calls are made; what
 * goes wrong there travels to the parent as an errno and the step's number through a close-on-exec pipe.
 */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"

enum stage { STAGE_FDS, STAGE_SESSION, STAGE_IDS, STAGE_CWD, STAGE_EXEC };

static const char *const stage_names[] = {"cannot set up its descriptors", "cannot start a session",
                                          "cannot change its user", "cannot enter its directory", "cannot execute it"};

struct failure {
        int stage;
        int number;
};

extern char **environ;

/* 32 and 33 are the C library's own: it refuses to set them, but whoever started us may have had them ignored. */
#ifdef __SANITIZE_THREAD__
#define THREAD_SANITIZER 1 /* it has a thread in each process, which libc's own signals must still reach */
#else
#define THREAD_SANITIZER 0
#endif

static void reset_signals(void)
{
        static const unsigned long as_new[4]; /* the kernel's struct sigaction: default handler, no flags, empty mask */
        for (int signo = 1; signo < NSIG; signo++)
                if (signal(signo, SIG_DFL) == SIG_ERR && !THREAD_SANITIZER)
                        syscall(SYS_rt_sigaction, signo, as_new, NULL, sizeof(unsigned long));
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
}

static int open_null(int fd)
{
        return fd == PROCESS_FD_NULL ? open("/dev/null", O_RDWR) : fd;
}

/* The three standard descriptors, moved out of each other's way first. */
static bool set_standard_fds(const struct process_spec *spec)
{
        int wanted[3] = {spec->stdin_fd, spec->stdout_fd, spec->stderr_fd};
        for (int i = 0; i < 3; i++) {
                if (wanted[i] == PROCESS_FD_INHERIT)
                        wanted[i] = i;
                int source = open_null(wanted[i]);
                wanted[i] = source < 0 ? -1 : fcntl(source, F_DUPFD_CLOEXEC, 10);
                if (wanted[i] < 0)
                        return false;
        }
        for (int i = 0; i < 3; i++)
                if (dup2(wanted[i], i) < 0)
                        return false;
        return true;
}

static bool is_kept(const struct process_spec *spec, int fd, int report)
{
        for (size_t i = 0; i < spec->n_keep_fds; i++)
                if (spec->keep_fds[i] == fd)
                        return true;
        return fd == report;
}

static bool set_fds(const struct process_spec *spec, int report)
{
        for (size_t i = 0; i < spec->n_keep_fds; i++)
                if (fcntl(spec->keep_fds[i], F_SETFD, 0) < 0)
                        return false;
        if (!set_standard_fds(spec))
                return false;
        int last = 3;
        for (size_t i = 0; i <= spec->n_keep_fds; i++) {
                /* close the gaps between the kept descriptors, in rising order */
                int next = -1;
                for (size_t k = 0; k < spec->n_keep_fds; k++)
                        if (spec->keep_fds[k] >= last && (next < 0 || spec->keep_fds[k] < next))
                                next = spec->keep_fds[k];
                if (report >= last && (next < 0 || report < next))
                        next = report;
                if (next < 0)
                        break;
                if (next > last)
                        syscall(SYS_close_range, (unsigned)last, (unsigned)next - 1, 0);
                last = next + 1;
        }
        syscall(SYS_close_range, (unsigned)last, ~0U, 0);
        return is_kept(spec, report, report);
}

static bool set_ids(const struct process_spec *spec)
{
        if (!spec->drop_ids)
                return true;
        if (setgroups(0, NULL) < 0 && geteuid() == 0)
                return false;
        /* ends at the first that the kernel does not know, or that we may not drop */
        for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++)
                ;
        return setresgid(spec->gid, spec->gid, spec->gid) == 0 && setresuid(spec->uid, spec->uid, spec->uid) == 0 &&
               prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

static enum stage become(const struct process_spec *spec, pid_t parent, int report)
{
        reset_signals();
        if (!set_fds(spec, report))
                return STAGE_FDS;
        if (spec->new_session && setsid() < 0)
                return STAGE_SESSION;
        if (!set_ids(spec))
                return STAGE_IDS;
        if (spec->die_with_parent && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                return STAGE_SESSION;
        if (spec->die_with_parent && getppid() != parent) { /* it ended before we could ask */
                errno = ESRCH;
                return STAGE_SESSION;
        }
        if (spec->cwd && chdir(spec->cwd) < 0)
                return STAGE_CWD;
        if (spec->before_exec)
                spec->before_exec(spec->userdata);
        char *const *env = spec->env ? (char *const *)spec->env : environ;
        execvpe(spec->argv[0], (char *const *)spec->argv, env);
        return STAGE_EXEC;
}

int process_spawn(const struct process_spec *spec, pid_t *ret_pid, struct error *error)
{
        int report[2];
        if (pipe2(report, O_CLOEXEC) < 0)
                return error_errno(error, errno, "cannot start %s", spec->argv[0]);
        if (report[1] < 3) { /* a standard descriptor was closed: the child is about to replace it */
                int moved = fcntl(report[1], F_DUPFD_CLOEXEC, 3);
                int number = errno;
                close(report[1]);
                report[1] = moved;
                if (moved < 0) {
                        close(report[0]);
                        return error_errno(error, number, "cannot start %s", spec->argv[0]);
                }
        }
        pid_t parent = getpid();
        sigset_t all, before;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, &before);
        pid_t pid = fork();
        if (pid == 0) {
                struct failure failure = {.stage = become(spec, parent, report[1]), .number = errno};
                ssize_t ignored _unused_ = write(report[1], &failure, sizeof failure);
                _exit(127);
        }
        int fork_errno = errno;
        sigprocmask(SIG_SETMASK, &before, NULL);
        close(report[1]);
        _cleanup_close_ int from_child = report[0];
        if (pid < 0)
                return error_errno(error, fork_errno, "cannot start %s", spec->argv[0]);
        struct failure failure;
        ssize_t n;
        while ((n = read(from_child, &failure, sizeof failure)) < 0 && errno == EINTR)
                ;
        if (n == (ssize_t)sizeof failure) {
                process_wait(pid, &(int){0}, NULL);
                return error_errno(error, failure.number, "%s: %s", spec->argv[0], stage_names[failure.stage]);
        }
        *ret_pid = pid;
        return 0;
}

int process_wait(pid_t pid, int *ret_status, struct error *error)
{
        pid_t r;
        while ((r = waitpid(pid, ret_status, 0)) < 0 && errno == EINTR)
                ;
        return r < 0 ? error_errno(error, errno, "cannot wait for process %d", (int)pid) : 0;
}

void process_stop(pid_t pid, bool group, int64_t grace_ms)
{
        if (pid <= 1)
                return; /* as a group these would be our own and everybody's */
        int64_t deadline = clock_ms() + grace_ms;
        kill(group ? -pid : pid, SIGTERM);
        while (clock_ms() < deadline) {
                pid_t r = waitpid(pid, NULL, WNOHANG);
                if (r == pid || (r < 0 && errno == ECHILD)) {
                        if (group)
                                kill(-pid, SIGKILL);
                        return;
                }
                clock_sleep_ms(10);
        }
        kill(group ? -pid : pid, SIGKILL);
        process_wait(pid, &(int){0}, NULL);
}

char *process_outcome(int status)
{
        if (WIFEXITED(status))
                return xasprintf("exit %d", WEXITSTATUS(status));
        if (WIFSIGNALED(status))
                return xasprintf("killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
        return xasprintf("status %d", status);
}

/* Start time and state from /proc/PID/stat; the name in parentheses may hold anything. */
static int read_stat(pid_t pid, uint64_t *start_time, char *state)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        char path[32];
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        if (file_read(path, 8192, &text, NULL) < 0)
                return -ESRCH;
        const char *after = strrchr(buf_str(&text), ')');
        unsigned long long start;
        if (!after ||
            sscanf(after + 2, "%c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", state,
                   &start) != 2)
                return -ESRCH;
        *start_time = start;
        return 0;
}

static int read_boot_id(char out[37])
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        if (file_read("/proc/sys/kernel/random/boot_id", 64, &text, NULL) < 0 || text.len < 36)
                return -ESRCH;
        memcpy(out, text.data, 36);
        out[36] = '\0';
        return 0;
}

int process_identify(pid_t pid, struct process_identity *ret)
{
        char state;
        *ret = (struct process_identity){.pid = pid};
        int r = read_stat(pid, &ret->start_time, &state);
        return r < 0 ? r : read_boot_id(ret->boot_id);
}

bool process_is(const struct process_identity *identity)
{
        uint64_t start;
        char state, boot[37];
        return identity->pid > 0 && read_stat(identity->pid, &start, &state) == 0 && start == identity->start_time &&
               state != 'Z' && state != 'X' && read_boot_id(boot) == 0 && strcmp(boot, identity->boot_id) == 0;
}
