/*
 * The server on the loop. The one idea: libmicrohttpd runs in one place, the end of a turn, after every task that could
 * go on has gone on. There it is told what may be resumed, and runs for as long as it says that it has more to do, or
 * until it has given the loop a task. A timer of a quarter of a second keeps every deadline, because libmicrohttpd has
 * none for a request and none at all while a connection is suspended.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/internal.h"

#define RUNS_A_TURN 64
#define TICKS_A_RUN 4   /* libmicrohttpd's own timeouts are counted in seconds */
#define FILES_KEPT 128u /* for everything that is no connection */
#define ADMIN_CONNECTIONS 64u
#define VM_CONNECTIONS 2048u /* of VMs on this very machine */

static void close_handle(void *handle)
{
        if (handle)
                uv_close(handle, loop_free_handle);
}

/* --- the end of a turn -------------------------------------------------------------------------------------------- */

void server_resume(struct request *req)
{
        if (!list_linked(&req->resume) && !req->mhd_over)
                list_append(&req->server->resumes, &req->resume);
}

static void wake(struct request *req)
{
        struct listener *listener = req->connection->listener;
        if (req->cut) {
                if (!req->task_over)
                        task_kill(&req->task);
                shutdown(req->connection->fd, SHUT_RDWR);
        }
        if (req->suspended) {
                hangup_unwatch(req->connection);
                list_remove(&req->link);
                list_append(&req->server->active, &req->link);
                req->suspended = false;
                MHD_resume_connection(req->mhd);
        }
        listener->wants_run = true;
}

static void wake_all(struct http_server *server)
{
        for (struct list *link; (link = list_pop(&server->resumes));)
                wake(list_entry(link, struct request, resume));
}

/* True: it has still more to do and nothing else will bring the loop back. */
static bool run_listener(struct listener *listener)
{
        struct http_server *server = listener->server;
        for (int i = 0; i < RUNS_A_TURN; i++) {
                unsigned long long timeout = 1;
                listener->wants_run = false;
                server->now_ms = clock_ms();
                MHD_run(listener->daemon);
                if (MHD_get_timeout(listener->daemon, &timeout) != MHD_YES || timeout > 0)
                        return listener->wants_run; /* an upgrade in this run asked for another */
                listener->wants_run = true;
                if (!list_empty(&server->loop->ready))
                        return false;
        }
        return true;
}

static void on_again(uv_idle_t *handle _unused_)
{
}

static void check_drained(struct http_server *server)
{
        void (*drained)(void *userdata) = server->drained;
        if (!server->draining || !drained || (server->connections > 0 && clock_ms() < server->drain_until))
                return;
        server->drained = NULL;
        drained(server->drained_userdata);
}

static void on_turn(struct turn_hook *hook)
{
        struct http_server *server = container_of(hook, struct http_server, hook);
        bool again = false;
        server->turn++;
        for (struct list *link; (link = list_pop(&server->settling));)
                stream_settle(list_entry(link, struct stream, settle));
        wake_all(server);
        list_for_each (link, &server->listeners) {
                struct listener *listener = list_entry(link, struct listener, link);
                if (listener->wants_run)
                        again |= run_listener(listener);
        }
        if (again)
                uv_idle_start(server->again, on_again);
        else
                uv_idle_stop(server->again);
        log_flush();
        check_drained(server);
}

/* --- the tick ----------------------------------------------------------------------------------------------------- */

static void look_at_request(struct request *req, int64_t now)
{
        if (now >= req->deadline_ms) {
                request_expire(req);
        } else if (req->connection->watched) {
                return;
        } else if (req->phase <= PHASE_BODY && now - req->started_ms >= HANGUP_WATCH_AFTER_MS) {
                hangup_watch(req->connection);
        } else if (req->suspended && now - req->suspended_ms >= HANGUP_WATCH_AFTER_MS) {
                hangup_watch(req->connection);
                if (req->no_deadline) {
                        list_remove(&req->link);
                        list_append(&req->server->sleeping, &req->link);
                }
        }
}

/* The oldest of a list of idle connections, when it has been idle for so long. */
static struct connection *idle_for(struct list *list, int64_t now, int64_t ms)
{
        if (list_empty(list))
                return NULL;
        struct connection *connection = list_entry(list->next, struct connection, idle);
        if (now - connection->idle_since < ms)
                return NULL;
        list_remove(&connection->idle);
        return connection;
}

