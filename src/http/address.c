/*
 * Who is asking. X-Forwarded-For can be written by anybody, so it is believed only from a trusted proxy, and only as
 * far from its right end as trusted proxies reach.
 */
#include <arpa/inet.h>
#include <string.h>

#include "base/text.h"
#include "http/internal.h"

/* An IP address as it is compared and logged: an IPv4 one mapped into IPv6 is IPv4. False: no address. */
static bool normalize(const char *text, char out[INET6_ADDRSTRLEN])
{
        struct in6_addr six;
        struct in_addr four;
        if (inet_pton(AF_INET, text, &four) == 1)
                return inet_ntop(AF_INET, &four, out, INET6_ADDRSTRLEN);
        if (inet_pton(AF_INET6, text, &six) != 1)
                return false;
        if (IN6_IS_ADDR_V4MAPPED(&six))
                return inet_ntop(AF_INET, &six.s6_addr[12], out, INET6_ADDRSTRLEN);
        return inet_ntop(AF_INET6, &six, out, INET6_ADDRSTRLEN);
}

static bool is_trusted(const struct http_server *server, const char *address)
{
        char known[INET6_ADDRSTRLEN];
        for (const char *const *at = server->options.trusted_proxies; at && *at; at++)
                if (normalize(*at, known) && str_eq(known, address))
                        return true;
        return false;
}

/* Made once for a connection; "" when it has none. */
static const char *peer_address(struct connection *connection)
{
        char text[INET6_ADDRSTRLEN] = "", normal[INET6_ADDRSTRLEN];
        if (connection->peer)
                return connection->peer;
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection->mhd,
                                                                       MHD_CONNECTION_INFO_CLIENT_ADDRESS);
        const struct sockaddr *address = info ? info->client_addr : NULL;
        if (address && address->sa_family == AF_INET)
                inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, text, sizeof text);
        else if (address && address->sa_family == AF_INET6)
                inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, text, sizeof text);
        return connection->peer = xstrdup(normalize(text, normal) ? normal : "");
}

static enum MHD_Result add_forwarded(void *cls, enum MHD_ValueKind kind _unused_, const char *name, const char *value)
{
        struct buf *out = cls;
        if (strcasecmp(name, "X-Forwarded-For") == 0 && value) {
                if (out->len > 0)
                        buf_addc(out, ',');
                buf_adds(out, value);
        }
        return MHD_YES;
}

/* Walks from the right while the entries are proxies that we trust. */
static void follow_proxies(struct request *req, char address[INET6_ADDRSTRLEN])
{
        _cleanup_buf_ struct buf chain = BUF_NULL;
        char next[INET6_ADDRSTRLEN];
        MHD_get_connection_values(req->mhd, MHD_HEADER_KIND, add_forwarded, &chain);
        while (chain.len > 0 && is_trusted(req->server, address)) {
                char *comma = strrchr(chain.data, ',');
                char *entry = str_trim(comma ? comma + 1 : chain.data);
                if (!normalize(entry, next))
                        return;
                memcpy(address, next, sizeof next);
                buf_truncate(&chain, comma ? (size_t)(comma - chain.data) : 0);
        }
}

const char *address_of(struct request *req)
{
        char address[INET6_ADDRSTRLEN] = "";
        if (req->address)
                return req->address;
        if (req->connection->listener->kind == HTTP_TCP)
                strncpy(address, peer_address(req->connection), sizeof address - 1);
        if (address[0] == '\0')
                return req->address = xstrdup("unix");
        if (is_trusted(req->server, address))
                follow_proxies(req, address);
        return req->address = xstrdup(address);
}
