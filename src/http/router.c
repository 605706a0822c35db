/*
 * Patterns are cut into segments once. A request's segments, already decoded one by one, are compared with them; a
 * literal wins over an argument by standing earlier in the table.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "http/internal.h"

struct pattern {
        char **parts; /* ":name" is an argument */
        unsigned n;
};

int router_init(struct router *router, const struct http_route *routes, struct error *error)
{
        *router = (struct router){.routes = routes};
        while (routes[router->n].pattern)
                router->n++;
        router->patterns = xcalloc(router->n + 1, sizeof *router->patterns);
        for (size_t i = 0; i < router->n; i++) {
                struct pattern *pattern = &router->patterns[i];
                const char *text = routes[i].pattern;
                if (text[0] != '/' || !routes[i].method || !routes[i].first)
                        return error_set(error, -EINVAL, "route %s is not complete", text);
                pattern->parts = str_split(text + 1, '/');
                while (pattern->parts[pattern->n] && text[1])
                        pattern->n++;
                if (pattern->n > SEGMENTS_MAX)
                        return error_set(error, -EINVAL, "route %s has too many segments", text);
        }
        return 0;
}

void router_deinit(struct router *router)
{
        for (size_t i = 0; i < router->n && router->patterns; i++)
                strv_free(router->patterns[i].parts);
        free(router->patterns);
        *router = (struct router){0};
}

static bool matches(const struct pattern *pattern, const struct segments *segments)
{
        if (pattern->n != segments->n)
                return false;
        for (unsigned i = 0; i < pattern->n; i++) {
                const char *part = pattern->parts[i], *given = segment(segments, i);
                if (part[0] == ':' ? given[0] == '\0' : strcmp(part, given) != 0)
                        return false;
        }
        return true;
}

static void add_allowed(struct buf *allow, const char *method)
{
        if (allow->len > 0)
                buf_adds(allow, ", ");
        buf_adds(allow, method);
        if (str_eq(method, "GET"))
                buf_adds(allow, ", HEAD");
}

const struct http_route *router_find(const struct router *router, const char *method, const struct segments *segments,
                                     struct buf *allow)
{
        const char *wanted = str_eq(method, "HEAD") ? "GET" : method;
        for (size_t i = 0; i < router->n; i++) {
                if (!matches(&router->patterns[i], segments))
                        continue;
                if (str_eq(router->routes[i].method, wanted))
                        return &router->routes[i];
                add_allowed(allow, router->routes[i].method);
        }
        return NULL;
}

const char *router_argument(const struct router *router, const struct http_route *route,
                            const struct segments *segments, const char *name)
{
        const struct pattern *pattern = &router->patterns[route - router->routes];
        for (unsigned i = 0; i < pattern->n; i++)
                if (pattern->parts[i][0] == ':' && str_eq(pattern->parts[i] + 1, name))
                        return segment(segments, i);
        return NULL;
}

enum http_default router_default(const struct router *router, const struct segments *segments)
{
        for (size_t i = 0; i < router->n && segments->n > 0; i++)
                if (router->patterns[i].n > 0 && str_eq(router->patterns[i].parts[0], segment(segments, 0)))
                        return router->routes[i].answer;
        return HTTP_DEFAULT_HTML;
}
