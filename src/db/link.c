/*
 * A connection on the loop that mends itself: it connects without blocking, sets itself up, and when it breaks it tries
 * again for ever, with pauses from 100 ms to 5 s that are never the same for two.
 *
 * libpq closes and changes its socket as it likes; libuv must be told before that. So the loop polls a duplicate of the
 * descriptor, which is ours to close.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "db/internal.h"

#define CONNECT_MS 5000 /* one attempt, including log-in and set-up */
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000

struct link_socket {
        uv_poll_t poll;
        struct db_link *link;
        int fd;
        int events;
};

static void on_socket(uv_poll_t *poll, int status, int events);

static void free_socket(uv_handle_t *handle)
{
        free(handle->data);
}

static void drop_socket(struct db_link *link)
{
        struct link_socket *socket = STEAL(link->socket);
        if (!socket)
                return;
        uv_close((uv_handle_t *)&socket->poll, free_socket);
        close(socket->fd);
}

static int watch_socket(struct db_link *link, int events)
{
        if (!link->socket) {
                int fd = fcntl(PQsocket(link->pg), F_DUPFD_CLOEXEC, 3);
                if (fd < 0)
                        return -errno;
                struct link_socket *socket = xcalloc(1, sizeof *socket);
                *socket = (struct link_socket){.link = link, .fd = fd};
                socket->poll.data = socket;
                int r = uv_poll_init(link->uv, &socket->poll, fd);
                if (r < 0) {
                        close(fd);
                        free(socket);
                        return r;
                }
                link->socket = socket;
        }
        if (link->socket->events == events)
                return 0;
        link->socket->events = events;
        return uv_poll_start(&link->socket->poll, events, on_socket);
}

static void attempt(uv_timer_t *timer);

static void hang_up(struct db_link *link)
{
        link_resolver_cancel(STEAL(link->resolver));
        drop_socket(link);
        PQfinish(STEAL(link->pg));
}

static void rest(struct db_link *link)
{
        int64_t pause = link->backoff_ms / 2 + random() % (link->backoff_ms / 2 + 1);
        link->backoff_ms = MIN(link->backoff_ms * 2, (int64_t)BACKOFF_MAX_MS);
        uv_timer_start(&link->timer, attempt, (uint64_t)pause, 0);
}

static void fail(struct db_link *link, const char *trouble)
{
        bool was_up = link->state == LINK_UP;
        bool news = was_up || !str_eq(link->trouble, trouble);
        char *copy = xstrdup(trouble);
        free(link->trouble);
        link->trouble = copy;
        link->state = LINK_DOWN;
        if (was_up && clock_ms() - link->up_since_ms > 1000)
                link->backoff_ms = BACKOFF_MIN_MS;
        if (news)
                log_warning("database: %s: %s", link->application, trouble);
        hang_up(link);
        if (was_up)
                link->class->down(link);
        rest(link);
}

static void fail_with_words(struct db_link *link, const char *otherwise)
{
        _cleanup_free_ char *words = db_trouble(link->pg);
        fail(link, *words ? words : otherwise);
}

void db_link_drop(struct db_link *link, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *trouble = xvasprintf(format, args);
        va_end(args);
        if (link->state != LINK_DOWN && link->state != LINK_CLOSED)
                fail(link, trouble);
}

void db_link_flush(struct db_link *link)
{
        if (link->state != LINK_UP && link->state != LINK_SETTING_UP)
                return;
        int r = PQflush(link->pg);
        if (r >= 0)
                r = watch_socket(link, UV_READABLE | (r > 0 ? UV_WRITABLE : 0));
        if (r >= 0)
                return;
        if (link->state == LINK_UP)
                link->class->input(link); /* the server's last words may have come before */
        if (link->state == LINK_UP || link->state == LINK_SETTING_UP)
                fail_with_words(link, "the connection broke");
}

static void stand(struct db_link *link)
{
        uv_timer_stop(&link->timer);
        link->state = LINK_UP;
        link->up_since_ms = clock_ms();
        free(STEAL(link->trouble));
        if (link->class->up(link) < 0)
                fail_with_words(link, "the connection was not accepted");
        else
                db_link_flush(link);
}

