/*
 * Bytes on a socket of the real server, as a stranger sends them: heads, bodies, chunks, several requests one behind the
 * other. Whatever they are, each answer has a head of ours and none is a 500, and the server goes on.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/http.h"

#define TURNS_MAX 400
#define QUIET_TURNS 12 /* in which a request that waits for more has had its chance */

static void require(bool held)
{
        if (!held)
                abort();
}

/* --- a small server that says again what it was told ---------------------------------------------------------------- */

static int echo(struct task *t)
{
        const char *field = request_field(t, "a");
        reply_header(t, "X-Echo", field ? field : "");
        request_query(t, "q");
        request_cookie(t, "c");
        return reply_json(
                t, 200,
                json_pack("{s:s?, s:b, s:s}", "a", field, "json", request_json(t) != NULL, "from", request_address(t)));
}

static int say_name(struct task *t)
{
        return reply_json(t, 200, json_pack("{s:s}", "name", request_argument(t, "name")));
}

static const struct http_route routes[] = {
        {.method = "GET", .pattern = "/", ROUTE_STEP(echo)},
        {.method = "POST", .pattern = "/", ROUTE_STEP(echo), .body = HTTP_BODY_ANY, .body_max = 2048},
        {.method = "POST", .pattern = "/m", ROUTE_STEP(echo), .body = HTTP_BODY_JSON | HTTP_BODY_MENDED},
        {.method = "GET", .pattern = "/n/:name", ROUTE_STEP(say_name)},
        {0},
};

static struct loop loop;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_len;

static void start(void)
{
        static const char *const trusted[] = {"127.0.0.1", NULL};
        struct http_options options = {.routes = routes, .trusted_proxies = trusted, .connections_max = 64};
        struct http_server *server;
        log_setup("fuzz", LOG_LEVEL_ERROR);
        loop_init(&loop);
        require(http_server_new(&loop, &options, &server, NULL) == 0);
        /* A name in no file system: nothing is left behind. */
        int len = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "lablink-fuzz-%d", (int)getpid());
        address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        require(bind(fd, (struct sockaddr *)&address, address_len) == 0 && listen(fd, 64) == 0);
        require(http_server_listen(server, fd, HTTP_VM_SOCKET, NULL) == 0);
}

/* --- one conversation ------------------------------------------------------------------------------------------------ */

/* True: the server closed its end. */
static bool hear(int fd, struct buf *said, bool *more)
{
        char piece[4096];
        ssize_t n = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
        *more = n > 0;
        if (n > 0)
                buf_add(said, piece, (size_t)n);
        return n == 0 || (n < 0 && errno != EAGAIN);
}

static void talk(const uint8_t *data, size_t size, struct buf *said)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool closed = false, shut = false, more;
        require(connect(fd, (struct sockaddr *)&address, address_len) == 0);
        require(send(fd, data, size, MSG_NOSIGNAL) == (ssize_t)size);
        for (int turn = 0, quiet = 0; turn < TURNS_MAX && !closed && quiet < 2 * QUIET_TURNS; turn++) {
                uv_run(&loop.uv, UV_RUN_NOWAIT);
                closed = hear(fd, said, &more);
                quiet = more ? 0 : quiet + 1;
                if (quiet == QUIET_TURNS && !shut)
                        shut = shutdown(fd, SHUT_WR) == 0;
        }
        close(fd);
        uv_run(&loop.uv, UV_RUN_NOWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static bool ready;
        _cleanup_buf_ struct buf said = BUF_NULL;
        if (!ready)
                start();
        ready = true;
        if (size > 32768)
                return 0;
        talk(data, size, &said);
        const char *text = buf_str(&said);
        require(said.len == 0 || strncmp(text, "HTTP/1.", 7) == 0);
        require(said.len < 12 || strncmp(text + 8, " 500", 4) != 0);
        return 0;
}
