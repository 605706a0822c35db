/* Facts that follow from several keys. */
#include "lab_file.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/text.h"

static void urls(void **state)
{
        static const struct {
                const char *yaml, *address, *url;
        } rows[] = {
                {"", NULL, "http://127.0.0.1:5000"},
                {"listen: {address: '[::1]:80'}\n", NULL, "http://[::1]:80"},
                {"", "203.0.113.7", "https://203.0.113.7"},
                {"", "2001:db8::1", "https://[2001:db8::1]"},
                {"ssl: {provider: none}\n", "203.0.113.7", "http://203.0.113.7"},
                {"ssl: {staging: true}\n", "203.0.113.7", "http://203.0.113.7"},
                {"dns: {enabled: true, domain: x.org}\n", "203.0.113.7", "https://lablink.x.org"},
                {"dns: {enabled: true, domain: x.org}\nenvironment: test\n", NULL, "https://test.lablink.x.org"},
                {"dns: {enabled: true, domain: x.org}\nssl: {staging: yes}\n", NULL, "http://lablink.x.org"},
                {"dns: {enabled: true, domain: x.org}\nssl: {provider: cloudflare}\n", NULL, "https://lablink.x.org"},
                {"dns: {enabled: true, domain: x.org, pattern: app-only, app_name: lab}\nenvironment: test\n", NULL,
                 "https://lab.x.org"},
                {"dns: {enabled: true, domain: x.org, pattern: custom, custom_subdomain: a.b}\n", NULL,
                 "https://a.b.x.org"},
                {"dns: {enabled: true, domain: x.org, pattern: custom}\n", NULL, "https://x.org"},
                {"dns: {enabled: true, domain: x.org}\nlisten: {public_url: 'https://own.org:8443/'}\n", NULL,
                 "https://own.org:8443"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_free_ char *variable = xasprintf("ALLOCATOR_PUBLIC_IP=%s", str_or(rows[i].address, ""));
                const char *const environment[] = {variable, NULL};
                _cleanup_config_ struct config *config = lab_file_load(*state, rows[i].yaml, NULL, environment, NULL);
                assert_non_null(config);
                _cleanup_free_ char *url = config_public_url(config);
                assert_string_equal(url, rows[i].url);
        }
        _cleanup_config_ struct config *every = lab_file_good(*state, "listen: {address: '0.0.0.0:8080'}\n");
        _cleanup_free_ char *url = config_public_url(every);
        char name[256] = "";
        gethostname(name, sizeof(name) - 1);
        _cleanup_free_ char *wanted = xasprintf("http://%s:8080", name);
        assert_string_equal(url, wanted);
}

static void environments(void **state)
{
        static const char *const rows[][2] = {
                {"", "prod"}, {"environment: Test\n", "test"}, {"environment: My Lab 2\n", "my-lab-2"}};
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_config_ struct config *config = lab_file_good(*state, rows[i][0]);
                _cleanup_free_ char *name = config_environment(config);
                assert_string_equal(name, rows[i][1]);
                assert_null(config_dns_name(config));
        }
}

static void databases(void **state)
{
        static const struct {
                const char *yaml;
                bool embedded;
        } rows[] = {
                {"", true},
                {"db: {host: localhost, password: x}\n", true},
                {"db: {host: 127.0.0.1}\n", true},
                {"db: {host: '::1'}\n", true},
                {"db: {host: db.example.org}\n", false},
                {"db: {host: 10.0.0.5}\n", false},
                {"db: {host: /run/postgresql}\n", false},
                {"db: {url: 'postgresql://localhost/d'}\n", false},
                {"db: {mode: external, host: localhost}\n", false},
                {"db: {mode: embedded, host: db.example.org}\n", true},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_config_ struct config *config = lab_file_good(*state, rows[i].yaml);
                if (config_db_embedded(config) != rows[i].embedded)
                        fail_msg("%s", rows[i].yaml);
        }
}

static void conninfo(void **state)
{
        _cleanup_config_ struct config *config = lab_file_good(
                *state, "db: {host: h, port: 1, dbname: 'a b', user: \"o'x\", password: 'p\\q'' host=evil'}\n");
        _cleanup_free_ char *text = config_db_conninfo(config);
        assert_string_equal(text, "host='h' port='1' dbname='a b' user='o\\'x' password='p\\\\q\\' host=evil'");
        _cleanup_config_ struct config *url = lab_file_good(*state, "db: {url: 'postgresql://u:p@h/d'}\n");
        _cleanup_free_ char *same = config_db_conninfo(url);
        assert_string_equal(same, "postgresql://u:p@h/d");
}

