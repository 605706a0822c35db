/*
 * The parts of the provider `terraform` that need no engine: quoting, the state, the guard over plans, the engine's words.
 * tests/e2e/test_cloud.py drives the whole with a real one.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "provider/terraform/internal.h"
#include "provider/terraform/terraform.h"

static void quotes(void **state _unused_)
{
        static const struct {
                const char *from, *to;
        } rows[] = {
                {"", "\"\""},
                {"plain", "\"plain\""},
                {"a\"b\\c", "\"a\\\"b\\\\c\""},
                {"l1\nl2\r\tx", "\"l1\\nl2\\r\\tx\""},
                {"${x}", "\"\\u0024{x}\""},
                {"%{if}", "\"\\u0025{if}\""},
                {"$${x}", "\"\\u0024\\u0024{x}\""},
                {"100% $5 {}", "\"100% $5 {}\""},
                {"\001\177", "\"\\u0001\\u007f\""},
                {"\xc3\xa9", "\"\xc3\xa9\""},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_buf_ struct buf out = BUF_NULL;
                hcl_quote(rows[i].from, &out);
                assert_string_equal(buf_str(&out), rows[i].to);
        }
}

static int check(const char *text, const char *replace)
{
        _cleanup_json_ json_t *plan = json_loads(text, 0, NULL);
        return plan_check(plan, "dev", replace, NULL);
}

#define PLAN(changes) "{\"format_version\":\"1.2\",\"resource_changes\":[" changes "]}"
#define CHANGE(address, name, index, actions) \
        "{\"address\":\"" address "\",\"name\":\"" name "\",\"index\":" index ",\"change\":{\"actions\":[" actions "]}}"
#define VM(index, actions) CHANGE("x.lablink_vm[" index "]", "lablink_vm", index, actions)

static void guards(void **state _unused_)
{
        const char *one = "x.lablink_vm[1]";
        assert_int_equal(check(PLAN(""), NULL), 0);
        assert_int_equal(check("{\"format_version\":\"1.2\"}", NULL), 0);
        assert_int_equal(check(PLAN(VM("0", "\"no-op\"") "," VM("1", "\"create\"")), NULL), 0);
        assert_int_equal(check(PLAN(VM("0", "\"update\"")), NULL), 0);
        assert_int_equal(check(PLAN(VM("0", "\"delete\"")), NULL), -EPERM);
        assert_int_equal(check(PLAN(VM("0", "\"delete\",\"create\"")), NULL), -EPERM);
        assert_int_equal(check(PLAN(VM("0", "\"create\",\"delete\"")), NULL), -EPERM);
        assert_int_equal(check(PLAN(VM("0", "\"forget\"")), NULL), -EPERM);
        assert_int_equal(check(PLAN(CHANGE("x.key", "key", "null", "\"delete\"")), NULL), -EPERM);
        /* one that is made anew, what belongs to it, and nothing else */
        assert_int_equal(check(PLAN(VM("1", "\"delete\",\"create\"")), one), 0);
        assert_int_equal(
                check(PLAN(VM("1", "\"delete\",\"create\"") "," CHANGE("x.ip[1]", "ip", "1", "\"delete\"")), one), 0);
        assert_int_equal(
                check(PLAN(VM("1", "\"delete\",\"create\"") "," CHANGE("x.ip[0]", "ip", "0", "\"delete\"")), one),
                -EPERM);
        assert_int_equal(check(PLAN(VM("1", "\"delete\",\"create\"") "," VM("0", "\"delete\"")), one), -EPERM);
        assert_int_equal(
                check(PLAN(VM("1", "\"delete\",\"create\"") "," CHANGE("x.key", "key", "null", "\"delete\"")), one),
                -EPERM);
        /* what is no plan is no leave */
        assert_int_equal(check("{}", NULL), -EINVAL);
        assert_int_equal(check("[]", NULL), -EINVAL);
        assert_int_equal(check("{\"format_version\":\"1.2\",\"resource_changes\":5}", NULL), -EINVAL);
        assert_int_equal(plan_check(NULL, "dev", NULL, NULL), -EINVAL);
}