/* libmicrohttpd misses a hang-up that came together with the last bytes: the sockets are watched here, too. */
static void look_at_idle(struct http_server *server, int64_t now)
{
        struct list *lists[] = {&server->quiet, &server->idle};
        int64_t most = server->draining ? INT64_MIN : IDLE_MS_MAX;
        struct connection *connection;
        for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
                while ((connection = idle_for(lists[i], now, most)))
                        connection_close(connection);
        while ((connection = idle_for(&server->idle, now, HANGUP_WATCH_AFTER_MS))) {
                list_append(&server->quiet, &connection->idle);
                hangup_watch(connection);
        }
}

static void cut_all(struct list *requests)
{
        list_for_each (link, requests)
                request_cut(list_entry(link, struct request, link));
}

static void on_tick(uv_timer_t *timer)
{
        struct http_server *server = timer->data;
        int64_t now = clock_ms();
        list_for_each (link, &server->active)
                look_at_request(list_entry(link, struct request, link), now);
        look_at_idle(server, now);
        if (server->draining && now >= server->drain_until)
                cut_all(&server->active);
        if (++server->ticks % TICKS_A_RUN == 0)
                list_for_each (link, &server->listeners)
                        list_entry(link, struct listener, link)->wants_run = true;
        if (server->connections == 0 && !server->drained) {
                uv_timer_stop(server->tick);
                server->ticking = false;
        }
}