static void loopback(void **state)
{
        static const struct {
                const char *yaml;
                bool only;
        } rows[] = {
                {"", true},
                {"listen: {address: '[::1]:1'}\n", true},
                {"listen: {address: '[::ffff:127.0.0.1]:1'}\n", true},
                {"listen: {address: '127.255.255.255:1'}\n", true},
                {"listen: {address: '128.0.0.1:1'}\n", false},
                {"listen: {address: '0.0.0.0:1'}\n", false},
                {"listen: {address: '[::]:1'}\n", false},
                {"listen: {address: '[::ffff:10.0.0.1]:1'}\n", false},
                {"listen: {public_url: 'http://127.0.0.1:9'}\n", true},
                {"listen: {public_url: 'http://[::1]/lab'}\n", true},
                {"listen: {public_url: 'https://127.0.0.1.example.org'}\n", false},
                {"listen: {trusted_proxies: '127.0.0.1'}\n", false},
                {"dns: {enabled: true, domain: x.org}\n", true},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_config_ struct config *config = lab_file_good(*state, rows[i].yaml);
                if (config_loopback_only(config) != rows[i].only)
                        fail_msg("%s", rows[i].yaml);
        }
}

static void listen_address(void **state)
{
        struct sockaddr_storage address;
        _cleanup_config_ struct config *four = lab_file_good(*state, "listen: {address: 'localhost:81'}\n");
        assert_int_equal(config_listen_address(four, &address), sizeof(struct sockaddr_in));
        assert_int_equal(((struct sockaddr_in *)&address)->sin_port, htons(81));
        assert_int_equal(((struct sockaddr_in *)&address)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
        _cleanup_config_ struct config *six = lab_file_good(*state, "listen: {address: '[2001:db8::7]:0'}\n");
        assert_int_equal(config_listen_address(six, &address), sizeof(struct sockaddr_in6));
        assert_int_equal(((struct sockaddr_in6 *)&address)->sin6_addr.s6_addr[15], 7);
}

static void choices(void **state)
{
        _cleanup_config_ struct config *none = lab_file_good(*state, "security: {access_code: none}\n");
        assert_string_equal(config_client_auth(none), "open");
        assert_null(config_access_code(none));
        assert_string_equal(config_software(none), "terminal");
        _cleanup_config_ struct config *set = lab_file_good(
                *state, "security: {access_code: tulip, client_auth: token}\nmachine: {software: sleap}\n");
        assert_string_equal(config_client_auth(set), "token");
        assert_string_equal(config_access_code(set), "tulip");
        assert_string_equal(config_software(set), "sleap");
        _cleanup_config_ struct config *cloud = lab_file_good(*state, "provider: {kind: terraform}\n");
        assert_string_equal(config_software(cloud), "sleap");
        assert_null(config_access_code(cloud));
}

static void desktops(void **state)
{
        _cleanup_config_ struct config *cloud = lab_file_good(*state, "provider: {kind: terraform}\n");
        assert_string_equal(config_desktop_mode(cloud), "crd");
        assert_false(config_desktop_browser(cloud));
        _cleanup_config_ struct config *here = lab_file_good(*state, "{}\n"); /* as this machine can */
        bool able = access("/usr/bin/Xvnc", F_OK) == 0 && access("/usr/bin/openbox", F_OK) == 0;
        assert_string_equal(config_desktop_mode(here), able ? "browser" : "crd");
        _cleanup_config_ struct config *both = lab_file_good(*state, "desktop: {mode: both}\n");
        assert_true(config_desktop_browser(both) && config_desktop_crd(both));
        _cleanup_config_ struct config *tab = lab_file_good(*state, "desktop: {mode: browser}\n");
        assert_true(config_desktop_browser(tab) && !config_desktop_crd(tab));
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, lab_file_setup, lab_file_teardown)
        const struct CMUnitTest tests[] = {
                T(urls),     T(environments),   T(databases), T(conninfo),
                T(loopback), T(listen_address), T(choices),   T(desktops),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