static const char some_state[] =
        "{\"version\":4,\"outputs\":{\"vm_instance_names\":{\"value\":[\"lablink-vm-dev-1\",\"lablink-vm-dev-3\"]},"
        "\"vm_public_ips\":{\"value\":[\"192.0.2.1\",\"192.0.2.3\"]},"
        "\"instance_terraform_apply_times\":{\"value\":{\"lablink-vm-dev-1\":{\"start_time\":\"2026-01-01T00:00:00Z\","
        "\"end_time\":\"2026-01-01T00:01:30+00:00\"},\"lablink-vm-dev-3\":{\"start_time\":7}}}},"
        "\"resources\":[{\"mode\":\"data\",\"name\":\"lablink_vm\",\"type\":\"x\",\"instances\":[{\"index_key\":7}]},"
        "{\"mode\":\"managed\",\"name\":\"other\",\"type\":\"x\",\"instances\":[{\"index_key\":8}]},"
        "{\"mode\":\"managed\",\"name\":\"lablink_vm\",\"type\":\"aws_instance\",\"instances\":["
        "{\"index_key\":2},{\"index_key\":0,\"status\":\"tainted\"},{\"index_key\":5,\"deposed\":\"ab\"}]}]}";

static void reads_state(void **unused _unused_)
{
        _cleanup_state_ struct tf_state state = {0};
        double started, ended;
        assert_int_equal(state_parse(some_state, strlen(some_state), "dev", &state, NULL), 0);
        assert_int_equal(state.n, 2);
        assert_int_equal(state.last, 2);
        assert_string_equal(state.vm[0].hostname, "lablink-vm-dev-1");
        assert_string_equal(state.vm[0].target, "aws_instance.lablink_vm[0]");
        assert_true(state.vm[0].tainted && !state.vm[1].tainted);
        assert_string_equal(state_output_of(&state, "vm_public_ips", "lablink-vm-dev-3"), "192.0.2.3");
        assert_null(state_output_of(&state, "vm_public_ips", "lablink-vm-dev-2"));
        assert_true(state_times(&state, "lablink-vm-dev-1", &started, &ended));
        assert_true(ended - started > 89.9 && ended - started < 90.1);
        assert_false(state_times(&state, "lablink-vm-dev-3", &started, &ended));
        assert_null(state_find(&state, "lablink-vm-dev-2"));
}

static void refuses_states(void **unused _unused_)
{
        static const char *const bad[] = {"[]", "{", "nonsense", "{\"version\":3}", "{\"version\":\"4\"}"};
        static const char *const empty[] = {
                "", "\n", "{\"version\":4}", "{\"version\":4,\"resources\":{},\"outputs\":[]}",
                "{\"version\":4,\"resources\":[3,{\"mode\":\"managed\",\"name\":\"lablink_vm\"}]}"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_state_ struct tf_state state = {0};
                assert_true(state_parse(bad[i], strlen(bad[i]), "dev", &state, NULL) < 0);
        }
        for (size_t i = 0; i < ARRAY_SIZE(empty); i++) {
                _cleanup_state_ struct tf_state state = {0};
                assert_int_equal(state_parse(empty[i], strlen(empty[i]), "dev", &state, NULL), 0);
                assert_int_equal(state.n, 0);
        }
}

/* --- the engine's words --------------------------------------------------------------------------------------------- */

struct heard {
        struct buf lines;
        int done, total, created;
        double seconds;
};

static void on_line(void *userdata, const char *text)
{
        buf_addf(&((struct heard *)userdata)->lines, "%s\n", text);
}

static void on_progress(void *userdata, int done, int total)
{
        ((struct heard *)userdata)->done = done;
        ((struct heard *)userdata)->total = total;
}

static void on_created(void *userdata, const char *hostname, double started, double ended)
{
        struct heard *heard = userdata;
        assert_string_equal(hostname, "lablink-vm-dev-4");
        heard->created++;
        heard->seconds = ended - started;
}

#define MESSAGE(type, time, more) \
        "{\"@level\":\"info\",\"@message\":\"words of " type "\",\"@timestamp\":\"2026-01-01T00:00:" time \
        ".5Z\",\"type\":\"" type "\"" more "}"
#define HOOK(name, key, action) \
        ",\"hook\":{\"resource\":{\"resource_name\":\"" name "\",\"resource_key\":" key "},\"action\":\"" action "\"}"

static void hears(struct tf_stream *s, const char *line)
{
        tf_stream_line(s, line, strlen(line), false);
}

