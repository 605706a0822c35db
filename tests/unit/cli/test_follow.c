/* Watching an operation over connections that break: no line is lost, none is shown twice. The allocator is a script.
 */
#include "cli/follow.h"

#include <signal.h>

#include "cli/api.h"
#include "unit.h"

/* One connection: what comes, and how it ends. */
struct connection {
        const char *path; /* that must be asked for */
        const char *events[8][3];
        int result;
        bool interrupt;
};

static const struct connection *script;
static const char *operation; /* as the allocator has it now */
static int looks;

struct api *api_free(struct api *api _unused_)
{
        return NULL;
}

int api_get(struct cli *cli _unused_, const char *path, json_t **ret, struct error *error)
{
        looks++;
        if (!operation)
                return error_set(error, -ENOENT, "No operation has this number.");
        assert_string_equal(path, "/api/operations/7");
        *ret = json_pack("{s:o}", "operation", json_loads(operation, 0, NULL));
        return 0;
}

int api_follow(struct cli *cli _unused_, const char *path, const struct api_stream *stream, struct error *error)
{
        const struct connection *now = script++;
        assert_string_equal(path, now->path);
        for (size_t i = 0; now->events[i][0]; i++) {
                if (strcmp(now->events[i][0], "operation") == 0)
                        operation = now->events[i][2];
                stream->event(stream->userdata, now->events[i][0], now->events[i][1], now->events[i][2]);
                if (!stream->tick(stream->userdata))
                        return 0;
        }
        if (now->interrupt)
                raise(SIGINT);
        return now->result < 0 ? error_set(error, now->result, "gone") : 0;
}

#define RUNNING \
        "{\"id\":7,\"kind\":\"launch\",\"state\":\"running\",\"progress\":{\"done\":1,\"total\":2,\"text\":\"\"}}"
#define DONE \
        "{\"id\":7,\"kind\":\"launch\",\"state\":\"done\",\"started_at\":\"2026-11-25T03:30:22.000Z\"," \
        "\"ended_at\":\"2026-11-25T03:30:52.000Z\",\"progress\":{\"done\":2,\"total\":2}}"
#define FAILED "{\"id\":7,\"kind\":\"launch\",\"state\":\"failed\",\"error\":\"no capacity\"}"
#define INTERRUPTED "{\"id\":7,\"kind\":\"launch\",\"state\":\"interrupted\"}"

/* Runs it with standard output in a file; what was printed, owned by the caller. */
static char *follow(struct cli *cli, int *ret, struct error *error)
{
        FILE *file = tmpfile();
        char text[4096];
        fflush(stdout);
        int saved = dup(STDOUT_FILENO);
        dup2(fileno(file), STDOUT_FILENO);
        *ret = follow_operation(cli, 7, error);
        fflush(stdout);
        dup2(saved, STDOUT_FILENO);
        close(saved);
        rewind(file);
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
        return xstrdup(text);
}

static int reset(void **state _unused_)
{
        looks = 0;
        operation = RUNNING;
        return 0;
}

static void to_its_end(void **state _unused_)
{
        static const struct connection good[] = {{"/api/operations/7/output?after=0",
                                                  {{"operation", "", RUNNING},
                                                   {"line", "1", "making a"},
                                                   {"line", "2", "making \x1b b"},
                                                   {"operation", "", DONE},
                                                   {"end", "", ""}}}};
        _cleanup_error_ struct error error = ERROR_NULL;
        struct cli cli = {0};
        int r;
        script = good;
        operation = DONE;
        _cleanup_free_ char *text = follow(&cli, &r, &error);
        assert_int_equal(r, CLI_GOOD);
        assert_string_equal(text, "making a\nmaking \\x1b b\nlaunch 7: done after 30 s\n");
}