void server_tick_on(struct http_server *server)
{
        if (server->ticking)
                return;
        server->ticking = true;
        uv_timer_start(server->tick, on_tick, TICK_MS, TICK_MS);
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */

static void on_hangup_poll(uv_poll_t *poll, int status, int events _unused_)
{
        if (status == 0)
                hangup_read(poll->data);
}

static unsigned connections_from_limit(void)
{
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return 1024 - FILES_KEPT;
        rlim_t files = MIN(limit.rlim_cur, (rlim_t)1 << 20);
        return files >= 4 * FILES_KEPT ? (unsigned)files - FILES_KEPT : (unsigned)files / 2 + 1;
}

static int start_handles(struct http_server *server, struct error *error)
{
        uv_loop_t *uv = &server->loop->uv;
        server->tick = xcalloc(1, sizeof *server->tick);
        uv_timer_init(uv, server->tick);
        server->again = xcalloc(1, sizeof *server->again);
        uv_idle_init(uv, server->again);
        server->tick->data = server->again->data = server;
        server->hangup_fd = epoll_create1(EPOLL_CLOEXEC);
        if (server->hangup_fd < 0)
                return error_errno(error, errno, "cannot make an epoll descriptor");
        server->hangup_poll = xcalloc(1, sizeof *server->hangup_poll);
        int r = uv_poll_init(uv, server->hangup_poll, server->hangup_fd);
        if (r < 0) {
                free(STEAL(server->hangup_poll));
                return error_errno(error, -r, "cannot poll an epoll descriptor");
        }
        server->hangup_poll->data = server;
        uv_poll_start(server->hangup_poll, UV_READABLE, on_hangup_poll);
        return 0;
}

int http_server_new(struct loop *loop, const struct http_options *options, struct http_server **ret,
                    struct error *error)
{
        struct http_server *server = xcalloc(1, sizeof *server);
        struct list *lists[] = {&server->listeners, &server->active,  &server->sleeping, &server->idle,
                                &server->quiet,     &server->resumes, &server->settling};
        for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
                list_init(lists[i]);
        server->loop = loop;
        server->options = *options;
        server->now_ms = clock_ms();
        server->hangup_fd = -1;
        server->connections_max = options->connections_max ? options->connections_max : connections_from_limit();
        if (server->options.deadline_ms == 0)
                server->options.deadline_ms = DEADLINE_MS_DEFAULT;
        server->hook.run = on_turn;
        loop_hook(loop, &server->hook);
        int r = router_init(&server->router, options->routes, error);
        if (r == 0)
                r = start_handles(server, error);
        if (r < 0) {
                http_server_free(server);
                return r;
        }
        *ret = server;
        return 0;
}

static void on_listener_poll(uv_poll_t *poll, int status _unused_, int events _unused_)
{
        struct listener *listener = poll->data;
        listener->wants_run = true;
}

static void listener_free(struct listener *listener)
{
        list_remove(&listener->link);
        close_handle(listener->poll);
        if (listener->daemon)
                MHD_stop_daemon(listener->daemon);
        free(listener);
}

/* Each socket has its own share of what there is, so that a flood on one leaves the others open. */
static unsigned share_of(const struct http_server *server, enum http_listener_kind kind)
{
        unsigned max = server->connections_max;
        unsigned admin = MIN(max / 8 + 1, ADMIN_CONNECTIONS), vm = MIN(max / 4 + 1, VM_CONNECTIONS);
        switch (kind) {
        case HTTP_ADMIN_SOCKET:
                return admin;
        case HTTP_VM_SOCKET:
                return vm;
        case HTTP_TCP:
                break;
        }
        return max > admin + vm ? max - admin - vm : 1;
}

int http_server_listen(struct http_server *server, int fd, enum http_listener_kind kind, struct error *error)
{
        struct listener *listener = xcalloc(1, sizeof *listener);
        listener->server = server;
        listener->kind = kind;
        list_append(&server->listeners, &listener->link);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        listener->daemon = daemon_start(listener, fd, share_of(server, kind));
        if (!listener->daemon) {
                close(fd);
                listener_free(listener);
                return error_set(error, -EIO, "cannot start the HTTP server on a socket");
        }
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        listener->poll = xcalloc(1, sizeof *listener->poll);
        int r = uv_poll_init(&server->loop->uv, listener->poll, info->epoll_fd);
        if (r < 0) {
                free(STEAL(listener->poll));
                listener_free(listener);
                return error_errno(error, -r, "cannot poll the HTTP server");
        }
        listener->poll->data = listener;
        uv_poll_start(listener->poll, UV_READABLE, on_listener_poll);
        listener->wants_run = true;
        return 0;
}

/* --- ending ------------------------------------------------------------------------------------------------------- */

static void stop_listening(struct listener *listener)
{
        MHD_socket fd = MHD_quiesce_daemon(listener->daemon);
        if (fd != MHD_INVALID_SOCKET)
                close(fd);
        listener->wants_run = true;
}

void http_server_drain(struct http_server *server, int64_t grace_ms, void (*done)(void *userdata), void *userdata)
{
        if (server->draining)
                return;
        server->draining = true;
        server->drain_until = clock_ms() + grace_ms;
        server->drained = done;
        server->drained_userdata = userdata;
        list_for_each (link, &server->listeners)
                stop_listening(list_entry(link, struct listener, link));
        cut_all(&server->sleeping);
        list_for_each (link, &server->active) {
                struct request *req = list_entry(link, struct request, link);
                if (req->no_deadline)
                        request_cut(req);
        }
        look_at_idle(server, clock_ms());
        server_tick_on(server);
        uv_idle_start(server->again, on_again);
}

struct http_server *http_server_free(struct http_server *server)
{
        if (!server)
                return NULL;
        server->draining = true;
        server->drained = NULL;
        cut_all(&server->sleeping);
        cut_all(&server->active);
        wake_all(server);
        list_for_each (link, &server->listeners) {
                struct listener *listener = list_entry(link, struct listener, link);
                if (listener->daemon)
                        MHD_run(listener->daemon);
                listener_free(listener);
        }
        log_flush();
        list_remove(&server->hook.link);
        close_handle(server->tick);
        close_handle(server->again);
        close_handle(server->hangup_poll);
        if (server->hangup_fd >= 0)
                close(server->hangup_fd);
        for (size_t i = 0; server->inflated && server->options.assets[i].path; i++)
                buf_deinit(&server->inflated[i]);
        free(server->inflated);
        router_deinit(&server->router);
        free(server);
        return NULL;
}

/* WebSockets have no listener any more: whatever they take, the administrator's socket keeps its share. */
bool server_has_room(const struct listener *listener)
{
        const struct http_server *server = listener->server;
        unsigned held = server->connections + (server->options.websockets ? *server->options.websockets : 0);
        unsigned kept = listener->kind == HTTP_ADMIN_SOCKET ? 0 : share_of(server, HTTP_ADMIN_SOCKET);
        return held + kept < server->connections_max;
}

unsigned http_server_connections(const struct http_server *server)
{
        return server->connections;
}

unsigned http_server_connections_max(const struct http_server *server)
{
        return share_of(server, HTTP_TCP);
}