static void follows_an_apply(void **state _unused_)
{
        struct heard heard = {0};
        struct provider_sink sink = {
                .line = on_line, .progress = on_progress, .created = on_created, .userdata = &heard};
        _cleanup_json_ json_t *tokens = json_pack("{s:s}", "lablink-vm-dev-4", "SECRETsecretSECRET");
        _cleanup_stream_ struct tf_stream s = {.sink = &sink, .environment = "dev", .total = 2, .tokens = tokens};
        hears(&s, MESSAGE("version", "00", ""));
        hears(&s, MESSAGE("apply_start", "01", HOOK("lablink_vm", "3", "create")));
        hears(&s, MESSAGE("apply_complete", "02", HOOK("other", "3", "create")));
        hears(&s, MESSAGE("apply_complete", "11", HOOK("lablink_vm", "3", "create")));
        hears(&s, "plain \033[1mSECRETsecretSECRET\033[0m");
        hears(&s, "\033[31mhidden SECRET\033[0msecretSECRET");
        hears(&s, "\033]0;t\007\033[1;31mred\033[0m\033[2J");
        hears(&s, "{\"type\":5}");
        hears(&s, "{ half");
        hears(&s, "");
        tf_stream_end(&s);
        assert_int_equal(heard.created, 1);
        assert_true(heard.seconds > 9.9 && heard.seconds < 10.1);
        assert_int_equal(heard.done, 1);
        assert_int_equal(heard.total, 2);
        assert_string_equal(
                buf_str(&heard.lines),
                "words of apply_start\nwords of apply_complete\nwords of apply_complete\n"
                "plain ******************\nhidden ******************\n\033[0;1;31mred\033[0m\n{\"type\":5}\n{ half\n");
        buf_deinit(&heard.lines);
}

static void tells_trouble(void **state _unused_)
{
        struct heard heard = {0};
        struct provider_sink sink = {.line = on_line, .userdata = &heard};
        _cleanup_stream_ struct tf_stream s = {.sink = &sink, .environment = "dev"};
        hears(&s,
              "{\"@message\":\"Error: x\",\"type\":\"diagnostic\",\"diagnostic\":{\"severity\":\"error\",\"summary\":"
              "\"Error acquiring the state lock\",\"detail\":\"locked RequestID: 7\\n\\nLock Info:\\n  ID:        3e6b-77\\n  Path: p\","
              "\"address\":\"a.b[0]\",\"range\":{\"filename\":\"main.tf\",\"start\":{\"line\":7}}}}");
        tf_stream_line(&s, "\xe2\x95\xb7", 3, true);
        tf_stream_line(&s, "panic \033[5m!", 11, true);
        assert_string_equal(s.lock_id, "3e6b-77");
        assert_string_equal(buf_str(&s.trouble), "Error acquiring the state lock: locked RequestID: 7; panic !");
        assert_non_null(strstr(buf_str(&heard.lines), "    (a.b[0], main.tf line 7)\n"));
        buf_deinit(&heard.lines);
}

static void limits_output(void **state _unused_)
{
        struct heard heard = {0};
        struct provider_sink sink = {.line = on_line, .userdata = &heard};
        _cleanup_stream_ struct tf_stream s = {.sink = &sink, .environment = "dev"};
        _cleanup_free_ char *wide = xmalloc(100001);
        memset(wide, 'x', 100000);
        wide[100000] = '\0';
        hears(&s, wide);
        assert_true(heard.lines.len < 5000);
        for (int i = 0; i < 30000; i++)
                hears(&s, "line");
        tf_stream_end(&s);
        assert_true(heard.lines.len < 20000 * 5 + 6000);
        assert_non_null(strstr(buf_str(&heard.lines), "(10001 more lines of output were left out)"));
        buf_deinit(&heard.lines);
}

/* --- beside an engine at work --------------------------------------------------------------------------------------- */

static const char state_text[] =
        "{\"version\":4,\"outputs\":{\"vm_instance_names\":{\"value\":[\"lablink-vm-dev-1\"]},"
        "\"vm_public_ips\":{\"value\":[\"192.0.2.1\"]}},\"resources\":[{\"mode\":\"managed\",\"type\":\"x\","
        "\"name\":\"lablink_vm\",\"instances\":[{\"index_key\":0,\"attributes\":{}}]}]}";

struct place {
        char directory[32];
        char *module, *engine;
        struct config *config;
};

static void write_at(const char *path, const char *text, mode_t mode)
{
        assert_int_equal(file_write(path, text, strlen(text), mode, NULL), 0);
}

