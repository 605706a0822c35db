/*
 * A download's runner is not an operation's: it only reads, and when its reader goes away it ends by the broken pipe. It
 * is not waited for when the lab stops.
 */
#include "allocator/archives.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "allocator/supervisor.h"
#include "base/log.h"
#include "base/process.h"
#include "lab/archive_order.h"

#define PIPE_BYTES (1 << 20)

int archives_open(struct supervisor *s, int *ret_theirs)
{
        int pair[2];
        archives_close(s);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
                return -errno;
        s->archives.socket = pair[0];
        *ret_theirs = pair[1];
        return 0;
}

void archives_close(struct supervisor *s)
{
        closep(&s->archives.socket);
        s->archives.socket = -1;
}

bool archives_reap(struct supervisor *s, pid_t pid)
{
        for (size_t i = 0; i < ARCHIVES_MAX; i++)
                if (s->archives.runners[i] == pid) {
                        s->archives.runners[i] = 0;
                        return true;
                }
        return false;
}

static int start_runner(struct supervisor *s, const struct archive_order_message *order, int out, pid_t *ret,
                        struct error *error)
{
        _cleanup_close_ int config = -1;
        _cleanup_json_ json_t *handover = json_pack("{s:O}", "config", s->config_json);
        int r = pipe_with(handover, &config, error);
        if (r < 0)
                return r;
        char fd_text[12], collection[24], list[24], from[24];
        snprintf(fd_text, sizeof fd_text, "%d", config);
        snprintf(collection, sizeof collection, "%lld", (long long)order->collection);
        snprintf(list, sizeof list, "%lld", (long long)order->list);
        snprintf(from, sizeof from, "%lld", (long long)order->from);
        const char *argv[10] = {s->runner_path, "--handover", fd_text, "archive", collection, list, from};
        size_t n = 7;
        if (order->follow)
                argv[n++] = "follow";
        if (order->names)
                argv[n++] = "names";
        _cleanup_free_ const char **environment = plain_environment();
        struct process_spec spec = {.argv = argv,
                                    .env = environment,
                                    .cwd = "/",
                                    .stdin_fd = PROCESS_FD_NULL,
                                    .stdout_fd = out,
                                    .stderr_fd = PROCESS_FD_INHERIT,
                                    .keep_fds = &config,
                                    .n_keep_fds = 1,
                                    .new_session = true};
        return process_spawn(&spec, ret, error);
}

/* The read end of what it writes, or a negative errno. */
static int start(struct supervisor *s, const struct archive_order_message *order)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_close_ int ours = -1, theirs = -1;
        int fds[2];
        size_t slot = 0;
        while (slot < ARCHIVES_MAX && s->archives.runners[slot])
                slot++;
        if (slot == ARCHIVES_MAX || s->stopping)
                return -EBUSY;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        ours = fds[0];
        theirs = fds[1];
        fcntl(theirs, F_SETPIPE_SZ, PIPE_BYTES);
        int r = start_runner(s, order, theirs, &s->archives.runners[slot], &error);
        if (r < 0) {
                s->archives.runners[slot] = 0;
                log_error("cannot start the runner of a download: %s", error_text(&error));
                return r;
        }
        return STEAL_FD(ours);
}

static void answer(struct supervisor *s, int64_t token, int fd)
{
        struct archive_answer_message said = {.token = token, .failed = fd < 0 ? -fd : 0};
        struct iovec part = {.iov_base = &said, .iov_len = sizeof said};
        union {
                struct cmsghdr head;
                char room[CMSG_SPACE(sizeof(int))];
        } control = {.room = {0}};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        if (fd >= 0) {
                message.msg_control = control.room;
                message.msg_controllen = sizeof control.room;
                struct cmsghdr *head = CMSG_FIRSTHDR(&message);
                *head = (struct cmsghdr){
                        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
                memcpy(CMSG_DATA(head), &fd, sizeof fd);
        }
        if (sendmsg(s->archives.socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                log_warning("a download could not be handed over: %s", strerror(errno));
}

void archives_hear(struct supervisor *s)
{
        struct archive_order_message order;
        while (s->archives.socket >= 0) {
                ssize_t n = recv(s->archives.socket, &order, sizeof order, MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return;
                if (n != (ssize_t)sizeof order) {
                        archives_close(s);
                        return;
                }
                _cleanup_close_ int fd = start(s, &order);
                answer(s, order.token, fd);
        }
}
