/* One connection after the other; each is read whole, answered from the list and closed. */
#include "fake_allocator.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/text.h"
#include "unit.h"

static int listen_unix(const char *state_dir)
{
        _cleanup_free_ char *run = path_join(state_dir, "run"), *path = path_join(run, "admin.sock");
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        assert_int_equal(dir_make(run, 0755, NULL), 0);
        snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
        unlink(path);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
        assert_int_equal(listen(fd, 16), 0);
        return fd;
}

static int listen_tcp(int *ret_port)
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof address;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
        assert_int_equal(listen(fd, 16), 0);
        getsockname(fd, (struct sockaddr *)&address, &len);
        *ret_port = ntohs(address.sin_port);
        return fd;
}

/* Head and body; false when the caller went away. */
static bool read_request(int fd, struct buf *request)
{
        for (;;) {
                const char *end = strstr(buf_str(request), "\r\n\r\n");
                const char *length = strcasestr(buf_str(request), "\r\nContent-Length: ");
                size_t wanted = length && length < end ? (size_t)atoi(length + 18) : 0;
                if (end && request->len >= (size_t)(end - request->data) + 4 + wanted)
                        return true;
                char bytes[4096];
                ssize_t n = read(fd, bytes, sizeof bytes);
                if (n <= 0)
                        return false;
                buf_add(request, bytes, (size_t)n);
        }
}

static const struct fake_answer *choose(const struct fake_answer *answers, bool *used, const char *request)
{
        for (size_t i = 0; answers[i].request; i++)
                if (!used[i] && str_starts(request, answers[i].request)) {
                        used[i] = !answers[i].forever;
                        return &answers[i];
                }
        static const struct fake_answer unplanned = {
                .status = 404, .body = "{\"error\":\"nothing is planned for this request\",\"code\":\"unplanned\"}"};
        return &unplanned;
}

static void serve(int fd, int log, const struct fake_answer *answers, bool *used)
{
        _cleanup_buf_ struct buf request = BUF_NULL, answer = BUF_NULL;
        if (!read_request(fd, &request))
                return;
        buf_addc(&request, '\n');
        fd_write_all(log, request.data, request.len);
        const struct fake_answer *chosen = choose(answers, used, buf_str(&request));
        if (!chosen->status)
                return;
        bool events = str_starts(chosen->body, "event:") || str_starts(chosen->body, ":");
        buf_addf(&answer, "HTTP/1.1 %d Whatever\r\nContent-Type: %s\r\nConnection: close\r\n\r\n%s", chosen->status,
                 events ? "text/event-stream" : "application/json", chosen->body);
        fd_write_all(fd, answer.data, answer.len);
}

static void run(const int listeners[2], int log, const struct fake_answer *answers)
{
        bool used[64] = {false};
        signal(SIGPIPE, SIG_IGN);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
                struct pollfd fds[2] = {{.fd = listeners[0], .events = POLLIN}, {.fd = listeners[1], .events = POLLIN}};
                poll(fds, 2, -1);
                for (int i = 0; i < 2; i++) {
                        if (!fds[i].revents)
                                continue;
                        int fd = accept(listeners[i], NULL, NULL);
                        serve(fd, log, answers, used);
                        close(fd);
                }
        }
}

void fake_start(struct fake_allocator *fake, const char *state_dir, const struct fake_answer *answers)
{
        fake->log = path_join(state_dir, "requests");
        int log = open(fake->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
        int listeners[] = {listen_unix(state_dir), listen_tcp(&fake->port)};
        fake->pid = fork();
        if (fake->pid == 0)
                run(listeners, log, answers);
        close(log);
        close(listeners[0]);
        close(listeners[1]);
}

void fake_stop(struct fake_allocator *fake, struct buf *requests)
{
        kill(fake->pid, SIGKILL);
        waitpid(fake->pid, NULL, 0);
        if (requests)
                file_read(fake->log, 1 << 20, requests, NULL);
        free(fake->log);
        fake->log = NULL;
}