static void set_up(struct db_link *link)
{
        while (!PQisBusy(link->pg)) {
                PGresult *result = PQgetResult(link->pg);
                if (!result) {
                        stand(link);
                        return;
                }
                bool ok = db_result_ok(result);
                struct error error = ERROR_NULL;
                if (!ok)
                        db_refused("setting up the connection", result, &error);
                PQclear(result);
                if (!ok) {
                        fail(link, error_text(&error));
                        error_clear(&error);
                        return;
                }
        }
}

static void begin_set_up(struct db_link *link)
{
        link->state = LINK_SETTING_UP;
        if (PQsetnonblocking(link->pg, 1) < 0 || !PQsendQuery(link->pg, link->setup))
                fail_with_words(link, "the connection broke");
        else
                db_link_flush(link);
}

/* After each step the socket may be another one, under the same number too: it is watched anew. */
static void connect_step(struct db_link *link)
{
        PostgresPollingStatusType next = PQconnectPoll(link->pg);
        drop_socket(link);
        if (next == PGRES_POLLING_OK) {
                begin_set_up(link);
                return;
        }
        if (next == PGRES_POLLING_FAILED ||
            watch_socket(link, next == PGRES_POLLING_READING ? UV_READABLE : UV_WRITABLE) < 0)
                fail_with_words(link, "cannot connect");
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
        struct db_link *link = ((struct link_socket *)poll->data)->link;
        if (link->state == LINK_CONNECTING) {
                connect_step(link);
                return;
        }
        bool alive = true;
        if (status < 0 || (events & UV_READABLE)) {
                alive = PQconsumeInput(link->pg) == 1;
                if (link->state == LINK_SETTING_UP)
                        set_up(link);
                else
                        link->class->input(link);
        }
        if (!link->socket || &link->socket->poll != poll)
                return; /* given up, or closed, in between */
        if (!alive)
                fail_with_words(link, "the connection broke");
        else
                db_link_flush(link);
}

static void on_resolved(void *owner, char *conninfo, const char *trouble)
{
        struct db_link *link = owner;
        _cleanup_free_ char *owned = conninfo;
        link->resolver = NULL;
        if (!conninfo) {
                fail(link, trouble);
                return;
        }
        link->state = LINK_CONNECTING;
        link->pg = db_connect(conninfo, link->application, true);
        if (PQstatus(link->pg) == CONNECTION_BAD || watch_socket(link, UV_WRITABLE) < 0)
                fail_with_words(link, "cannot connect");
}

static void give_up(uv_timer_t *timer)
{
        db_link_drop(timer->data, "no answer from the database within %d s", CONNECT_MS / 1000);
}

static void attempt(uv_timer_t *timer)
{
        struct db_link *link = timer->data;
        link->state = LINK_RESOLVING;
        uv_timer_start(&link->timer, give_up, CONNECT_MS, 0);
        struct link_resolver *resolver = link_resolve(link->uv, link->conninfo, link->attempts++, on_resolved, link);
        if (link->state == LINK_RESOLVING)
                link->resolver = resolver;
}

struct db_link *db_link_new(uv_loop_t *uv, const struct db_link_class *class, void *owner, const char *conninfo,
                            const char *application, const char *setup_sql)
{
        struct db_link *link = xcalloc(1, sizeof *link);
        *link = (struct db_link){.class = class, .owner = owner, .uv = uv, .backoff_ms = BACKOFF_MIN_MS};
        link->conninfo = xstrdup(conninfo);
        link->application = xstrdup(application);
        link->setup = xasprintf("%s; %s", db_setup_sql, str_or(setup_sql, ""));
        link->trouble = xstrdup("not connected yet");
        uv_timer_init(uv, &link->timer);
        link->timer.data = link;
        return link;
}

void db_link_start(struct db_link *link)
{
        uv_timer_start(&link->timer, attempt, 0, 0);
}

static void free_link(uv_handle_t *handle)
{
        struct db_link *link = handle->data;
        free(link->conninfo);
        free(link->application);
        free(link->setup);
        free(link->trouble);
        free(link);
}

void db_link_close(struct db_link *link)
{
        link->state = LINK_CLOSED;
        hang_up(link);
        uv_close((uv_handle_t *)&link->timer, free_link);
}
