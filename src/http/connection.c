/*
 * Where libmicrohttpd meets a request. Each connection's socket is known, so that it can be watched while libmicrohttpd
 * has suspended it (it sees no hang-up then) and shut down when its time is over.
 *
 * An answer is queued in the second call of the handler or later, because one that is queued in the first call closes
 * the connection. A request whose task has not answered by the third call is suspended.
 */
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/internal.h"

#define POOL_BYTES 16384 /* a request's head must fit; what is not touched costs nothing */
#define HANGUPS_A_READ 64

static int socket_of(struct MHD_Connection *mhd)
{
        return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

static struct connection *connection_new(struct listener *listener, struct MHD_Connection *mhd)
{
        struct connection *connection = xcalloc(1, sizeof *connection);
        struct ucred peer = {0};
        socklen_t len = sizeof peer;
        *connection = (struct connection){.listener = listener,
                                          .mhd = mhd,
                                          .fd = socket_of(mhd),
                                          .uid = (uid_t)-1,
                                          .idle_since = listener->server->now_ms};
        if (listener->kind != HTTP_TCP && getsockopt(connection->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
                connection->uid = peer.uid;
        list_append(&listener->server->idle, &connection->idle);
        listener->server->connections++;
        server_tick_on(listener->server);
        return connection;
}

/* Descriptors that have become WebSockets count for those that libmicrohttpd holds. */
static enum MHD_Result on_accept(void *cls, const struct sockaddr *address _unused_, socklen_t len _unused_)
{
        return server_has_room(cls) ? MHD_YES : MHD_NO;
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
        struct listener *listener = cls;
        struct connection *connection = *context;
        if (code == MHD_CONNECTION_NOTIFY_STARTED) {
                *context = connection_new(listener, mhd);
        } else if (connection) {
                list_remove(&connection->idle);
                hangup_unwatch(connection);
                listener->server->connections--;
                free(connection->peer);
                free(connection);
                *context = NULL;
        }
}

/* libmicrohttpd 0.9.75 ends a target at a NUL byte and goes on. It cuts the line in place, so that behind a whole target
 * stands the version; later ones refuse the byte themselves. */
static bool is_whole(const char *uri)
{
#if MHD_VERSION < 0x00097600
        return strncmp(uri + strlen(uri) + 1, "HTTP/", 5) == 0;
#else
        return uri != NULL;
#endif
}

static void *on_uri(void *cls _unused_, const char *uri, struct MHD_Connection *mhd)
{
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        struct connection *connection = info->socket_context;
        list_remove(&connection->idle);
        hangup_unwatch(connection);
        struct request *req = connection->req = request_new(connection, mhd, uri);
        req->bad_target = !is_whole(uri);
        return req;
}

static enum MHD_Result hand_over(struct request *req)
{
        req->phase = PHASE_REPLYING;
        req->deadline_ms = req->stream ? INT64_MAX : req->server->now_ms + REPLY_MS_MAX;
        enum MHD_Result r = MHD_queue_response(req->mhd, req->status, req->response);
        MHD_destroy_response(STEAL(req->response));
        return r;
}

static enum MHD_Result go_on(struct request *req)
{
        if (req->response)
                return hand_over(req);
        if (req->task_over)
                return MHD_NO;
        if (list_linked(&req->task.ready))
                return MHD_YES;
        req->suspended = true;
        req->suspended_ms = req->server->now_ms;
        MHD_suspend_connection(req->mhd);
        return MHD_YES;
}

static enum MHD_Result on_request(void *cls _unused_, struct MHD_Connection *mhd _unused_, const char *url _unused_,
                                  const char *method, const char *version, const char *data, size_t *len,
                                  void **context)
{
        struct request *req = *context;
        if (!req || req->cut)
                return MHD_NO;
        switch ((enum phase)req->phase) {
        case PHASE_HEAD:
                req->phase = PHASE_BODY;
                request_head(req, method, version);
                return req->closing ? hand_over(req) : MHD_YES;
        case PHASE_BODY:
                if (*len > 0) {
                        bool fits = request_body(req, data, *len);
                        *len = 0;
                        return fits ? MHD_YES : MHD_NO;
                }
                req->phase = PHASE_RUNNING;
                hangup_unwatch(req->connection);
                request_begin(req);
                return go_on(req);
        case PHASE_RUNNING:
                return go_on(req);
        case PHASE_REPLYING:
                break;
        }
        return MHD_NO;
}

static void on_completed(void *cls _unused_, struct MHD_Connection *mhd _unused_, void **context,
                         enum MHD_RequestTerminationCode code)
{
        struct request *req = *context;
        *context = NULL;
        if (!req)
                return;
        struct connection *connection = req->connection;
        connection->req = NULL;
        connection->idle_since = req->server->now_ms;
        list_append(&req->server->idle, &connection->idle);
        request_completed(req, code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
}

static void on_log(void *cls _unused_, const char *format, va_list args)
{
        char line[512];
        vsnprintf(line, sizeof line, format, args);
        line[strcspn(line, "\n")] = '\0';
        log_debug("libmicrohttpd: %s", line);
}

struct MHD_Daemon *daemon_start(struct listener *listener, int fd, unsigned connections_max)
{
        return MHD_start_daemon(
                MHD_USE_EPOLL | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG, 0, on_accept, listener, on_request, listener,
                MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_CONNECTION,
                on_connection, listener, MHD_OPTION_URI_LOG_CALLBACK, on_uri, listener, MHD_OPTION_NOTIFY_COMPLETED,
                on_completed, listener, MHD_OPTION_CONNECTION_LIMIT, connections_max, MHD_OPTION_CONNECTION_TIMEOUT,
                (unsigned)STALL_S_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
                MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

/* --- clients that leave before they are answered ------------------------------------------------------------------ */

void hangup_watch(struct connection *connection)
{
        struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = connection};
        if (epoll_ctl(connection->listener->server->hangup_fd, EPOLL_CTL_ADD, connection->fd, &event) == 0)
                connection->watched = true;
}

void hangup_unwatch(struct connection *connection)
{
        if (connection->watched)
                epoll_ctl(connection->listener->server->hangup_fd, EPOLL_CTL_DEL, connection->fd, NULL);
        connection->watched = false;
}

/* Bytes that libmicrohttpd has not read yet may be all that a request still wants. */
static bool has_more(const struct connection *connection)
{
        int bytes = 0;
        return (!connection->req || connection->req->phase <= PHASE_BODY) &&
               ioctl(connection->fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

/* libmicrohttpd forgets a connection that ended while an answer was made, until no other has been silent for longer. One
 * with a time limit of its own is looked at in each run. */
void connection_close(struct connection *connection)
{
        shutdown(connection->fd, SHUT_RDWR);
        MHD_set_connection_option(connection->mhd, MHD_CONNECTION_OPTION_TIMEOUT, 1U);
        connection->listener->wants_run = true;
}

static void hung_up(struct connection *connection)
{
        struct http_server *server = connection->listener->server;
        bool more = has_more(connection);
        hangup_unwatch(connection);
        if (connection->req) {
                if (!more)
                        request_cut(connection->req);
                return;
        }
        list_remove(&connection->idle);
        if (more)
                list_append(server->idle.next, &connection->idle); /* older than all others there; looked at again */
        else
                connection_close(connection);
}

void hangup_read(struct http_server *server)
{
        struct epoll_event events[HANGUPS_A_READ];
        int n = epoll_wait(server->hangup_fd, events, HANGUPS_A_READ, 0);
        for (int i = 0; i < n; i++)
                hung_up(events[i].data.ptr);
}
