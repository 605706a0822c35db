/*
 * docs/openapi.json and docs/api.md are written by hand; the table of routes is the truth. Here they are held together:
 * every route is described with its method, its sentence, its rights and the content types of its body, nothing else
 * is, no reference leads nowhere, and the prose names every path.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "web/web.h"

static void read_text(const char *path, struct buf *out)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        if (file_read(path, 4 << 20, out, &error) < 0)
                fail_msg("%s", error_text(&error));
}

static json_t *read_document(void)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_buf_ struct buf text = BUF_NULL;
        read_text(PROJECT_ROOT "/docs/openapi.json", &text);
        json_t *document = json_read(buf_str(&text), text.len, &error);
        if (!document)
                fail_msg("docs/openapi.json: %s", error_text(&error));
        return document;
}

/* "/api/vm-logs/:hostname" as OpenAPI writes it: "/api/vm-logs/{hostname}". Owned by the caller. */
static char *path_of(const char *pattern)
{
        struct buf out = BUF_NULL;
        bool inside = false;
        for (; *pattern; pattern++) {
                if (inside && *pattern == '/') {
                        buf_addc(&out, '}');
                        inside = false;
                }
                buf_addc(&out, *pattern == ':' ? '{' : *pattern);
                inside |= *pattern == ':';
        }
        if (inside)
                buf_addc(&out, '}');
        return buf_steal(&out);
}

static char *method_of(const struct http_route *route)
{
        char *method = xstrdup(route->method);
        for (char *c = method; *c; c++)
                *c = (char)tolower((unsigned char)*c);
        return method;
}

static const json_t *operation_of(const json_t *document, const struct http_route *route)
{
        _cleanup_free_ char *path = path_of(route->pattern), *method = method_of(route);
        const json_t *operation = json_object_get(json_object_get(json_object_get(document, "paths"), path), method);
        if (!operation)
                fail_msg("docs/openapi.json does not describe %s %s", route->method, path);
        return operation;
}

static void test_every_route_is_described(void **state)
{
        const json_t *document = *state;
        for (const struct http_route *route = web_routes; route->pattern; route++) {
                const json_t *operation = operation_of(document, route);
                assert_string_equal(json_get_string(operation, "summary"), route->summary);
                assert_true(json_object_size(json_object_get(operation, "responses")) > 1);
        }
}

static bool is_route(const char *path, const char *method)
{
        for (const struct http_route *route = web_routes; route->pattern; route++) {
                _cleanup_free_ char *known = path_of(route->pattern), *known_method = method_of(route);
                if (str_eq(known, path) && str_eq(known_method, method))
                        return true;
        }
        return false;
}

static void test_nothing_else_is_described(void **state)
{
        const char *path, *method;
        json_t *methods, *operation;
        json_object_foreach (json_object_get(*state, "paths"), path, methods)
                json_object_foreach (methods, method, operation)
                        if (!is_route(path, method))
                                fail_msg("docs/openapi.json describes %s %s, which is no route", method, path);
}

static void test_operation_ids_differ(void **state)
{
        _cleanup_json_ json_t *seen = json_object();
        const char *path, *method;
        json_t *methods, *operation;
        json_object_foreach (json_object_get(*state, "paths"), path, methods)
                json_object_foreach (methods, method, operation) {
                        const char *id = json_get_string(operation, "operationId");
                        assert_non_null(id);
                        if (json_object_get(seen, id))
                                fail_msg("docs/openapi.json uses the operationId %s twice", id);
                        json_object_set_new(seen, id, json_true());
                }
}

/* --- rights ------------------------------------------------------------------------------------------------------- */

/* Names of the schemes that may be used, "(none)" where a request without any may pass. Owned by the caller. */
static char *security_of(const json_t *operation)
{
        struct buf out = BUF_NULL;
        size_t index;
        const json_t *choice;
        const char *name;
        json_t *scopes;
        json_array_foreach (json_object_get(operation, "security"), index, choice) {
                if (json_object_size(choice) == 0)
                        buf_adds(&out, "(none) ");
                json_object_foreach ((json_t *)choice, name, scopes)
                        buf_addf(&out, "%s ", name);
        }
        return out.len ? buf_steal(&out) : xstrdup("");
}

static void test_rights_agree(void **state)
{
        static const char *const wanted[] = {
                [RIGHT_PUBLIC] = "",
                [RIGHT_ADMIN] = "adminBasic adminCookie ",
                [RIGHT_VM] = "vmToken (none) ",
                [RIGHT_REPORT] = "vmToken (none) ",
                [RIGHT_AGENT] = "vmToken (none) ",
                [RIGHT_LOGS] = "vmToken logToken (none) ",
                [RIGHT_VM_OR_ADMIN] = "vmToken adminBasic adminCookie (none) ",
        };
        for (const struct http_route *route = web_routes; route->pattern; route++) {
                const json_t *operation = operation_of(*state, route);
                assert_true(json_is_array(json_object_get(operation, "security")));
                _cleanup_free_ char *security = security_of(operation);
                if (!str_eq(security, wanted[route->rights]))
                        fail_msg("%s %s: docs/openapi.json says \"%s\", the table \"%s\"", route->method,
                                 route->pattern, security, wanted[route->rights]);
        }
}