static void over_broken_connections(void **state _unused_)
{
        static const struct connection broken[] = {
                {"/api/operations/7/output?after=0", {{"line", "1", "one"}, {"line", "2", "two"}}, -ENOTCONN},
                {"/api/operations/7/output?after=2", {{NULL}}, -EAGAIN},
                {"/api/operations/7/output?after=2", {{"line", "2", "two"}, {"line", "3", "three"}}}, /* no "end" */
                {"/api/operations/7/output?after=3", {{"operation", "", DONE}, {"end", "", ""}}}};
        _cleanup_error_ struct error error = ERROR_NULL;
        struct cli cli = {0};
        int r;
        script = broken;
        _cleanup_free_ char *text = follow(&cli, &r, &error);
        assert_int_equal(r, CLI_GOOD);
        assert_int_equal(error.code, 0);
        assert_string_equal(text, "one\ntwo\nthree\nlaunch 7: done after 30 s\n");
}

static void a_bad_end_has_its_own_exit_code(void **state _unused_)
{
        static const struct connection failed[] = {
                {"/api/operations/7/output?after=0", {{"operation", "", FAILED}, {"end", "", ""}}}};
        static const struct connection interrupted[] = {
                {"/api/operations/7/output?after=0", {{"operation", "", INTERRUPTED}, {"end", "", ""}}}};
        _cleanup_error_ struct error error = ERROR_NULL;
        struct cli cli = {0};
        int r;
        script = failed;
        operation = FAILED;
        _cleanup_free_ char *text = follow(&cli, &r, &error);
        assert_int_equal(r, CLI_ENDED_BADLY);
        assert_string_equal(error_text(&error), "launch 7 failed: no capacity");
        script = interrupted;
        operation = INTERRUPTED;
        _cleanup_free_ char *more = follow(&cli, &r, &error);
        assert_int_equal(r, CLI_ENDED_BADLY);
        assert_contains(cli.hint, "may be given again");
        free(cli.hint);
}

static void json_is_one_document(void **state _unused_)
{
        static const struct connection good[] = {
                {"/api/operations/7/output?after=0", {{"line", "1", "a"}, {"operation", "", DONE}, {"end", "", ""}}}};
        _cleanup_error_ struct error error = ERROR_NULL;
        struct cli cli = {.json = true, .opt.quiet = true};
        int r;
        script = good;
        operation = DONE;
        _cleanup_free_ char *text = follow(&cli, &r, &error);
        _cleanup_json_ json_t *answer = json_read(text, strlen(text), &error);
        assert_non_null(answer);
        assert_string_equal(json_get_string(json_object_get(answer, "operation"), "state"), "done");
}

static void ctrl_c_leaves_it_alone(void **state _unused_)
{
        static const struct connection stopped[] = {
                {"/api/operations/7/output?after=0", {{"line", "1", "a"}}, .interrupt = true}};
        _cleanup_error_ struct error error = ERROR_NULL;
        struct cli cli = {0};
        int r;
        script = stopped;
        _cleanup_free_ char *text = follow(&cli, &r, &error);
        assert_int_equal(r, CLI_DETACHED);
        assert_string_equal(text, "a\n");
        assert_true(interrupt_seen());
}

static void an_unknown_one_is_an_error(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct cli cli = {0};
        int r;
        operation = NULL;
        _cleanup_free_ char *text = follow(&cli, &r, &error);
        assert_int_equal(r, -ENOENT);
        assert_string_equal(text, "");
}

static void detached_it_is_only_told(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_json_ json_t *answer = json_pack("{s:o}", "operation", json_loads(RUNNING, 0, NULL)),
                              *none = json_object();
        struct cli cli = {.opt = {.detach = true, .quiet = true}};
        assert_int_equal(follow_answer(&cli, answer, &error), CLI_GOOD);
        assert_int_equal(follow_answer(&cli, none, &error), CLI_GOOD);
        assert_int_equal(looks, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(to_its_end, reset),
                cmocka_unit_test_setup(over_broken_connections, reset),
                cmocka_unit_test_setup(a_bad_end_has_its_own_exit_code, reset),
                cmocka_unit_test_setup(json_is_one_document, reset),
                cmocka_unit_test_setup(an_unknown_one_is_an_error, reset),
                cmocka_unit_test_setup(detached_it_is_only_told, reset),
                cmocka_unit_test_setup(ctrl_c_leaves_it_alone, reset), /* the last: the flag stays */
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
