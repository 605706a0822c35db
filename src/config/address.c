/* Host names are refused as listen addresses: what they mean may change between two starts, and be more than one. */
#include "config/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/text.h"

static socklen_t set_v4(const char *host, uint16_t port, struct sockaddr_storage *ret)
{
        struct sockaddr_in *in = (struct sockaddr_in *)ret;
        if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
                return 0;
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        return sizeof(*in);
}

static socklen_t set_v6(const char *host, uint16_t port, struct sockaddr_storage *ret)
{
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
        if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
                return 0;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        return sizeof(*in6);
}

socklen_t address_parse(const char *text, struct sockaddr_storage *ret)
{
        memset(ret, 0, sizeof(*ret));
        const char *colon = strrchr(text, ':');
        int64_t port;
        if (!colon || colon[1] == '+' || parse_int(colon + 1, 0, 65535, &port) < 0)
                return 0;
        _cleanup_free_ char *host = xstrndup(text, (size_t)(colon - text));
        size_t n = strlen(host);
        if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
                host[n - 1] = '\0';
                return set_v6(host + 1, (uint16_t)port, ret);
        }
        return set_v4(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, (uint16_t)port, ret);
}

bool address_is_ip(const char *text)
{
        struct sockaddr_storage unused;
        return set_v4(text, 0, &unused) || set_v6(text, 0, &unused);
}

bool address_is_loopback(const struct sockaddr_storage *address)
{
        if (address->ss_family == AF_INET)
                return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
        const struct in6_addr *in6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(in6) || (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == 127);
}

bool address_is_wildcard(const struct sockaddr_storage *address)
{
        if (address->ss_family == AF_INET)
                return ((const struct sockaddr_in *)address)->sin_addr.s_addr == htonl(INADDR_ANY);
        return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

uint16_t address_port(const struct sockaddr_storage *address)
{
        return ntohs(address->ss_family == AF_INET ? ((const struct sockaddr_in *)address)->sin_port
                                                   : ((const struct sockaddr_in6 *)address)->sin6_port);
}

static bool is_host(const char *host)
{
        if (!*host || strlen(host) > 253)
                return false;
        return host[strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")] == '\0';
}

/* Host and optional port: a name, an IPv4 address, or IPv6 in brackets. */
static char *authority_host(const char *authority)
{
        const char *end = authority[0] == '[' ? strchr(authority, ']') : strchrnul(authority, ':');
        if (!end)
                return NULL;
        bool brackets = authority[0] == '[';
        char *host = xstrndup(authority + brackets, (size_t)(end - authority) - brackets);
        const char *rest = end + brackets;
        int64_t port;
        bool port_ok = !*rest || (*rest == ':' && rest[1] != '+' && parse_int(rest + 1, 1, 65535, &port) == 0);
        struct sockaddr_storage unused;
        if (port_ok && (brackets ? set_v6(host, 0, &unused) != 0 : is_host(host)))
                return host;
        free(host);
        return NULL;
}

char *url_host(const char *url)
{
        const char *start = str_starts(url, "http://") ? url + 7 : str_starts(url, "https://") ? url + 8 : NULL;
        if (!start || strpbrk(start, " \"'<>\\^`{|}"))
                return NULL;
        _cleanup_free_ char *authority = xstrndup(start, strcspn(start, "/?#"));
        return authority_host(authority);
}

bool url_host_is_loopback(const char *host)
{
        struct sockaddr_storage address;
        if (strcmp(host, "localhost") == 0)
                return true;
        memset(&address, 0, sizeof(address));
        return (set_v4(host, 0, &address) || set_v6(host, 0, &address)) && address_is_loopback(&address);
}
