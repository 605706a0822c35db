/* Asking for an archive and waiting for its bytes (archive.h). */
#include "web/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"

/* --- the answers of the supervisor ---------------------------------------------------------------------------------- */

static void take_answer(struct web *web, const struct archive_answer_message *answer, int fd)
{
        list_for_each (cursor, &web->archive_waits) {
                struct archive_pipe *pipe = list_entry(cursor, struct archive_pipe, link);
                if (pipe->token != answer->token)
                        continue;
                list_remove(&pipe->link);
                pipe->fd = fd;
                pipe->failed = fd < 0 ? (answer->failed ? (int)answer->failed : EIO) : 0;
                if (fd >= 0)
                        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
                task_wake(&pipe->wait);
                return;
        }
        closep(&fd); /* who asked has gone: its runner ends by the broken pipe */
}

static bool read_answer(struct web *web)
{
        struct archive_answer_message answer;
        struct iovec part = {.iov_base = &answer, .iov_len = sizeof answer};
        union {
                struct cmsghdr head;
                char room[CMSG_SPACE(sizeof(int))];
        } control = {.room = {0}};
        struct msghdr message = {
                .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
        ssize_t n = recvmsg(web->archives, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n != (ssize_t)sizeof answer)
                return n < 0 && errno == EINTR;
        const struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        int fd = -1;
        if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
                memcpy(&fd, CMSG_DATA(head), sizeof fd);
        take_answer(web, &answer, fd);
        return true;
}

static void on_answers(uv_poll_t *poll, int status _unused_, int events)
{
        struct web *web = poll->data;
        while (read_answer(web))
                ;
        if (events & UV_DISCONNECT)
                uv_poll_stop(poll);
}

void archives_start(struct web *web, int fd)
{
        web->archives = fd;
        list_init(&web->archive_waits);
        web->archive_poll = xcalloc(1, sizeof *web->archive_poll);
        uv_poll_init(&web->loop.uv, web->archive_poll, fd);
        web->archive_poll->data = web;
        uv_poll_start(web->archive_poll, UV_READABLE | UV_DISCONNECT, on_answers);
}

void archives_stop(struct web *web)
{
        if (web->archive_poll)
                uv_close((uv_handle_t *)STEAL(web->archive_poll), loop_free_handle);
}

/* --- the waits ----------------------------------------------------------------------------------------------------- */

static void forget_asking(struct wait *wait)
{
        list_remove(&container_of(wait, struct archive_pipe, wait)->link);
}

int archive_ask_named(struct task *t, struct archive_pipe *pipe, struct archive_order_message order, task_step next,
                      const char *name)
{
        static int64_t tokens;
        struct web *web = web_of(t);
        *pipe = (struct archive_pipe){.fd = -1, .token = ++tokens, .asked = true};
        order.token = pipe->token;
        if (send(web->archives, &order, sizeof order, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                return error_errno(&t->error, errno, "cannot reach the supervisor");
        pipe->wait.cancel = forget_asking;
        list_append(&web->archive_waits, &pipe->link);
        return task_await_named(t, &pipe->wait, next, name);
}

struct reader {
        struct wait wait;
        uv_poll_t poll;
};

static void free_reader(uv_handle_t *handle)
{
        free(handle->data);
}

static void cancel_reader(struct wait *wait)
{
        uv_close((uv_handle_t *)&container_of(wait, struct reader, wait)->poll, free_reader);
}

static void on_readable(uv_poll_t *poll, int status _unused_, int events _unused_)
{
        struct reader *reader = poll->data;
        task_wake(&reader->wait);
        uv_close((uv_handle_t *)poll, free_reader);
}

int archive_await_named(struct task *t, struct archive_pipe *pipe, task_step next, const char *name)
{
        struct reader *reader = xcalloc(1, sizeof *reader);
        int r = uv_poll_init(&t->loop->uv, &reader->poll, pipe->fd);
        if (r < 0) {
                free(reader);
                return error_errno(&t->error, -r, "cannot wait for an archive");
        }
        reader->wait.cancel = cancel_reader;
        reader->poll.data = reader;
        uv_poll_start(&reader->poll, UV_READABLE, on_readable);
        return task_await_named(t, &reader->wait, next, name);
}

void archive_pipe_close(struct archive_pipe *pipe)
{
        list_remove(&pipe->link);
        if (pipe->asked && pipe->fd >= 0)
                close(pipe->fd);
        *pipe = (struct archive_pipe){.fd = -1};
}
