/* Variables: ours, those of secrets in files, and those that deployed labs set. */
#include "lab_file.h"

#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

#define ENV(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct config *load(void **state, const char *yaml, const char *const *environment, struct buf *problems)
{
        return lab_file_load(*state, yaml, NULL, environment, problems);
}

static void names(void **state)
{
        _cleanup_config_ struct config *config = load(
                state, "",
                ENV("LABLINK_STATE_DIR=/s", "LABLINK_STARTUP_SCRIPT_ON_ERROR=fail",
                    "LABLINK_LISTEN_TRUSTED_PROXIES=10.0.0.1, 10.0.0.2", "LABLINK_DB_PORT=6000",
                    "LABLINK_DNS_ENABLED=1", "LABLINK_MACHINE_SOFTWARE=", "LABLINK_URL=http://x",
                    "LABLINK_NOSUCH_THING=1", "lablink_db_host=x"),
                NULL);
        assert_non_null(config);
        assert_string_equal(config->top.state_dir, "/s");
        assert_string_equal(config->startup_script.on_error, "fail");
        assert_string_equal(config->listen.trusted_proxies[1], "10.0.0.2");
        assert_int_equal(config->db.port, 6000);
        assert_true(config->dns.enabled);
        assert_string_equal(config->machine.software, "sleap");
        assert_int_equal(config->origins[CONFIG_KEY_machine_software].source, CONFIG_DEFAULT);
        assert_string_equal(config->db.host, "localhost");
}

static void unknown(void **state)
{
        _cleanup_buf_ struct buf problems = BUF_NULL;
        assert_null(load(state, "",
                         ENV("LABLINK_DB_HOTS=x", "LABLINK_DB_HOST_FILE=/x", "LABLINK_STARTUP_SCRIPT_PAHT=x"),
                         &problems));
        assert_problem(&problems, "LABLINK_DB_HOTS: ", "did you mean db.host?");
        assert_problem(&problems, "LABLINK_DB_HOST_FILE: ", "is no secret");
        assert_problem(&problems, "LABLINK_STARTUP_SCRIPT_PAHT: ", "did you mean startup_script.path?");
        assert_int_equal(count_lines(&problems), 3);
}

static void secret_files(void **state)
{
        struct lab_file *file = *state;
        _cleanup_free_ char *path = path_join(file->directory, "secret");
        _cleanup_free_ char *variable = xasprintf("LABLINK_APP_ADMIN_PASSWORD_FILE=%s", path);
        static const char *const texts[] = {"two words\n", "two words", "two words\r\n"};
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                assert_int_equal(file_write(path, texts[i], strlen(texts[i]), 0644, NULL), 0);
                _cleanup_config_ struct config *config = load(state, "app: {admin_password: x}\n", ENV(variable), NULL);
                assert_non_null(config);
                assert_string_equal(config->app.admin_password, "two words");
                assert_non_null(strstr(config->origins[CONFIG_KEY_app_admin_password].place, path));
        }
        assert_int_equal(file_write(path, " x \n\n", 5, 0600, NULL), 0);
        _cleanup_buf_ struct buf problems = BUF_NULL;
        assert_null(load(state, "", ENV(variable), &problems)); /* one newline only is stripped: the other is refused */
        assert_problem(&problems, "LABLINK_APP_ADMIN_PASSWORD_FILE", "line break");
}

static void bad_secret_files(void **state)
{
        struct lab_file *file = *state;
        _cleanup_buf_ struct buf problems = BUF_NULL, big = BUF_NULL;
        _cleanup_free_ char *path = path_join(file->directory, "secret");
        _cleanup_free_ char *variable = xasprintf("LABLINK_APP_PIN_FILE=%s", path);
        assert_null(load(state, "", ENV(variable), &problems));
        assert_problem(&problems, "LABLINK_APP_PIN_FILE: ", "cannot read");
        buf_truncate(&problems, 0);
        assert_int_equal(file_write(path, "\n", 1, 0600, NULL), 0);
        assert_null(load(state, "", ENV(variable), &problems));
        assert_problem(&problems, "LABLINK_APP_PIN_FILE", "is empty");
        buf_truncate(&problems, 0);
        assert_int_equal(file_write(path, "123\000456", 7, 0600, NULL), 0);
        assert_null(load(state, "", ENV(variable), &problems));
        assert_problem(&problems, "LABLINK_APP_PIN_FILE", "NUL");
        buf_truncate(&problems, 0);
        while (big.len < 5000)
                buf_addc(&big, '1');
        assert_int_equal(file_write(path, big.data, big.len, 0600, NULL), 0);
        assert_null(load(state, "", ENV(variable), &problems));
        assert_problem(&problems, "LABLINK_APP_PIN_FILE", "is larger than");
        buf_truncate(&problems, 0);
        assert_null(load(state, "", ENV(variable, "LABLINK_APP_PIN=123456"), &problems));
        assert_problem(&problems, "LABLINK_APP_PIN_FILE: ", "not both");
}

static void deployed_names(void **state)
{
        const char *const *environment = ENV("ENVIRONMENT=Test Lab", "ALLOCATOR_URL=http://a", "VM_NAME=vm-1",
                                             "SUBJECT_SOFTWARE=sleap", "ALLOCATOR_PUBLIC_IP=203.0.113.7");
        _cleanup_config_ struct config *config = load(state, "", environment, NULL);
        assert_non_null(config);
        assert_string_equal(config->top.environment, "Test Lab");
        assert_string_equal(config->client.url, "http://a");
        assert_string_equal(config->client.hostname, "vm-1");
        assert_string_equal(config->client.software, "sleap");
        assert_string_equal(config->public_address, "203.0.113.7");
        assert_int_equal(config->origins[CONFIG_KEY_client_url].source, CONFIG_ENVIRONMENT);
        _cleanup_config_ struct config *file = load(state, "environment: dev\nclient: {url: 'http://b'}\n", environment,
                                                    NULL);
        assert_non_null(file);
        assert_string_equal(file->top.environment, "dev");
        assert_string_equal(file->client.url, "http://b");
        _cleanup_config_ struct config *ours = load(state, "", ENV("ENVIRONMENT=test", "LABLINK_ENVIRONMENT=ours"),
                                                    NULL);
        assert_string_equal(ours->top.environment, "ours");
}

static void public_address(void **state)
{
        static const char *const good[] = {"203.0.113.7", "2001:db8::1", "lab.example.org"};
        static const char *const bad[] = {"a b", "x/y", "1.2.3.4:80", "[::1]", "http://x"};
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                _cleanup_free_ char *variable = xasprintf("ALLOCATOR_PUBLIC_IP=%s", good[i]);
                _cleanup_config_ struct config *config = load(state, "", ENV(variable), NULL);
                assert_non_null(config);
                assert_string_equal(config->public_address, good[i]);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_buf_ struct buf problems = BUF_NULL;
                _cleanup_free_ char *variable = xasprintf("ALLOCATOR_PUBLIC_IP=%s", bad[i]);
                assert_null(load(state, "", ENV(variable), &problems));
                assert_problem(&problems, "ALLOCATOR_PUBLIC_IP: ", "one IP address");
        }
        _cleanup_config_ struct config *unknown_address = load(state, "", ENV("ALLOCATOR_PUBLIC_IP=N/A"), NULL);
        assert_null(unknown_address->public_address);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, lab_file_setup, lab_file_teardown)
        const struct CMUnitTest tests[] = {
                T(names), T(unknown), T(secret_files), T(bad_secret_files), T(deployed_names), T(public_address),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
