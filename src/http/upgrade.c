/*
 * From a request to a WebSocket. libmicrohttpd keeps a connection's pool and counts it for as long as an upgraded
 * connection lives, so it is let go at once: the socket is duplicated, and libmicrohttpd closes its own descriptor. It
 * calls no shutdown() on that way (without TLS), so the connection lives on in the duplicate; a test watches that.
 *
 * What the client sent together with its request is given to the handler only, in the connection's pool.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/text.h"
#include "http/internal.h"
#include "http/websocket.h"

#define KEY_LENGTH 24 /* 16 bytes in base64 */
#define UNSENT_MS_MAX 30000

/* Is `name` one of a comma-separated list? */
static bool list_names(const char *list, const char *name)
{
        size_t len = strlen(name);
        for (const char *at = list; at && *at;) {
                at += strspn(at, " \t,");
                size_t n = strcspn(at, ","), word = n;
                while (word > 0 && (at[word - 1] == ' ' || at[word - 1] == '\t'))
                        word--;
                if (word == len && strncasecmp(at, name, len) == 0)
                        return true;
                at += n;
        }
        return false;
}

bool request_offers(struct task *t, const char *protocol)
{
        return list_names(request_header(t, "Sec-WebSocket-Protocol"), protocol);
}

static bool key_valid(const char *key)
{
        static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        return key && strlen(key) == KEY_LENGTH && strspn(key, alphabet) == KEY_LENGTH - 2 &&
               strcmp(key + KEY_LENGTH - 2, "==") == 0;
}

bool request_websocket(struct task *t, int *ret_replied)
{
        const char *version = request_header(t, "Sec-WebSocket-Version");
        if (!list_names(request_header(t, "Upgrade"), "websocket") ||
            !list_names(request_header(t, "Connection"), "upgrade") || strcmp(request_method(t), "GET") != 0) {
                reply_header(t, "Upgrade", "websocket");
                *ret_replied = reply_error(t, 426, "no-websocket", "This address speaks WebSocket.");
                return false;
        }
        if (!version || strcmp(version, "13") != 0) {
                reply_header(t, "Sec-WebSocket-Version", "13");
                *ret_replied = reply_error(t, 426, "websocket-version", "Version 13 of WebSocket is spoken here.");
                return false;
        }
        if (!key_valid(request_header(t, "Sec-WebSocket-Key"))) {
                *ret_replied = reply_error(t, 400, "bad-handshake", "Sec-WebSocket-Key must be 16 bytes in base64.");
                return false;
        }
        struct http_server *server = request_of(t)->server;
        if (server->draining || !server_has_room(request_of(t)->connection->listener)) {
                *ret_replied = reply_error(t, 503, "too-many", "No more connections at this moment.");
                return false;
        }
        return true;
}

static void on_upgrade(void *cls _unused_, struct MHD_Connection *mhd _unused_, void *context, const char *early,
                       size_t early_len, MHD_socket sock, struct MHD_UpgradeResponseHandle *handle)
{
        struct request *req = context;
        const int on = 1, unsent = UNSENT_MS_MAX;
        int fd = fcntl(sock, F_DUPFD_CLOEXEC, 3);
        if (fd >= 0) {
                fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unsent, sizeof unsent);
                struct http_upgrade upgrade = req->upgrade;
                req->upgrade = (struct http_upgrade){0};
                upgrade.opened(upgrade.argument, fd, early, early_len);
        }
        MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
        req->connection->listener->wants_run = true;
}

int reply_websocket(struct task *t, const char *protocol, const struct http_upgrade *upgrade)
{
        struct request *req = request_of(t);
        char accept[WS_ACCEPT_LENGTH + 1];
        struct MHD_Response *response = MHD_create_response_for_upgrade(on_upgrade, NULL);
        if (!response)
                abort();
        ws_accept(request_header(t, "Sec-WebSocket-Key"), accept);
        MHD_add_response_header(response, MHD_HTTP_HEADER_UPGRADE, "websocket");
        MHD_add_response_header(response, "Sec-WebSocket-Accept", accept);
        if (protocol)
                MHD_add_response_header(response, "Sec-WebSocket-Protocol", protocol);
        req->upgrade = *upgrade;
        answer_ready(req, response, MHD_HTTP_SWITCHING_PROTOCOLS);
        task_finish(t);
        return 0;
}

void upgrade_lost(struct request *req)
{
        struct http_upgrade upgrade = req->upgrade;
        req->upgrade = (struct http_upgrade){0};
        if (upgrade.lost)
                upgrade.lost(upgrade.argument);
}
