/*
 * Addresses as people write them in the configuration. Private to src/config/.
 */
#pragma once

#include <sys/socket.h>

#include "base/mem.h"

/* "127.0.0.1:5000", "[::1]:5000", "localhost:5000". The length, or 0 when it is none of these. */
socklen_t address_parse(const char *text, struct sockaddr_storage *ret);
bool address_is_ip(const char *text); /* IPv4 or IPv6, without brackets */
bool address_is_loopback(const struct sockaddr_storage *address);
bool address_is_wildcard(const struct sockaddr_storage *address);
uint16_t address_port(const struct sockaddr_storage *address);

/* The host of "http://HOST[:PORT][/...]" (brackets of IPv6 removed), or NULL when it is no such URL. Owned by the
 * caller. */
char *url_host(const char *url);
bool url_host_is_loopback(const char *host);