/* An engine that knows one VM, in a state that it must be asked for. */
static void place_make(struct place *place)
{
        _cleanup_buf_ struct buf problems = BUF_NULL;
        *place = (struct place){.directory = "/tmp/lablink-test-XXXXXX"};
        assert_non_null(mkdtemp(place->directory));
        place->module = path_join(place->directory, "module");
        place->engine = path_join(place->directory, "engine");
        assert_int_equal(dir_make(place->module, 0700, NULL), 0);
        _cleanup_free_ char *main_tf = path_join(place->module, "main.tf");
        write_at(main_tf, "variable \"vm_tokens\" {}\n", 0600);
        _cleanup_free_ char *script = xasprintf("#!/bin/sh\n[ \"$1\" = state ] || exec mkdir -p \"$TF_DATA_DIR\"\n"
                                                "echo pulled >>\"${0%%/*}/pulled\"\n"
                                                "echo '%s'\n",
                                                state_text);
        write_at(place->engine, script, 0700);
        _cleanup_free_ char *directory = xasprintf("terraform.directory=%s", place->module);
        _cleanup_free_ char *engine = xasprintf("terraform.engine=%s", place->engine);
        const char *sets[] = {
                "provider.kind=terraform", "terraform.state=module", "environment=dev", directory, engine, NULL};
        struct config_input input = {.sets = sets, .state_dir = place->directory};
        if (config_load(&input, &place->config, &problems) < 0)
                fail_msg("%s", buf_str(&problems));
}

static void place_clear(struct place *place)
{
        config_free(place->config);
        free(place->module);
        free(place->engine);
        assert_int_equal(dir_remove(place->directory, NULL), 0);
}

/* Collecting, and entering a VM, go on beside a launch: they must not pull the module from under its engine. */
static void leaves_an_engine_its_module(void **state _unused_)
{
        struct place place;
        struct provider *working = NULL, *looking = NULL;
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_state_ struct tf_state known = {.last = -1};
        _cleanup_reach_ struct provider_reach reach = {0};
        _cleanup_close_ int lock = open("/dev/null", O_RDONLY | O_CLOEXEC);
        place_make(&place);
        assert_int_equal(terraform_provider.open(place.config, &working, &error), 0);
        terraform_provider.equip(working, &(struct provider_means){.lock_fd = lock});
        if (state_read(working, &known, &error) < 0)
                fail_msg("%s", error_text(&error));
        assert_int_equal(known.n, 1);
        _cleanup_free_ char *plan = path_join(working->work, "launch.plan");
        write_at(plan, "of an apply that runs", 0600);
        assert_int_equal(terraform_provider.open(place.config, &looking, &error), 0);
        if (terraform_provider.reach(looking, known.vm[0].hostname, &reach, &error) < 0)
                fail_msg("%s", error_text(&error));
        assert_string_equal(reach.address, "192.0.2.1");
        assert_int_equal(access(plan, F_OK), 0);
        /* and they ask for one VM after the other: the engine is not asked for each */
        for (int i = 0; i < 20; i++) {
                provider_reach_clear(&reach);
                assert_int_equal(terraform_provider.reach(looking, known.vm[0].hostname, &reach, &error), 0);
        }
        _cleanup_free_ char *pulls = path_join(place.directory, "pulled");
        _cleanup_buf_ struct buf pulled = BUF_NULL;
        assert_int_equal(file_read(pulls, 4096, &pulled, NULL), 0);
        assert_true(pulled.len < 10 * strlen("pulled\n"));
        terraform_provider.close(working);
        terraform_provider.close(looking);
        place_clear(&place);
}

/* A machine that was ended outside is made again under its name, with a host key of its own. */
static void forgets_keys_of_earlier_machines(void **state _unused_)
{
        struct place place;
        struct provider *p = NULL;
        struct provider_order order = {.hostname = "lablink-vm-dev-2", .token = "token"};
        place_make(&place);
        assert_int_equal(terraform_provider.open(place.config, &p, NULL), 0);
        _cleanup_free_ char *hosts = path_join(p->dir, "known_hosts");
        _cleanup_free_ char *stays = path_join(hosts, "lablink-vm-dev-1"), *goes = path_join(hosts, order.hostname);
        assert_int_equal(dir_make(p->dir, 0700, NULL), 0);
        assert_int_equal(dir_make(hosts, 0700, NULL), 0);
        write_at(stays, "key", 0600);
        write_at(goes, "key", 0600);
        assert_true(terraform_provider.launch(p, &order, 1, NULL, NULL) < 0); /* its plan is no plan */
        assert_int_equal(access(stays, F_OK), 0);
        assert_true(access(goes, F_OK) < 0);
        terraform_provider.close(p);
        place_clear(&place);
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(quotes),
                                           cmocka_unit_test(guards),
                                           cmocka_unit_test(reads_state),
                                           cmocka_unit_test(refuses_states),
                                           cmocka_unit_test(follows_an_apply),
                                           cmocka_unit_test(tells_trouble),
                                           cmocka_unit_test(limits_output),
                                           cmocka_unit_test(leaves_an_engine_its_module),
                                           cmocka_unit_test(forgets_keys_of_earlier_machines)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
