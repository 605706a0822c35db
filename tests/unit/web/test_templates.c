/*
 * Every page with a model as its handler makes it, and again with the most hostile text in every place of the model:
 * the page must keep exactly the same elements and attributes, and hold no script and no style of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "http/template.h"
#include "markup.h"
#include "web/assets.h"

#define HOSTILE \
        "</textarea></pre></title><script>alert(1)</script>\"'><img src=x onerror=alert(2)> ' onmouseover='x {{key}} " \
        "&"

struct page {
        const char *templates[3]; /* written one after the other, as a streamed page is */
        const char *model;
        const char *expected; /* a piece of the page */
};

// clang-format off
#define COUNTS "'counts': {'total': 3, 'claimable': 1, 'assigned': 1, 'initializing': 1, 'error': 0, 'unknown': 0}"
#define OPERATION(flag, live) "'operation': {'id': 7, 'kind': 'launch', 'state': 'running', 'arguments': {'num_vms': 3}," \
        "'progress': {'done': 1, 'total': 3, 'text': null}, 'result': null, 'error': 'tofu apply: exit 1'," \
        "'requested_by': 'admin', 'cancel_requested': false, 'created_at': '2026-01-02T03:04:05.678Z'," \
        "'started_at': null, 'ended_at': null, 'last_line': 2, 'url': '/api/operations/7'," \
        "'page': '/admin/operations/7', '" flag "': true, 'live': " live "}"
#define VM(host, id, email) "{'id': " id ", 'hostname': '" host "', 'status': 'assigned', 'email': " email ", 'pin': '123456'," \
        "'generation': 4, 'in_use': true, 'healthy': true, 'healthy_text': 'Healthy', 'needs_reset': false," \
        "'created_at': '2026-01-02T03:04:05.678Z', 'last_seen': '2026-01-02T03:04:05.678Z'," \
        "'seen_text': '2026-01-02T03:04:05.678Z', 'made_seconds': '12.0 s', 'boot_seconds': '30.5 s'," \
        "'container_seconds': '4.2 s', 'first_frame_seconds': '0.3 s', 'total_seconds': '46.7 s', 'metrics': {}}"
#define OVERVIEW "'public_url': 'https://lab.example.org', 'uptime_seconds': 12.5, " COUNTS ", 'provider': {'name': 'local'," \
        "'code': 'needs-root', 'hint': 'local VMs need root: start LabLink with sudo'}, 'client_auth': 'token'," \
        "'vms_max': 200, 'count': 3, 'assigned': 1, 'extension': 'slp', 'collect': true"
#define LINES "'lines': [{'line': 1, 'at': 'x', 'text': 'starting vm-1'}, {'line': 2, 'at': 'x', 'text': ''}," \
        "{'line': 3, 'at': 'x', 'text': 'red end', 'ansi': 'x', 'pieces': [{'class': 'sgr-31', 'text': 'red'}, {'class': '', 'text': ' end'}]}], 'last': 3"

