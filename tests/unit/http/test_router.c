/* One table of routes: who is found, and what the others are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "http/internal.h"

static int step(struct task *t _unused_)
{
        return 0;
}

static const struct http_route routes[] = {
        {"GET", "/", ROUTE_STEP(step), .answer = HTTP_DEFAULT_HTML},
        {"GET", "/api/vm/:hostname", ROUTE_STEP(step)},
        {"POST", "/api/vm/:hostname", ROUTE_STEP(step)},
        {"GET", "/api/vm/all", ROUTE_STEP(step)},
        {"GET", "/admin/vm/:hostname/:line", ROUTE_STEP(step), .answer = HTTP_DEFAULT_HTML},
        {0},
};

struct found {
        struct router router;
        struct segments segments;
        struct buf allow;
        const struct http_route *route;
};

static void find(struct found *found, const char *method, const char *path)
{
        *found = (struct found){0};
        assert_int_equal(router_init(&found->router, routes, NULL), 0);
        assert_int_equal(segments_split(path, &found->segments), 0);
        found->route = router_find(&found->router, method, &found->segments, &found->allow);
}

static void forget(struct found *found)
{
        router_deinit(&found->router);
        buf_deinit(&found->segments.text);
        buf_deinit(&found->allow);
}

static void expect_route(const char *method, const char *path, const char *pattern, const char *allow)
{
        struct found found;
        find(&found, method, path);
        if (pattern) {
                assert_non_null(found.route);
                assert_string_equal(found.route->pattern, pattern);
        } else {
                assert_null(found.route);
                assert_string_equal(buf_str(&found.allow), allow);
        }
        forget(&found);
}

static void routes_are_found(void **state _unused_)
{
        expect_route("GET", "/", "/", NULL);
        expect_route("HEAD", "/", "/", NULL);
        expect_route("GET", "/api/vm/lab-1", "/api/vm/:hostname", NULL);
        expect_route("GET", "/api/vm/all", "/api/vm/:hostname", NULL); /* the earlier row wins */
        expect_route("GET", "/admin/vm/a/7", "/admin/vm/:hostname/:line", NULL);
}

static void others_are_told_what_there_is(void **state _unused_)
{
        expect_route("POST", "/", NULL, "GET, HEAD");
        expect_route("DELETE", "/api/vm/x", NULL, "GET, HEAD, POST");
        expect_route("GET", "/api/vm", NULL, "");
        expect_route("GET", "/api/vm/", NULL, "");
        expect_route("GET", "/api/vm/x/", NULL, "");
        expect_route("GET", "/none", NULL, "");
}

static void arguments_have_names(void **state _unused_)
{
        struct found found;
        find(&found, "GET", "/admin/vm/lab%201/7");
        assert_string_equal(router_argument(&found.router, found.route, &found.segments, "hostname"), "lab 1");
        assert_string_equal(router_argument(&found.router, found.route, &found.segments, "line"), "7");
        assert_null(router_argument(&found.router, found.route, &found.segments, "other"));
        forget(&found);
}

static void an_unknown_path_is_answered_like_its_neighbours(void **state _unused_)
{
        static const struct {
                const char *path;
                enum http_default wanted;
        } cases[] = {{"/api/none", HTTP_DEFAULT_JSON},
                     {"/admin", HTTP_DEFAULT_HTML},
                     {"/none", HTTP_DEFAULT_HTML},
                     {"/", HTTP_DEFAULT_HTML}};
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct found found;
                find(&found, "GET", cases[i].path);
                assert_int_equal(router_default(&found.router, &found.segments), cases[i].wanted);
                forget(&found);
        }
}

static void an_incomplete_table_is_refused(void **state _unused_)
{
        static const struct http_route no_slash[] = {{"GET", "x", ROUTE_STEP(step)}, {0}};
        static const struct http_route no_step[] = {{"GET", "/x", NULL}, {0}};
        struct router router;
        assert_int_equal(router_init(&router, no_slash, NULL), -EINVAL);
        router_deinit(&router);
        assert_int_equal(router_init(&router, no_step, NULL), -EINVAL);
        router_deinit(&router);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(routes_are_found),
                cmocka_unit_test(others_are_told_what_there_is),
                cmocka_unit_test(arguments_have_names),
                cmocka_unit_test(an_unknown_path_is_answered_like_its_neighbours),
                cmocka_unit_test(an_incomplete_table_is_refused),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
