/*
 * Names of hosts into addresses, off the loop. libpq looks names up by itself, but blocks meanwhile: with a name server
 * that does not answer, the whole process would stand still for seconds at each attempt. So the names are looked up on
 * libuv's threads, and libpq is given `hostaddr` beside `host` (which it still checks certificates against).
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>

#include "base/text.h"
#include "db/internal.h"

#define HOSTS_MAX 16

struct link_resolver {
        void (*done)(void *owner, char *conninfo, const char *trouble);
        void *owner;
        uv_loop_t *uv;
        PQconninfoOption *options;
        char **hosts, **ports;
        size_t n_hosts, n_ports, next;
        uv_getaddrinfo_t request;
        struct buf out_hosts, out_addresses, out_ports;
        char *trouble;
        bool asking;
};

static const char *option(const PQconninfoOption *options, const char *keyword)
{
        for (; options->keyword; options++)
                if (str_eq(options->keyword, keyword))
                        return options->val && *options->val ? options->val : NULL;
        return NULL;
}

static void add_item(struct buf *buf, const char *text)
{
        if (buf->len)
                buf_addc(buf, ',');
        buf_adds(buf, text);
}

static void add_option(struct buf *buf, const char *keyword, const char *value)
{
        buf_addf(buf, "%s='", keyword);
        for (; *value; value++) {
                if (*value == '\'' || *value == '\\')
                        buf_addc(buf, '\\');
                buf_addc(buf, *value);
        }
        buf_adds(buf, "' ");
}

static void free_resolver(struct link_resolver *resolver)
{
        PQconninfoFree(resolver->options);
        strv_free(resolver->hosts);
        strv_free(resolver->ports);
        buf_deinit(&resolver->out_hosts);
        buf_deinit(&resolver->out_addresses);
        buf_deinit(&resolver->out_ports);
        free(resolver->trouble);
        free(resolver);
}

static char *assemble(const struct link_resolver *resolver)
{
        struct buf out = BUF_NULL;
        for (const PQconninfoOption *o = resolver->options; o->keyword; o++)
                if (o->val && *o->val && !str_eq(o->keyword, "host") && !str_eq(o->keyword, "port"))
                        add_option(&out, o->keyword, o->val);
        add_option(&out, "host", buf_str(&resolver->out_hosts));
        add_option(&out, "hostaddr", buf_str(&resolver->out_addresses));
        add_option(&out, "port", buf_str(&resolver->out_ports));
        return buf_steal(&out);
}

static void finish(struct link_resolver *resolver)
{
        char *conninfo = resolver->out_hosts.len ? assemble(resolver) : NULL;
        if (resolver->done)
                resolver->done(resolver->owner, conninfo, str_or(resolver->trouble, "no host to connect to"));
        else
                free(conninfo);
        free_resolver(resolver);
}

static const char *port_of(const struct link_resolver *resolver, size_t i)
{
        const char *port = resolver->n_ports == 0 ? "" : resolver->ports[resolver->n_ports == 1 ? 0 : i];
        return *port ? port : "5432";
}

static void add_target(struct link_resolver *resolver, size_t i, const char *address)
{
        add_item(&resolver->out_hosts, resolver->hosts[i]);
        if (resolver->out_hosts.len > strlen(resolver->hosts[i]))
                buf_addc(&resolver->out_addresses, ',');
        buf_adds(&resolver->out_addresses, address);
        add_item(&resolver->out_ports, port_of(resolver, i));
}

static void ask_next(struct link_resolver *resolver);

static void on_addresses(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
        struct link_resolver *resolver = request->data;
        size_t i = resolver->next++;
        resolver->asking = false;
        if (status < 0 && resolver->done) {
                free(resolver->trouble);
                resolver->trouble = xasprintf("cannot find the address of %s: %s", resolver->hosts[i],
                                              uv_strerror(status));
        }
        int n = 0;
        for (struct addrinfo *at = status == 0 ? list : NULL; at && n < 8; at = at->ai_next, n++) {
                char text[64];
                if (getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
                        add_target(resolver, i, text);
        }
        uv_freeaddrinfo(list);
        if (resolver->done)
                ask_next(resolver);
        else
                finish(resolver);
}

/* Unix sockets and addresses need no look-up. */
static bool is_plain(const char *host)
{
        unsigned char address[16];
        return host[0] == '/' || host[0] == '@' || inet_pton(AF_INET, host, address) == 1 ||
               inet_pton(AF_INET6, host, address) == 1;
}

static void ask_next(struct link_resolver *resolver)
{
        for (; resolver->next < resolver->n_hosts; resolver->next++) {
                const char *host = resolver->hosts[resolver->next];
                if (!is_plain(host)) {
                        struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
                        resolver->request.data = resolver;
                        resolver->asking = uv_getaddrinfo(resolver->uv, &resolver->request, on_addresses, host, NULL,
                                                          &hints) == 0;
                        if (resolver->asking)
                                return;
                        continue;
                }
                add_target(resolver, resolver->next, host[0] == '/' || host[0] == '@' ? "" : host);
        }
        finish(resolver);
}

static size_t count(char **list)
{
        size_t n = 0;
        while (list && list[n])
                n++;
        return n;
}

static void rotate(char **list, size_t n, unsigned turn)
{
        for (unsigned k = 0; n > 1 && k < turn % n; k++) {
                char *first = list[0];
                memmove(list, list + 1, (n - 1) * sizeof *list);
                list[n - 1] = first;
        }
}

static bool needs_look_up(const PQconninfoOption *options)
{
        const char *host = option(options, "host");
        return host && !option(options, "hostaddr") && (strchr(host, ',') || !is_plain(host));
}

struct link_resolver *link_resolve(uv_loop_t *uv, const char *conninfo, unsigned turn,
                                   void (*done)(void *owner, char *conninfo, const char *trouble), void *owner)
{
        char *message = NULL;
        PQconninfoOption *options = PQconninfoParse(conninfo, &message);
        PQfreemem(message);
        if (!options || !needs_look_up(options)) {
                PQconninfoFree(options);
                done(owner, xstrdup(conninfo), NULL);
                return NULL;
        }
        struct link_resolver *resolver = xcalloc(1, sizeof *resolver);
        *resolver = (struct link_resolver){.done = done, .owner = owner, .uv = uv, .options = options};
        resolver->hosts = str_split(option(options, "host"), ',');
        resolver->n_hosts = MIN(count(resolver->hosts), (size_t)HOSTS_MAX);
        const char *ports = option(options, "port");
        resolver->ports = ports ? str_split(ports, ',') : NULL;
        resolver->n_ports = count(resolver->ports);
        if (resolver->n_ports > 1 && resolver->n_ports < resolver->n_hosts)
                resolver->n_hosts = resolver->n_ports;
        rotate(resolver->hosts, resolver->n_hosts, turn);
        if (resolver->n_ports > 1)
                rotate(resolver->ports, resolver->n_hosts, turn);
        ask_next(resolver);
        return resolver;
}

void link_resolver_cancel(struct link_resolver *resolver)
{
        if (!resolver)
                return;
        resolver->done = NULL;
        if (resolver->asking)
                uv_cancel((uv_req_t *)&resolver->request);
}
