/* The whole program: what it asks of an allocator, what it prints, and its exit codes. */
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/text.h"
#include "fake_allocator.h"
#include "unit.h"

static const char *lablink;
static char *state_dir; /* of one test */

struct run {
        struct buf out, err;
        int status;
};

static void run_deinit(struct run *run)
{
        buf_deinit(&run->out);
        buf_deinit(&run->err);
}
#define _cleanup_run_ _cleanup_(run_deinit)

static void on_line(void *userdata, const char *line, bool is_stderr)
{
        struct run *run = userdata;
        buf_addf(is_stderr ? &run->err : &run->out, "%s\n", line);
}

/* lablink --state-dir STATE words..., with nothing on standard input. */
static void lab(struct run *run, const char *words)
{
        _cleanup_strv_ char **list = str_split(words, ' ');
        const char *argv[40] = {lablink, "--state-dir", state_dir};
        size_t n = 3;
        for (char **word = list; *word; word++)
                argv[n++] = *word;
        _cleanup_free_ char *path = xasprintf("PATH=%s:/usr/sbin:/usr/bin:/sbin:/bin", state_dir);
        const char *const env[] = {path, "HOME=/nonexistent", "LSAN_OPTIONS=detect_leaks=1", NULL};
        struct process_io io = {.line = on_line, .userdata = run, .timeout_ms = 120000};
        struct process_spec spec = {.argv = argv, .env = env, .cwd = state_dir};
        _cleanup_error_ struct error error = ERROR_NULL;
        int status = -1;
        run_deinit(run);
        if (process_run(&spec, &io, &status, &error) < 0)
                fail_msg("%s", error_text(&error));
        run->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(const struct run *run, int status, const char *out, const char *err)
{
        if (run->status != status)
                fail_msg("exit %d\n%s%s", run->status, buf_str(&run->out), buf_str(&run->err));
        assert_contains(buf_str(&run->out), out);
        assert_contains(buf_str(&run->err), err);
}

static int begin(void **state _unused_)
{
        state_dir = xstrdup("/tmp/lablink-test-cli-XXXXXX");
        return mkdtemp(state_dir) ? 0 : -1;
}

static int end(void **state _unused_)
{
        int r = dir_remove(state_dir, NULL);
        free(state_dir);
        return r;
}

static void wrong_command_lines(void **state _unused_)
{
        _cleanup_run_ struct run run = {0};
        static const struct {
                const char *words, *err;
        } cases[] = {
                {"lunch 3", "did you mean `launch`?"},
                {"launch", "lablink launch takes N"},
                {"launch 0", "1 or more, not 0"},
                {"launch 3 4", "takes only N"},
                {"launch --detahc 3", "did you mean --detach?"},
                {"vm", "vm needs a verb"},
                {"vm show ../../etc", "is no VM's name"},
                {"vm show a%2fb", "is no VM's name"},
                {"operation watch x", "is no operation's number"},
                {"status --output yaml", "--output takes text or json"},
                {"status --user a", "go with --url"},
                {"status --url ftp://x", "--url takes http://HOST"},
                {"status --url http://a:b@x", "holds a user or password"},
                {"status --url http://127.0.0.1:1", "--url needs --password-file"},
                {"logs a --tail 0", "from 1 to 10000"},
                {"destroy", "wants the word yes and there is no terminal"},
                {"vm release a", "wants the word yes and there is no terminal"},
                {"completion fish", "bash or zsh"},
                {"help lunch", "did you mean `launch`?"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                lab(&run, cases[i].words);
                expect(&run, 2, "", cases[i].err);
        }
}

static void no_allocator(void **state _unused_)
{
        _cleanup_run_ struct run run = {0};
        lab(&run, "status");
        expect(&run, 3, "", "no allocator is listening at ");
        assert_contains(buf_str(&run.err), "/run/admin.sock\n  start it with ");
        lab(&run, "launch 3 --detach");
        expect(&run, 3, "", "no allocator is listening at ");
        _cleanup_free_ char *password = path_join(state_dir, "password");
        assert_int_equal(file_write(password, "x\n", 2, 0600, NULL), 0);
        _cleanup_free_ char *words = xasprintf("status --url http://127.0.0.1:1 --password-file %s", password);
        lab(&run, words);
        expect(&run, 3, "", "no allocator answers at http://127.0.0.1:1");
}

static void status_in_one_look(void **state _unused_)
{
        static const struct fake_answer answers[] = {
                {"GET /admin HTTP", 200,
                 "{\"version\":\"0.1.0\",\"public_url\":\"http://x\",\"uptime_seconds\":200.0,\"counts\":{\"total\":3,"
                 "\"claimable\":2,\"assigned\":1},\"provider\":{\"name\":\"local\",\"code\":\"ready\",\"hint\":\"\","
                 "\"detail\":[\"memory: 4G\"]},\"operation\":{\"id\":7,\"kind\":\"launch\",\"state\":\"running\","
                 "\"progress\":{\"done\":1,\"total\":2}},\"client_auth\":\"token\"}",
                 true},
                {0}};
        _cleanup_run_ struct run run = {0};
        _cleanup_buf_ struct buf requests = BUF_NULL;
        struct fake_allocator fake;
        fake_start(&fake, state_dir, answers);
        lab(&run, "status");
        expect(&run, 0, "up 3 min 20 s\n", "");
        assert_contains(buf_str(&run.out), "VMs          3: 2 claimable, 1 assigned\n");
        assert_contains(buf_str(&run.out), "local, ready\n");
        assert_contains(buf_str(&run.out), "memory: 4G\n");
        assert_contains(buf_str(&run.out), "launch 7 is running, 1 of 2; `lablink operation watch 7` shows it\n");
        lab(&run, "-o json status");
        expect(&run, 0, "\"public_url\":\"http://x\"", "");
        fake_stop(&fake, &requests);
        assert_contains(buf_str(&requests), "Accept: application/json\r\n");
        assert_null(strcasestr(buf_str(&requests), "Authorization"));
}

#define OPERATION(state) \
        "{\"operation\":{\"id\":7,\"kind\":\"launch\",\"state\":\"" state "\",\"progress\":{\"done\":2,\"total\":2}," \
        "\"error\":null}}"

static void launch_is_watched_over_a_restart(void **state _unused_)
{
        static const struct fake_answer answers[] = {
                {"POST /api/launch HTTP", 0, NULL}, /* the connection breaks: sent again with the same key */
                {"POST /api/launch HTTP", 202, OPERATION("queued")},
                {"GET /api/operations/7 HTTP", 200, OPERATION("running")},
                {"GET /api/operations/7/output?after=0 HTTP", 200, "event: line\nid: 1\ndata: making a\n\n"},
                {"GET /api/operations/7 HTTP", 200, OPERATION("running")},
                {"GET /api/operations/7/output?after=1 HTTP", 503, "{\"error\":\"Not now.\",\"code\":\"busy\"}"},
                {"GET /api/operations/7/output?after=1 HTTP", 200,
                 ": still here\n\nevent: line\nid: 2\ndata: making b\n\nevent: end\ndata: \n\n"},
                {"GET /api/operations/7 HTTP", 200, OPERATION("done")},
                {0}};
        _cleanup_run_ struct run run = {0};
        _cleanup_buf_ struct buf requests = BUF_NULL;
        struct fake_allocator fake;
        fake_start(&fake, state_dir, answers);
        lab(&run, "launch 2");
        fake_stop(&fake, &requests);
        expect(&run, 0, "launch 7 is accepted\nmaking a\nmaking b\nlaunch 7: done\n", "");
        char *first = strstr(buf_str(&requests), "Idempotency-Key: ");
        char *second = first ? strstr(first + 1, "Idempotency-Key: ") : NULL;
        assert_non_null(second);
        assert_memory_equal(first, second, 17 + 43);
        assert_contains(first, "{\"num_vms\":2}");
        assert_contains(buf_str(&requests), "Accept: text/event-stream\r\n");
}

static void a_failed_launch_exits_with_4(void **state _unused_)
{
        static const struct fake_answer answers[] = {
                {"POST /api/launch HTTP", 202, OPERATION("queued")},
                {"GET /api/operations/7 HTTP", 200,
                 "{\"operation\":{\"id\":7,\"kind\":\"launch\",\"state\":\"failed\",\"error\":\"no capacity\"}}", true},
                {"GET /api/operations/7/output?after=0 HTTP", 200, "event: end\ndata: \n\n"},
                {0}};
        _cleanup_run_ struct run run = {0};
        struct fake_allocator fake;
        fake_start(&fake, state_dir, answers);
        lab(&run, "launch 2 --output json -q");
        fake_stop(&fake, NULL);
        expect(&run, 4, "\"state\":\"failed\"", "lablink: launch 7 failed: no capacity\n");
        _cleanup_json_ json_t *answer = json_loads(buf_str(&run.out), 0, NULL);
        assert_non_null(answer);
}

static void refusals_are_told_with_a_hint(void **state _unused_)
{
        static const struct fake_answer answers[] = {
                {"POST /destroy HTTP", 409,
                 "{\"error\":\"A launch is running.\",\"code\":\"operation-running\",\"operation\":{\"id\":9}}"},
                {"GET /api/vm-logs/a?after=0 HTTP", 404, "{\"error\":\"VM not found.\",\"code\":\"unknown-vm\"}"},
                {"GET /admin HTTP", 403, "{\"error\":\"Only root.\",\"code\":\"not-the-owner\"}"},
                {"GET /admin/instances HTTP", 200, "<html>"},
                {0}};
        _cleanup_run_ struct run run = {0};
        struct fake_allocator fake;
        fake_start(&fake, state_dir, answers);
        lab(&run, "destroy --yes");
        expect(&run, 1, "", "lablink: A launch is running.\n  `lablink operation watch 9` shows it");
        lab(&run, "logs a");
        expect(&run, 1, "", "VM not found.\n  `lablink vm list` shows the names");
        lab(&run, "status");
        expect(&run, 1, "", "Only root.\n  the socket answers root");
        lab(&run, "vm list");
        expect(&run, 1, "", "gave no JSON");
        fake_stop(&fake, NULL);
}

#define VMS \
        "{\"instances\":[{\"hostname\":\"vm-1\",\"status\":\"assigned\",\"email\":\"a\\u001b[2J@b\",\"in_use\":true," \
        "\"healthy\":null,\"last_seen\":null,\"created_at\":\"2026-01-01T00:00:00Z\"}]}"

static void vms(void **state _unused_)
{
        static const struct fake_answer answers[] = {
                {"GET /admin/instances HTTP", 200, VMS, true},
                {"POST /api/admin/vms/vm-1/release HTTP", 200,
                 "{\"vm\":{\"hostname\":\"vm-1\",\"launched\":true},\"operation\":null}"},
                {0}};
        _cleanup_run_ struct run run = {0};
        _cleanup_buf_ struct buf requests = BUF_NULL;
        struct fake_allocator fake;
        fake_start(&fake, state_dir, answers);
        lab(&run, "vm list");
        expect(&run, 0, "vm-1  assigned  a\\x1b[2J@b  yes     N/A  -     ", "");
        lab(&run, "vm show vm-1");
        expect(&run, 0, "hostname    vm-1\n", "");
        lab(&run, "vm show vm-2");
        expect(&run, 1, "", "no VM is called vm-2\n  `lablink vm list` shows the names\n");
        lab(&run, "vm release vm-1 --yes");
        expect(&run, 0, "nobody has the seat on vm-1 any more", "");
        fake_stop(&fake, &requests);
        assert_contains(buf_str(&requests), "{\"yes\":true}");
}

static void logs_come_in_pieces(void **state _unused_)
{
        static const struct fake_answer answers[] = {
                {"GET /api/vm-logs/vm-1?after=0 HTTP", 200, "{\"hostname\":\"vm-1\",\"logs\":\"a\\nb\\n\",\"last\":2}",
                 true},
                {"GET /api/vm-logs/vm-1?after=2 HTTP", 200,
                 "{\"hostname\":\"vm-1\",\"logs\":\"c\\u001b\\n\",\"last\":3}", true},
                {"GET /api/vm-logs/vm-1?after=3 HTTP", 200, "{\"hostname\":\"vm-1\",\"logs\":\"\",\"last\":3}", true},
                {"GET /api/vm-logs/vm-1?tail=1 HTTP", 200, "{\"hostname\":\"vm-1\",\"logs\":\"c\\n\",\"last\":3}",
                 true},
                {0}};
        _cleanup_run_ struct run run = {0};
        struct fake_allocator fake;
        fake_start(&fake, state_dir, answers);
        lab(&run, "logs vm-1");
        expect(&run, 0, "", "");
        assert_string_equal(buf_str(&run.out), "a\nb\nc\\x1b\n");
        lab(&run, "logs vm-1 -n 1");
        assert_string_equal(buf_str(&run.out), "c\n");
        lab(&run, "logs vm-1 -o json");
        _cleanup_json_ json_t *answer = json_loads(buf_str(&run.out), 0, NULL);
        assert_string_equal(json_get_string(answer, "logs"), "a\nb\nc\x1b\n");
        assert_int_equal(json_integer_value(json_object_get(answer, "last")), 3);
        fake_stop(&fake, NULL);
}

static void changes_are_shown_once(void **state _unused_)
{
        static const char first[] = "event: vm\ndata: {\"hostname\":\"vm-1\",\"status\":\"running\"}\n\n";
        static const char second[] =
                "event: vm\ndata: {\"hostname\":\"vm-1\",\"status\":\"running\",\"last_seen\":1}\n\n"
                "event: counts\ndata: {}\n\n"
                "event: gone\ndata: {\"hostname\":\"vm-1\"}\n\n";
        static const struct fake_answer answers[] = {
                {"GET /api/events HTTP", 200, first},
                {"GET /api/events HTTP", 200, second},
                {"GET /api/events HTTP", 403, "{\"error\":\"No.\",\"code\":\"x\"}"},
                {0}};
        _cleanup_run_ struct run run = {0};
        struct fake_allocator fake;
        fake_start(&fake, state_dir, answers);
        lab(&run, "vm watch");
        fake_stop(&fake, NULL);
        expect(&run, 1, "  vm-1  running\n", "No.");
        assert_contains(buf_str(&run.out), "  vm-1  gone\n");
        assert_int_equal(run.out.len, strlen("00:00:00  vm-1  running\n00:00:00  vm-1  gone\n"));
}

static void from_elsewhere_with_a_password(void **state _unused_)
{
        static const struct fake_answer answers[] = {
                {"GET /api/operations HTTP", 200, "{\"operations\":[]}", true},
                {"GET /admin HTTP", 401, "{\"error\":\"Please log in.\",\"code\":\"log-in\"}"},
                {0}};
        _cleanup_run_ struct run run = {0};
        _cleanup_buf_ struct buf requests = BUF_NULL;
        _cleanup_free_ char *password = path_join(state_dir, "password");
        struct fake_allocator fake;
        assert_int_equal(file_write(password, "secret\n", 7, 0600, NULL), 0);
        fake_start(&fake, state_dir, answers);
        _cleanup_free_ char *words = xasprintf("operation list --url http://127.0.0.1:%d/ --password-file %s",
                                               fake.port, password);
        lab(&run, words);
        expect(&run, 0, "there was no operation yet\n", "");
        _cleanup_free_ char *refused = xasprintf("status --url http://127.0.0.1:%d --user me --password-file %s",
                                                 fake.port, password);
        lab(&run, refused);
        expect(&run, 1, "", "Please log in.\n  `lablink admin password`");
        fake_stop(&fake, &requests);
        assert_contains(buf_str(&requests), "GET /api/operations HTTP/1.1\r\n");
        assert_contains(buf_str(&requests), "Authorization: Basic YWRtaW46c2VjcmV0\r\n"); /* admin:secret */
        assert_contains(buf_str(&requests), "Authorization: Basic bWU6c2VjcmV0\r\n");     /* me:secret */
}

static void facts_beside_the_allocator(void **state _unused_)
{
        _cleanup_run_ struct run run = {0};
        _cleanup_free_ char *path = path_join(state_dir, "admin-password");
        lab(&run, "admin password");
        expect(&run, 1, "", "no generated password in ");
        assert_int_equal(file_write(path, "abcd-efgh\n", 10, 0600, NULL), 0);
        lab(&run, "admin password");
        expect(&run, 0, "", "");
        assert_string_equal(buf_str(&run.out), "abcd-efgh\n");
        lab(&run, "admin password -o json");
        assert_string_equal(buf_str(&run.out), "{\"password\":\"abcd-efgh\"}\n");
        lab(&run, "admin password --set app.admin_password=mine");
        expect(&run, 1, "", "comes from the configuration");
        assert_null(strstr(buf_str(&run.err), "mine"));
        lab(&run, "db url");
        expect(&run, 0, "lablink_db", "");
        assert_contains(buf_str(&run.out), state_dir);
        lab(&run, "db url --set db.url=postgresql://u:geheim@h:1/d");
        expect(&run, 0, "host='h'", "");
        assert_null(strstr(buf_str(&run.out), "geheim"));
        lab(&run, "db url --secrets --set db.url=postgresql://u:geheim@h:1/d");
        expect(&run, 0, "geheim", "");
}

static void configuration(void **state _unused_)
{
        _cleanup_run_ struct run run = {0};
        lab(&run, "config show --set db.password=geheim --set provider.vms_max=7");
        expect(&run, 0, "provider.vms_max", "");
        assert_null(strstr(buf_str(&run.out), "geheim"));
        lab(&run, "config check");
        expect(&run, 0, "the configuration is good", "");
        lab(&run, "config check --set listen.address=0.0.0.0:5000");
        expect(&run, 1, "", "an allocator would not start");
        lab(&run, "config show --set provider.vms_max=many");
        expect(&run, 1, "", "vms_max");
}

static void the_runner_enters_vms(void **state _unused_)
{
        static const char script[] = "#!/bin/sh\nfor word; do echo \"<$word>\"; done\nexit 37\n";
        _cleanup_run_ struct run run = {0};
        if (geteuid() != 0) {
                lab(&run, "vm shell vm-1");
                expect(&run, 1, "", "only root");
                skip();
        }
        _cleanup_free_ char *runner = path_join(state_dir, "lablink-runner");
        lab(&run, "vm exec vm-1 -- ls");
        expect(&run, 1, "", "cannot start lablink-runner");
        assert_int_equal(file_write(runner, script, strlen(script), 0755, NULL), 0);
        lab(&run, "--set a.b=c vm exec vm-1 --root -- ls --all -- x");
        expect(&run, 37, "", "");
        _cleanup_free_ char *expected = xasprintf(
                "<--state-dir>\n<%s>\n<--set>\n<a.b=c>\n<vm>\n<exec>\n<--root>\n<vm-1>\n"
                "<-->\n<ls>\n<--all>\n<-->\n<x>\n",
                state_dir);
        assert_string_equal(buf_str(&run.out), expected);
        lab(&run, "vm shell vm-1");
        expect(&run, 37, "<vm>\n<shell>\n<vm-1>\n", "");
        lab(&run, "vm shell vm-1 --url http://x");
        expect(&run, 2, "", "on the machine of the lab");
}

static void doctor_says_what_to_do(void **state _unused_)
{
        static const struct fake_answer answers[] = {
                {"GET /readyz HTTP", 503,
                 "{\"status\":\"not-ready\",\"database\":{\"code\":\"not-connected\",\"hint\":\"it sleeps\"},"
                 "\"listener\":{\"code\":\"ready\",\"hint\":\"\"},\"provider\":{\"code\":\"needs-root\",\"hint\":"
                 "\"sudo\"}}",
                 true},
                {0}};
        _cleanup_run_ struct run run = {0};
        struct fake_allocator fake;
        lab(&run, "doctor");
        expect(&run, 1, "no allocator is listening at ", "");
        fake_start(&fake, state_dir, answers);
        lab(&run, "doctor");
        fake_stop(&fake, NULL);
        expect(&run, 1, "not-connected: it sleeps\n", "");
        assert_contains(buf_str(&run.out), "needs-root: sudo\n");
        assert_contains(buf_str(&run.out), "LabLink");
}

/* The script is run by bash with words as its completion would get them. */
static void completion(void **state _unused_)
{
        _cleanup_run_ struct run run = {0}, bash = {0};
        lab(&run, "completion zsh");
        expect(&run, 0, "bashcompinit", "");
        lab(&run, "completion bash");
        expect(&run, 0, "complete -F _lablink lablink\n", "");
        if (access("/bin/bash", X_OK) < 0)
                skip();
        buf_adds(&run.out, "ask() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _lablink; "
                           "echo \"${COMPREPLY[*]}\"; }\n"
                           "lablink() { echo 'NAME STATUS'; echo 'vm-1 running'; }\n"
                           "ask lablink la\nask lablink vm sh\nask lablink vm show ''\nask lablink launch --de\n"
                           "ask lablink vm list -o ''\nask lablink help op\nask lablink completion ''\n");
        struct process_io io = {
                .line = on_line, .userdata = &bash, .input = buf_str(&run.out), .input_len = run.out.len};
        int status;
        struct process_spec spec = {.argv = (const char *const[]){"/bin/bash", "-s", NULL}};
        assert_int_equal(process_run(&spec, &io, &status, NULL), 0);
        assert_string_equal(buf_str(&bash.err), "");
        assert_string_equal(buf_str(&bash.out), "launch\nshow shell\nvm-1\n--detach\ntext json\noperation\nbash zsh\n");
}

static void help_and_manual(void **state _unused_)
{
        _cleanup_run_ struct run run = {0};
        lab(&run, "--help");
        expect(&run, 0, "  launch N [--detach] ", "");
        lab(&run, "help vm exec");
        expect(&run, 0, "Usage: lablink vm exec NAME [--root] -- COMMAND", "");
        lab(&run, "vm exec --help");
        expect(&run, 0, "Usage: lablink vm exec NAME [--root] -- COMMAND", "");
        lab(&run, "--version");
        expect(&run, 0, "lablink ", "");
        lab(&run, "--man");
        expect(&run, 0, ".TH \"lablink\" 1 ", "");
        assert_contains(buf_str(&run.out), "\\fBvm release\\fR");
}

#define in_state(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                in_state(wrong_command_lines),
                in_state(no_allocator),
                in_state(status_in_one_look),
                in_state(launch_is_watched_over_a_restart),
                in_state(a_failed_launch_exits_with_4),
                in_state(refusals_are_told_with_a_hint),
                in_state(vms),
                in_state(logs_come_in_pieces),
                in_state(changes_are_shown_once),
                in_state(from_elsewhere_with_a_password),
                in_state(facts_beside_the_allocator),
                in_state(configuration),
                in_state(the_runner_enters_vms),
                in_state(doctor_says_what_to_do),
                in_state(completion),
                in_state(help_and_manual),
        };
        if (argc != 2)
                return 2;
        _cleanup_free_ char *program = realpath(argv[1], NULL); /* it is run from elsewhere */
        lablink = str_or(program, argv[1]);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
