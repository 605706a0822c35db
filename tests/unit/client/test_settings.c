/* Where the agent's settings come from and which are refused. */
#include "place.h"

#include <string.h>

#include "client/settings.h"

#define BASE_ENV "VM_NAME=vm-1", "ALLOCATOR_URL=http://lab.example:5000/"

static int load(const char *const *environment, const char *const *words, struct settings *ret, struct buf *problems)
{
        return settings_load(&(struct settings_input){.file = "/dev/null", .environment = environment, .words = words},
                             ret, problems);
}

static void test_environment(void **state _unused_)
{
        _cleanup_(settings_deinit) struct settings s = {0};
        _cleanup_buf_ struct buf problems = BUF_NULL;
        const char *const environment[] = {BASE_ENV,
                                           "SUBJECT_SOFTWARE=sleap",
                                           "LABLINK_CLIENT_LOG_FILES=/a,/b",
                                           "CLOUD_INIT_LOG_GROUP=group",
                                           "LABLINK_CLIENT_TOKEN=secret",
                                           NULL};
        assert_int_equal(load(environment, NULL, &s, &problems), 0);
        assert_string_equal(s.url, "http://lab.example:5000");
        assert_null(s.socket);
        assert_string_equal(s.hostname, "vm-1");
        assert_string_equal(s.software, "sleap");
        assert_string_equal(s.log_group, "group");
        assert_string_equal(s.token, "secret");
        assert_string_equal(s.log_files[1], "/b");
        assert_null(s.log_files[2]);
        assert_int_equal(s.heartbeat_ms, 10000);
        assert_int_equal(s.inuse_ms, 20000);
}

static void test_deployed_words(void **state _unused_)
{
        _cleanup_(settings_deinit) struct settings s = {0};
        _cleanup_buf_ struct buf problems = BUF_NULL;
        const char *const words[] = {"allocator.host=.lab.example", "allocator.port=80", "client.software=sleap", NULL};
        assert_int_equal(load((const char *const[]){"VM_NAME=vm-1", NULL}, words, &s, &problems), 0);
        assert_string_equal(s.url, "http://lab.example:80");
        assert_string_equal(s.software, "sleap");
        assert_null(s.token);
}

/* $ALLOCATOR_URL is nearer to the truth than the words: deployed services have both. */
static void test_order(void **state _unused_)
{
        _cleanup_(settings_deinit) struct settings s = {0};
        _cleanup_buf_ struct buf problems = BUF_NULL;
        const char *const words[] = {"allocator.host=other", "client.software=words", NULL};
        assert_int_equal(load((const char *const[]){BASE_ENV, "SUBJECT_SOFTWARE=env", NULL}, words, &s, &problems), 0);
        assert_string_equal(s.url, "http://lab.example:5000");
        assert_string_equal(s.software, "env");
}

static void test_file(void **state)
{
        _cleanup_(settings_deinit) struct settings s = {0};
        _cleanup_buf_ struct buf problems = BUF_NULL;
        place_write(*state, "client.yaml",
                    "client:\n  url: unix:/run/lablink/allocator.sock\n  hostname: vm-2\n  heartbeat: 5s\n", 0600);
        struct settings_input input = {.file = place_path(*state, "client.yaml"),
                                       .environment = (const char *const[]){BASE_ENV, NULL},
                                       .hostname = "vm-3"};
        assert_int_equal(settings_load(&input, &s, &problems), 0);
        assert_string_equal(s.socket, "/run/lablink/allocator.sock");
        assert_string_equal(s.hostname, "vm-3");
        assert_int_equal(s.heartbeat_ms, 5000);
}

static const struct url {
        const char *text, *url, *socket; /* both NULL: refused */
} urls[] = {
        {"http://h", "http://h", NULL},
        {"https://h:8443/lab/", "https://h:8443/lab", NULL},
        {"lab.example.org", "https://lab.example.org", NULL},
        {"http://.lab.example", "http://lab.example", NULL},
        {"http://[::1]:5000", "http://[::1]:5000", NULL},
        {"unix:/run/a.sock", NULL, "/run/a.sock"},
        {"unix:///run/a.sock", NULL, "/run/a.sock"},
        {"unix:relative", NULL, NULL},
        {"file:///etc/passwd", NULL, NULL},
        {"ftp://h", NULL, NULL},
        {"http://user@h", NULL, NULL},
        {"http://user:word@h", NULL, NULL},
        {"http://h/?x=1", NULL, NULL},
        {"http://h/#x", NULL, NULL},
        {"http://", NULL, NULL},
        {"http://...", NULL, NULL},
        {"http://h h", NULL, NULL},
        {"http://h:99999", NULL, NULL},
};

static void test_urls(void **state _unused_)
{
        for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
                _cleanup_(settings_deinit) struct settings s = {0};
                int r = settings_url(&s, urls[i].text, NULL);
                assert_int_equal(r == 0, urls[i].url || urls[i].socket);
                if (urls[i].url)
                        assert_int_equal(strncmp(s.url, urls[i].url, strlen(urls[i].url)), 0);
                if (urls[i].socket)
                        assert_string_equal(s.socket, urls[i].socket);
        }
}

static void assert_refused(const char *const *environment, const char *const *words, const char *sentence)
{
        _cleanup_(settings_deinit) struct settings s = {0};
        _cleanup_buf_ struct buf problems = BUF_NULL;
        assert_true(load(environment, words, &s, &problems) < 0);
        assert_non_null(strstr(buf_str(&problems), sentence));
}
#define ENV(...) \
        (const char *const[]) \
        { \
                __VA_ARGS__, NULL \
        }

static void test_refused(void **state _unused_)
{
        assert_refused(ENV("VM_NAME=vm-1"), NULL, "URL is missing");
        assert_refused(ENV("ALLOCATOR_URL=http://h"), NULL, "name is missing");
        assert_refused(ENV("ALLOCATOR_URL=http://h", "VM_NAME=-x"), NULL, "hostname");
        assert_refused(ENV(BASE_ENV, "LABLINK_CLIENT_LOG_FILES=relative"), NULL, "absolute path");
        assert_refused(ENV(BASE_ENV, "LABLINK_CLIENT_STATE_FILE=relative"), NULL, "absolute path");
        assert_refused(ENV(BASE_ENV, "LABLINK_CLIENT_TOKEN=two\r\nlines"), NULL, "");
        assert_refused(ENV(BASE_ENV), ENV("allocator.hots=x"), "unknown word allocator.hots=x");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_environment),
                cmocka_unit_test(test_deployed_words),
                cmocka_unit_test(test_order),
                cmocka_unit_test_setup_teardown(test_file, place_setup, place_teardown),
                cmocka_unit_test(test_urls),
                cmocka_unit_test(test_refused),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