/* --- bodies ------------------------------------------------------------------------------------------------------- */

static void test_bodies_agree(void **state)
{
        for (const struct http_route *route = web_routes; route->pattern; route++) {
                const json_t *body = json_object_get(operation_of(*state, route), "requestBody");
                const json_t *content = json_object_get(body, "content");
                bool form = json_object_get(content, "application/x-www-form-urlencoded");
                bool parts = json_object_get(content, "multipart/form-data");
                bool json = json_object_get(content, "application/json");
                if (json != !!(route->body & HTTP_BODY_JSON) || form != !!(route->body & HTTP_BODY_FORM) ||
                    parts != form)
                        fail_msg("%s %s: docs/openapi.json and the table take other bodies", route->method,
                                 route->pattern);
        }
}

/* A page is given where nothing was asked for, so it has an HTML form; what is JSON by default has a JSON form. */
static void test_representations_agree(void **state)
{
        for (const struct http_route *route = web_routes; route->pattern; route++) {
                bool html = false, json = false;
                const char *status;
                json_t *answer;
                json_object_foreach (json_object_get(operation_of(*state, route), "responses"), status, answer) {
                        const json_t *content = json_object_get(answer, "content");
                        if (status[0] != '2')
                                continue;
                        html |= json_object_get(content, "text/html") != NULL;
                        json |= json_object_get(content, "application/json") ||
                                json_object_get(content, "text/event-stream") ||
                                json_object_get(content, "application/zip") || json_object_get(content, "image/jpeg");
                }
                bool redirects = json_object_get(json_object_get(operation_of(*state, route), "responses"), "303");
                json |= json_object_get(json_object_get(operation_of(*state, route), "responses"), "101") != NULL;
                if (!json || (route->answer == HTTP_DEFAULT_HTML && !html && !redirects))
                        fail_msg("%s %s: docs/openapi.json lacks a form of its answer", route->method, route->pattern);
        }
}

/* --- references --------------------------------------------------------------------------------------------------- */

static const json_t *resolve(const json_t *document, const char *reference)
{
        if (!str_starts(reference, "#/"))
                return NULL;
        _cleanup_strv_ char **parts = str_split(reference + 2, '/');
        for (char **part = parts; *part && document; part++)
                document = json_object_get(document, *part);
        return document;
}

static void check_references(const json_t *document, json_t *value)
{
        const char *name;
        json_t *member;
        size_t index;
        json_object_foreach (value, name, member) {
                if (str_eq(name, "$ref") && !resolve(document, json_string_value(member)))
                        fail_msg("docs/openapi.json: %s leads nowhere", json_string_value(member));
                check_references(document, member);
        }
        json_array_foreach (value, index, member)
                check_references(document, member);
}

static void test_references_lead_somewhere(void **state)
{
        check_references(*state, *state);
}

static void test_version_agrees(void **state)
{
        assert_string_equal(json_get_string(json_object_get(*state, "info"), "version"), LABLINK_VERSION);
        assert_true(str_starts(json_get_string(*state, "openapi"), "3.1."));
}

/* --- docs/api.md -------------------------------------------------------------------------------------------------- */

static void test_prose_names_every_route(void **state _unused_)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        read_text(PROJECT_ROOT "/docs/api.md", &text);
        for (const struct http_route *route = web_routes; route->pattern; route++) {
                _cleanup_free_ char *path = path_of(route->pattern);
                _cleanup_free_ char *wanted = xasprintf("`%s %s`", route->method, path);
                if (!strstr(buf_str(&text), wanted))
                        fail_msg("docs/api.md does not name %s", wanted);
        }
}

/* Headings "### `GET /path`" are of routes only. */
static void test_prose_names_nothing_else(void **state _unused_)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        read_text(PROJECT_ROOT "/docs/api.md", &text);
        _cleanup_strv_ char **lines = str_split(buf_str(&text), '\n');
        for (char **line = lines; *line; line++) {
                char method[8], path[128];
                if (sscanf(*line, "### `%7s %127[^`]`", method, path) != 2)
                        continue;
                for (char *c = method; *c; c++)
                        *c = (char)tolower((unsigned char)*c);
                if (!is_route(path, method))
                        fail_msg("docs/api.md has a heading for %s %s, which is no route", method, path);
        }
}

static int setup(void **state)
{
        *state = read_document();
        return 0;
}

static int teardown(void **state)
{
        json_decref(*state);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_route_is_described),
                cmocka_unit_test(test_nothing_else_is_described),
                cmocka_unit_test(test_operation_ids_differ),
                cmocka_unit_test(test_rights_agree),
                cmocka_unit_test(test_bodies_agree),
                cmocka_unit_test(test_representations_agree),
                cmocka_unit_test(test_references_lead_somewhere),
                cmocka_unit_test(test_version_agrees),
                cmocka_unit_test(test_prose_names_every_route),
                cmocka_unit_test(test_prose_names_nothing_else),
        };
        return cmocka_run_group_tests_name("openapi", tests, setup, teardown);
}