static const struct page pages[] = {
        {{"index"}, "{'count': 2, 'message': null, 'message_kind': null, 'email': null, 'access_code_asked': false}",
         ">2</span>"},
        {{"index"}, "{'count': 0, 'message': 'Email and CRD command are required.', 'message_kind': 'danger'," \
         "'email': 'ada@example.org', 'crd_command': 'start-host --code=1', 'access_code_asked': true}", "role=\"alert\""},
        {{"success"}, "{'hostname': 'vm-1', 'pin': '012345', 'email': 'ada@example.org', 'generation': 1," \
         "'returning': false, 'notice': null}", ">012345</span>"},
        {{"success"}, "{'hostname': 'vm-1', 'pin': '012345', 'email': 'ada@example.org', 'generation': 2," \
         "'returning': true, 'notice': 'Your machine reported an error.'}", "still yours"},
        {{"index"}, "{'count': 2, 'message': 'This e-mail address has a machine already.', 'message_kind': 'danger', 'email': 'ada@example.org'," \
         "'browser': true, 'both': true, 'crd': true, 'return_code_asked': true, 'desktop_js': 'abc', 'desktop_css': 'def'}", "name=\"return_code\""},
        {{"success"}, "{'hostname': 'vm-1', 'pin': '012345', 'email': 'ada@example.org', 'generation': 1," \
         "'returning': false, 'notice': null, 'desktop': '/desktop', 'return_code': 'K7QM-3PWX'}", ">K7QM-3PWX</strong>"},
        {{"desktop"}, "{'role': 'seat', 'seat': true, 'hostname': 'vm-1', 'email': 'ada@example.org', 'socket': '/desktop/ws'," \
         "'return_code': 'K7QM-3PWX', 'welcome': true, 'consent': true, 'assist': true, 'desktop_js': 'abc', 'desktop_css': 'def'}",
         ">K7QM-3PWX</strong>"},
        {{"desktop"}, "{'role': 'view', 'view': true, 'hostname': 'vm-1', 'socket': '/desktop/ws?view=vm-1'," \
         "'may_assist': true, 'desktop_js': 'abc', 'desktop_css': 'def'}", "?assist"},
        {{"error"}, "{'status': 404, 'error': 'VM not found.', 'code': 'unknown-vm'}", "404"},
        {{"admin"}, "{" OVERVIEW ", 'operation': null}", ">needs-root</span>"},
        {{"admin"}, "{" OVERVIEW ", " OPERATION("x", "true") "}", "Follow operation 7"},
        {{"create-instances"}, "{" OVERVIEW ", 'operation': null}", "max=\"200\""},
        {{"delete-instances"}, "{" OVERVIEW ", " OPERATION("x", "true") "}", "all 3 VMs"},
        {{"delete-instances"}, "{" COUNTS ", 'operation': null, 'count': 0, 'assigned': 0, 'extension': 'slp'}", "No VM is known"},
        {{"instances"}, "{'instances': [], 'counts': {'total': 0}}", "There are no VMs yet"},
        {{"instances"}, "{'instances': [" VM("vm-1", "1", "'ada@example.org'") ", " VM("vm-2", "2", "null") "], 'desktops': true, " COUNTS "}",
         "action=\"/api/admin/vms/vm-1/release\""},
        {{"operations"}, "{'operations': []}", "Nothing was launched"},
        {{"operations"}, "{'operations': [{'id': 7, 'kind': 'launch', 'state': 'failed', 'error': 'no', 'progress': {'done': 1," \
         "'total': 3}, 'requested_by': 'admin', 'page': '/admin/operations/7', 'created_at': 'x', 'ended_at': 'y'}]}", "1 of 3"},
        {{"operation"}, "{" OPERATION("state_running", "true") ", " LINES "}", "http-equiv=\"refresh\""},
        {{"operation"}, "{" OPERATION("state_failed", "false") ", " LINES "}", "failed: tofu apply"},
        {{"operation"}, "{" OPERATION("state_failed", "false") ", " LINES "}", "\n\n<span class=\"sgr-31\">red</span> end\n</pre>"},
        {{"operation"}, "{" OPERATION("state_interrupted", "false") ", 'lines': [], 'last': 0}", "was interrupted"},
        {{"stream-head", "stream-foot"}, "{" OPERATION("state_done", "true") "}", "is done"},
        {{"collections"}, "{'operation': null, 'extension': 'slp', 'collections': [{'id': 3, 'what': 'all .slp files', 'open': false," \
         "'page': '/admin/collections/3', 'archive': '/api/collections/3/archive', 'vms': 2, 'failed': 1, 'files': 4," \
         "'size_text': '1 MB', 'list': true, 'collected_at': '2026-01-02T03:04:05.678Z'}]}", "closed by a destroy"},
        {{"collection"}, "{'operation': null, 'collection': {'id': 3, 'what': 'all .slp files', 'files': 4, 'size_text': '1 MB'," \
         "'list': true, 'url': '/api/collections/3', 'archive': '/api/collections/3/archive', 'collected_at': null}, 'vms': [" \
         "{'folder': 'vm-1', 'email': 'ada@example.org', 'state': 'failed', 'step': null, 'reason': 'it did not answer'," \
         "'files': 4, 'size_text': '1 MB', 'fresh_files': 0, 'fresh_text': '0 B', 'collected_at': null}]}", "it did not answer"},
        {{"instance-logs"}, "{'hostname': 'vm-1', 'status': 'running', 'logs': 'one\\ntwo\\n', 'last': 2}", "one\ntwo\n</pre>"},
        {{"instance-logs"}, "{'hostname': 'vm-1', 'status': 'initializing', 'logs': '', 'last': 0}", "no log line yet"},
};
// clang-format on

