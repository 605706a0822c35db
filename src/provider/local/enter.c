/*
 * `vm exec`: a command inside a running VM. A child joins all its namespaces at once by the pidfd of its first process,
 * and a grandchild, which alone is seen inside, enters the VM's control group, becomes the participant (or the VM's
 * root) and executes.
 *
 * What is inside must not reach the runner through it: the child cannot be traced or read from before it executes
 * (PR_SET_DUMPABLE), no descriptor of ours goes in, and our own terminal neither: the command gets a terminal of the
 * VM's, or pipes, and relay.c carries the bytes. A terminal handed in could be typed into (TIOCSTI).
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <termios.h>

#include "provider/local/internal.h"

#define DEVPTS_MAGIC 0x1cd1
#define ALL_NAMESPACES \
        (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)
#define EXIT_CANNOT_ENTER 126
#define EXIT_NOT_FOUND 127

struct entry {
        struct provider *provider;
        const struct local_vm *vm;
        bool as_root;
        bool terminal;
        const char *const *argv;
        int init;                 /* pidfd of the VM's first process */
        int stdio[3];             /* the child's ends of the pipes; -1 each with a terminal */
        int groups[CGROUP_TREES]; /* the VM's control groups */
        pid_t runner;
        int control; /* the master of the terminal comes back through it, and what went wrong */
};

static void send_back(int control, const char *text, int fd)
{
        union {
                char room[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } space = {0};
        struct iovec part = {.iov_base = (void *)text, .iov_len = strlen(text)};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        if (fd >= 0) {
                message.msg_control = &space;
                message.msg_controllen = sizeof space.room;
                struct cmsghdr *head = CMSG_FIRSTHDR(&message);
                *head = (struct cmsghdr){
                        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
                memcpy(CMSG_DATA(head), &fd, sizeof fd);
        }
        sendmsg(control, &message, MSG_NOSIGNAL);
}

static void give_up(const struct entry *entry, const char *what)
{
        char text[256];
        snprintf(text, sizeof text, "fcannot %s: %s", what, strerror(errno));
        send_back(entry->control, text, -1);
        _exit(EXIT_CANNOT_ENTER);
}

/* The VM's own multiplexer, and surely that: its root may have put anything at the path. */
static int open_terminal(void)
{
        struct statfs fs;
        struct stat st;
        _cleanup_close_ int fd = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0 || fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
                return -1;
        if (fs.f_type != DEVPTS_MAGIC || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2)) {
                errno = ENODEV;
                return -1;
        }
        int unlock = 0;
        return ioctl(fd, TIOCSPTLCK, &unlock) < 0 ? -1 : STEAL_FD(fd);
}

static void take_terminal(const struct entry *entry)
{
        _cleanup_close_ int master = open_terminal();
        if (master < 0)
                give_up(entry, "open a terminal in the VM");
        int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
        if (slave < 0 || setsid() < 0 || ioctl(slave, TIOCSCTTY, 0) < 0)
                give_up(entry, "take a terminal in the VM");
        send_back(entry->control, "t", master);
        for (int i = 0; i < 3; i++)
                if (dup2(slave, i) < 0)
                        give_up(entry, "take a terminal in the VM");
}

static void take_pipes(const struct entry *entry)
{
        for (int i = 0; i < 3; i++)
                if (dup2(entry->stdio[i], i) < 0)
                        give_up(entry, "attach the streams");
        setsid();
}

static void become_user(const struct entry *entry)
{
        unsigned id = entry->as_root ? 0 : LOCAL_CLIENT;
        if (setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0 ||
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                give_up(entry, "become the user");
        prctl(PR_SET_PDEATHSIG, SIGHUP);
}

static void execute(const struct entry *entry)
{
        const char *home = entry->as_root ? "HOME=/root" : "HOME=/home/client";
        const char *user = entry->as_root ? "USER=root" : "USER=client";
        const char *logname = entry->as_root ? "LOGNAME=root" : "LOGNAME=client";
        char term[64] = "TERM=dumb", name[80];
        const char *ours = getenv("TERM");
        if (entry->terminal)
                snprintf(term, sizeof term, "TERM=%s", ours && *ours ? ours : "xterm-256color");
        snprintf(name, sizeof name, "VM_NAME=%s", entry->vm->name);
        const char *const env[] = {
                "PATH=" PATH_INSIDE, "LANG=C.UTF-8", "SHELL=/bin/bash", home, user, logname, term, name, NULL};
        static const char *const shell[] = {"/bin/bash", "-l", NULL};
        const char *const *argv = entry->argv && entry->argv[0] ? entry->argv : shell;
        if (chdir(strchr(home, '/')) < 0 && chdir("/") < 0)
                give_up(entry, "enter a directory");
        setenv("PATH", PATH_INSIDE, 1); /* where execvpe looks */
        execvpe(argv[0], (char *const *)argv, (char *const *)env);
        dprintf(2, "%s: %s\n", argv[0], strerror(errno));
        _exit(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_ENTER);
}

/* In the VM's pid namespace, so visible inside. */
static void grandchild_main(const struct entry *entry)
{
        int r = cgroup_enter(entry->groups); /* not before the fork: a VM full of processes could not be looked into */
        if (r < 0) {
                errno = -r;
                give_up(entry, "enter the VM's control group");
        }
        become_user(entry);
        if (entry->terminal)
                take_terminal(entry);
        else
                take_pipes(entry);
        syscall(SYS_close_range, 3u, ~0U, 0);
        execute(entry);
}

static void default_signals(void)
{
        sigset_t none;
        for (int signo = 1; signo < NSIG; signo++)
                signal(signo, SIG_DFL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Joins the namespaces; stays outside the pid namespace itself, and passes the command's outcome on. */
static void child_main(struct entry *entry)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        int status = 0;
        default_signals();
        if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != entry->runner)
                give_up(entry, "hide from the VM");
        syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
        if (cgroup_open(entry->provider, entry->vm->name, entry->groups, &error) < 0 ||
            cgroup_limit_process(entry->provider, &error) < 0) {
                errno = -error.code;
                give_up(entry, "open the VM's control group");
        }
        if (setns(entry->init, ALL_NAMESPACES) < 0)
                give_up(entry, "enter the VM");
        pid_t pid = fork();
        if (pid == 0)
                grandchild_main(entry);
        if (pid < 0)
                give_up(entry, "start a process in the VM");
        /* the runner's ends of the pipes and its locks as well: a stream that we kept open would never end */
        syscall(SYS_close_range, 3u, ~0U, 0);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (WIFSIGNALED(status))
                _exit(128 + WTERMSIG(status));
        _exit(WEXITSTATUS(status));
}

/* The end of the control stream means that the command was executed (or will say itself why not). */
static int hear_child(int control, int *ret_terminal, struct error *error)
{
        for (;;) {
                char text[256] = "";
                union {
                        char room[CMSG_SPACE(sizeof(int))];
                        struct cmsghdr align;
                } space = {0};
                struct iovec part = {.iov_base = text, .iov_len = sizeof text - 1};
                struct msghdr message = {
                        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &space, .msg_controllen = sizeof space.room};
                ssize_t n = recvmsg(control, &message, MSG_CMSG_CLOEXEC);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return 0;
                struct cmsghdr *head = CMSG_FIRSTHDR(&message);
                if (head && head->cmsg_type == SCM_RIGHTS && *ret_terminal < 0)
                        memcpy(ret_terminal, CMSG_DATA(head), sizeof *ret_terminal);
                if (text[0] == 'f')
                        return error_set(error, -EPERM, "%s", text + 1);
        }
}

struct ends {
        int pipes[3][2];
        int control[2];
};

static void ends_close(struct ends *ends)
{
        for (int i = 0; i < 3; i++)
                for (int k = 0; k < 2; k++)
                        closep(&ends->pipes[i][k]);
        closep(&ends->control[0]);
        closep(&ends->control[1]);
}
#define _cleanup_ends_ _cleanup_(ends_close)

static void drop(int *fd)
{
        closep(fd);
        *fd = -1;
}

static int open_ends(struct ends *ends, bool terminal)
{
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends->control) < 0)
                return -errno;
        for (int i = 0; !terminal && i < 3; i++)
                if (pipe2(ends->pipes[i], O_CLOEXEC) < 0)
                        return -errno;
        return 0;
}