/* The model with what every page gets; quotes in `text` are written as apostrophes. */
static json_t *model_of(const char *text, bool admin)
{
        _cleanup_free_ char *json = xstrdup(text);
        for (char *p = json; (p = strchr(p, '\''));)
                *p = '"';
        json_error_t error;
        json_t *model = json_loads(json, 0, &error);
        if (!model)
                fail_msg("%s: %s", error.text, json);
        json_object_set_new(model, "version", json_string("0.1.0"));
        json_object_set_new(model, "admin", json_boolean(admin));
        json_object_set_new(model, "user", admin ? json_string("admin") : json_null());
        json_object_set_new(model, "path", json_string("/admin"));
        json_object_set_new(model, "key", json_string("one-time-key"));
        return model;
}

/* Puts `text` in the place of every string. */
static json_t *with_strings(json_t *value, const char *text)
{
        const char *key;
        size_t index;
        json_t *member;
        void *next;
        if (json_is_string(value) && json_string_length(value))
                return json_string(text);
        if (json_is_object(value)) {
                json_t *copy = json_object();
                json_object_foreach_safe(value, next, key, member)
                        json_object_set_new(copy, key, with_strings(member, text));
                return copy;
        }
        if (json_is_array(value)) {
                json_t *copy = json_array();
                json_array_foreach (value, index, member)
                        json_array_append_new(copy, with_strings(member, text));
                return copy;
        }
        return json_incref(value);
}

static void render(const struct page *page, json_t *model, struct buf *out)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        for (size_t i = 0; page->templates[i]; i++)
                if (template_render(web_templates, page->templates[i], model, out, &error) < 0)
                        fail_msg("%s: %s", page->templates[i], error_text(&error));
}

static void read_page(const struct page *page, json_t *model, struct markup *markup)
{
        _cleanup_buf_ struct buf html = BUF_NULL;
        render(page, model, &html);
        markup_read(markup, buf_str(&html));
        if (markup->finding.len)
                fail_msg("%s: %s\n%s", page->templates[0], buf_str(&markup->finding), buf_str(&html));
}

static void pages_say_what_they_should(void **state _unused_)
{
        for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
                _cleanup_json_ json_t *model = model_of(pages[i].model, true);
                _cleanup_buf_ struct buf html = BUF_NULL;
                render(&pages[i], model, &html);
                if (!strstr(buf_str(&html), pages[i].expected))
                        fail_msg("%s lacks \"%s\":\n%s", pages[i].templates[0], pages[i].expected, buf_str(&html));
                assert_null(strstr(buf_str(&html), "{{"));
        }
}

static void assert_labels(const struct page *page, const struct markup *markup)
{
        const char *id;
        json_t *value;
        json_object_foreach (markup->controls, id, value)
                if (!json_object_get(markup->labels, id))
                        fail_msg("%s: the control %s has no label", page->templates[0], id);
}

static void assert_urls(const struct page *page, const struct markup *markup)
{
        static const char *const good[] = {"/", "#", "https://remotedesktop.google.com/", "https://lab.example.org"};
        const char *url;
        json_t *value;
        json_object_foreach (markup->urls, url, value) {
                bool known = false;
                for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                        known |= strncmp(url, good[i], strlen(good[i])) == 0;
                if (!known || strncmp(url, "//", 2) == 0)
                        fail_msg("%s leads to %s", page->templates[0], url);
        }
}

static void pages_are_well_formed(void **state _unused_)
{
        for (size_t i = 0; i < 2 * ARRAY_SIZE(pages); i++) {
                const struct page *page = &pages[i / 2];
                _cleanup_json_ json_t *model = model_of(page->model, i % 2);
                _cleanup_markup_ struct markup markup;
                read_page(page, model, &markup);
                assert_labels(page, &markup);
                assert_urls(page, &markup);
        }
}

static void hostile_text_changes_no_page(void **state _unused_)
{
        for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
                _cleanup_json_ json_t *model = model_of(pages[i].model, true);
                _cleanup_json_ json_t *plain = with_strings(model, "x"), *hostile = with_strings(model, HOSTILE);
                _cleanup_markup_ struct markup one, other;
                read_page(&pages[i], plain, &one);
                read_page(&pages[i], hostile, &other);
                assert_string_equal(buf_str(&one.skeleton), buf_str(&other.skeleton));
        }
}

static size_t count(const char *text, const char *piece)
{
        size_t n = 0;
        while ((text = strstr(text, piece))) {
                n++;
                text += strlen(piece);
        }
        return n;
}

static void forms_carry_a_key(void **state _unused_)
{
        for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
                _cleanup_json_ json_t *model = model_of(pages[i].model, true);
                _cleanup_buf_ struct buf html = BUF_NULL;
                render(&pages[i], model, &html);
                assert_int_equal(count(buf_str(&html), "<form method=\"post\""), count(buf_str(&html), "<form"));
                assert_int_equal(count(buf_str(&html), "<form"),
                                 count(buf_str(&html), "name=\"_key\" value=\"one-time-key"));
        }
}

/* The same page may release several seats: no two of its forms have the same key. */
static void each_release_has_a_key_of_its_own(void **state _unused_)
{
        _cleanup_json_ json_t *model = model_of(
                "{'instances': [" VM("vm-1", "1", "'ada@example.org'") ", " VM("vm-2", "2", "'b@example.org'") "]}",
                true);
        static const struct page page = {.templates = {"instances"}};
        _cleanup_buf_ struct buf html = BUF_NULL;
        render(&page, model, &html);
        assert_int_equal(count(buf_str(&html), "value=\"one-time-key-1-4\""), 1);
        assert_int_equal(count(buf_str(&html), "value=\"one-time-key-2-4\""), 1);
}

/* The buttons of a repair: only those that were asked for, each with a key of its own. */
static void repairs_are_offered(void **state _unused_)
{
        _cleanup_json_ json_t *model = model_of(
                "{" OPERATION("state_failed", "false") ", 'lines': [], 'last': 0, "
                                                       "'repair': {'retry': true, 'unlock': true}}",
                true);
        static const struct page page = {.templates = {"operation"}};
        _cleanup_buf_ struct buf html = BUF_NULL;
        render(&page, model, &html);
        assert_int_equal(count(buf_str(&html), "name=\"_key\" value=\"one-time-key-retry\""), 1);
        assert_int_equal(count(buf_str(&html), "name=\"_key\" value=\"one-time-key-unlock\""), 1);
        assert_int_equal(count(buf_str(&html), "value=\"refresh\""), 0);
}

static void every_template_is_tried(void **state _unused_)
{
        static const char *const partials[] = {"layout-head", "layout-nav",        "layout-foot",       "counts",
                                               "vm-row",      "operation-running", "operation-outcome", "output-line",
                                               "repair"};
        for (const struct http_template *t = web_templates; t->name; t++) {
                bool tried = false;
                for (size_t i = 0; i < ARRAY_SIZE(partials); i++)
                        tried |= strcmp(partials[i], t->name) == 0;
                for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
                        for (size_t k = 0; pages[i].templates[k]; k++)
                                tried |= strcmp(pages[i].templates[k], t->name) == 0;
                if (!tried)
                        fail_msg("no test renders the template %s", t->name);
        }
}

static void the_assets_are_there(void **state _unused_)
{
        static const char *const wanted[][2] = {{"/static/app.css", "text/css; charset=utf-8"},
                                                {"/static/app.js", "text/javascript; charset=utf-8"},
                                                {"/static/desktop.css", "text/css; charset=utf-8"},
                                                {"/static/desktop.js", "text/javascript; charset=utf-8"},
                                                {"/static/icon.svg", "image/svg+xml"}};
        for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
                assert_non_null(web_assets[i].path);
                assert_string_equal(web_assets[i].path, wanted[i][0]);
                assert_string_equal(web_assets[i].content_type, wanted[i][1]);
                assert_true(web_assets[i].len > 100);
        }
        assert_null(web_assets[ARRAY_SIZE(wanted)].path);
}

/* What the server says is shown as text: nothing in the script makes markup or code of a string. */
static void the_script_makes_no_markup(void **state _unused_)
{
        static const char *const forbidden[] = {
                "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", ".style."};
        static const char *const scripts[] = {PROJECT_ROOT "/src/web/static/app.js",
                                              PROJECT_ROOT "/src/web/static/desktop.js"};
        for (size_t k = 0; k < ARRAY_SIZE(scripts); k++) {
                _cleanup_error_ struct error error = ERROR_NULL;
                _cleanup_buf_ struct buf script = BUF_NULL;
                assert_int_equal(file_read(scripts[k], 1 << 20, &script, &error), 0);
                for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
                        assert_null(strstr(buf_str(&script), forbidden[i]));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(pages_say_what_they_should),        cmocka_unit_test(pages_are_well_formed),
                cmocka_unit_test(hostile_text_changes_no_page),      cmocka_unit_test(forms_carry_a_key),
                cmocka_unit_test(each_release_has_a_key_of_its_own), cmocka_unit_test(repairs_are_offered),
                cmocka_unit_test(every_template_is_tried),           cmocka_unit_test(the_assets_are_there),
                cmocka_unit_test(the_script_makes_no_markup),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