static int attend(struct ends *ends, pid_t child, int *ret_status, struct error *error)
{
        struct relay relay = {.terminal = -1, .to_stdin = -1, .from_stdout = -1, .from_stderr = -1, .child = -1};
        int status = 0;
        drop(&ends->control[1]);
        drop(&ends->pipes[0][0]);
        drop(&ends->pipes[1][1]);
        drop(&ends->pipes[2][1]);
        int r = hear_child(ends->control[0], &relay.terminal, error);
        if (r == 0) {
                relay.to_stdin = STEAL_FD(ends->pipes[0][1]);
                relay.from_stdout = STEAL_FD(ends->pipes[1][0]);
                relay.from_stderr = STEAL_FD(ends->pipes[2][0]);
                relay.child = (int)syscall(SYS_pidfd_open, child, 0);
                r = relay_run(&relay, error);
        } else {
                closep(&relay.terminal);
        }
        if (r < 0)
                kill(child, SIGKILL);
        int waited = process_wait(child, &status, error);
        if (r == 0 && waited == 0)
                *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return r < 0 ? r : waited;
}

int enter_exec(struct provider *p, const struct local_vm *vm, bool as_root, const char *const *argv, int *ret_status,
               struct error *error)
{
        _cleanup_ends_ struct ends ends = {{{-1, -1}, {-1, -1}, {-1, -1}}, {-1, -1}};
        _cleanup_close_ int init = vm->init.pid > 1 ? (int)syscall(SYS_pidfd_open, vm->init.pid, 0) : -1;
        if (init < 0 || !process_is(&vm->init))
                return error_set(error, -ESRCH, "%s does not run", vm->name);
        bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
        int r = open_ends(&ends, terminal);
        if (r < 0)
                return error_errno(error, -r, "cannot make pipes");
        struct entry entry = {
                .provider = p,
                .vm = vm,
                .as_root = as_root,
                .terminal = terminal,
                .argv = argv,
                .init = init,
                .groups = {-1, -1, -1},
                .runner = getpid(),
                .stdio = {ends.pipes[0][0], ends.pipes[1][1], ends.pipes[2][1]},
                .control = ends.control[1],
        };
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
                child_main(&entry);
                _exit(EXIT_CANNOT_ENTER);
        }
        if (child < 0)
                return error_errno(error, errno, "cannot enter %s", vm->name);
        r = attend(&ends, child, ret_status, error);
        if (r < 0)
                error_wrap(error, "%s", vm->name);
        return r;
}
