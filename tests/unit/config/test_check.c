/* What must hold between keys: each rule broken alone, and kept. */
#include "lab_file.h"

#include <string.h>

#include "base/file.h"
#include "base/text.h"

#define OPEN "listen: {address: '0.0.0.0:5000'}\n"
#define CHOSEN "security: {client_auth: token, access_code: none}\n"

static const struct broken {
        const char *yaml, *place, *words;
} broken[] = {
        {"ssl:\n  provider: acm\n", ":2:13: ", "ssl.certificate_arn must hold the ARN"},
        {"provider: {kind: terraform}\nssl: {provider: none}\nterraform:\n  directory: /nowhere\n",
         ":4:14: ", "is no directory"},
        {"provider: {kind: terraform}\nssl: {provider: none}\nterraform:\n  state: s3\n", ":4:10: ", "bucket_name"},
        {"dns:\n  enabled: true\n  domain: example.org\n", "config.yaml: ", "ssl.email must hold an address"},
        {"ssl:\n  provider: letsencrypt\ndns: {enabled: true, domain: example.org}\n", ":2:13: ", "ssl.email"},
        {"dns:\n  enabled: true\nssl: {provider: none}\n", ":2:12: ", "dns.domain must name the domain"},
        {"dns: {enabled: true, domain: x.org}\nenvironment: my_lab\nssl: {provider: none}\n",
         ":1:30: ", "my_lab.lablink.x.org, which is no DNS name"},
        {"startup_script:\n  enabled: true\n  path: missing.sh\n", ":3:9: ", "missing.sh cannot be read"},
        {"startup_script: {enabled: true, path: /}\n", ":1:39: ", "/ is no file"},
        {"db:\n  mode: external\n", ":2:9: ", "db.url or db.host must say where"},
        {"db:\n  mode: embedded\n  url: postgresql://h/d\n", ":2:9: ", "names an external database"},
        {OPEN CHOSEN "app: {admin_password: PLACEHOLDER_ADMIN_PASSWORD}\n", ":3:23: ", "app.admin_password"},
        {OPEN CHOSEN "app: {admin_password: ChangeMe}\n", ":3:23: ", "app.admin_password"},
        {OPEN CHOSEN "app: {admin_user: teacher, admin_password: teacher}\n", ":3:44: ", "app.admin_password"},
        {OPEN CHOSEN "db: {host: h.example.org, password: PLACEHOLDER_DB_PASSWORD}\n", ":3:37: ", "db.password"},
        {OPEN "security: {access_code: none}\n", "config.yaml: ", "write \"client_auth: token\""},
        {OPEN "security: {client_auth: open}\n", "config.yaml: ", "write \"access_code: WORD\""},
        {"listen: {address: '[::]:5000'}\nsecurity: {client_auth: open}\n",
         "config.yaml: ", "listen.address [::]:5000"},
        {"listen: {trusted_proxies: 127.0.0.1}\nsecurity: {client_auth: open}\n", "config.yaml: ", "reverse proxy"},
        {"listen: {public_url: 'https://lab.example.org'}\nsecurity: {client_auth: open}\n",
         "config.yaml: ", "https://lab.example.org can be reached"},
};

static void broken_rules(void **state)
{
        for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
                _cleanup_buf_ struct buf problems = BUF_NULL;
                _cleanup_config_ struct config *config = lab_file_good(*state, broken[i].yaml);
                assert_int_equal(config_check_allocator(config, &problems), -22);
                assert_problem(&problems, broken[i].place, broken[i].words);
                assert_int_equal(count_lines(&problems), 1);
        }
}

static const char *const kept[] = {
        "",
        "ssl: {provider: acm, certificate_arn: 'arn:aws:acm:x'}\n",
        "ssl: {provider: letsencrypt}\n",
        "dns: {enabled: true, domain: example.org}\nssl: {email: a@example.org}\n",
        "dns: {enabled: true, domain: example.org}\nssl: {staging: true}\n",
        "dns: {enabled: true, domain: example.org, pattern: custom}\nssl: {provider: cloudflare}\n",
        "app: {admin_password: PLACEHOLDER_ADMIN_PASSWORD}\ndb: {password: PLACEHOLDER_DB_PASSWORD}\n",
        "listen: {address: 'localhost:5000'}\napp: {admin_password: admin}\n",
        "listen: {address: '127.8.9.10:0'}\n",
        "listen: {address: '[::1]:5000', public_url: 'http://localhost:8080'}\n",
        OPEN CHOSEN,
        OPEN CHOSEN "app: {admin_password: a-long-one-of-my-own}\n",
        OPEN CHOSEN "db: {password: PLACEHOLDER_DB_PASSWORD}\n", /* not used: the database is embedded */
        "db: {mode: external, host: localhost}\n",
        "db: {mode: external, url: 'postgresql://h/d'}\n",
};

static void kept_rules(void **state)
{
        for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
                _cleanup_buf_ struct buf problems = BUF_NULL;
                _cleanup_config_ struct config *config = lab_file_good(*state, kept[i]);
                if (config_check_allocator(config, &problems) != 0)
                        fail_msg("refused: %s\n%s", kept[i], buf_str(&problems));
                assert_int_equal(problems.len, 0);
        }
}

static void everything_at_once(void **state)
{
        _cleanup_buf_ struct buf problems = BUF_NULL;
        _cleanup_config_ struct config *config = lab_file_good(
                *state, OPEN "ssl: {provider: acm}\ndns: {enabled: true}\ndb: {mode: external}\n"
                             "startup_script: {enabled: true, path: no.sh}\napp: {admin_password: admin}\n");
        assert_int_equal(config_check_allocator(config, &problems), -22);
        assert_int_equal(count_lines(&problems), 7);
}

static void startup_script(void **state)
{
        struct lab_file *file = *state;
        _cleanup_free_ char *folder = path_join(file->directory, "config");
        _cleanup_free_ char *script = path_join(folder, "custom-startup.sh");
        assert_int_equal(dir_make(folder, 0700, NULL), 0);
        assert_int_equal(file_write(script, "#!/bin/sh\n", 10, 0755, NULL), 0);
        _cleanup_config_ struct config *config = lab_file_good(file, "startup_script: {enabled: yes}\n");
        assert_int_equal(config_check_allocator(config, NULL), 0);
        _cleanup_free_ char *path = config_startup_script(config);
        assert_string_equal(path, script);

        /* As in a checkout: config/config.yaml names config/custom-startup.sh. */
        _cleanup_free_ char *inner = path_join(folder, "config.yaml");
        assert_int_equal(file_write(inner, "startup_script: {enabled: yes}\n", 31, 0600, NULL), 0);
        _cleanup_config_ struct config *checkout = NULL;
        assert_int_equal(config_load(&(struct config_input){.file = inner}, &checkout, NULL), 0);
        assert_int_equal(config_check_allocator(checkout, NULL), 0);
        _cleanup_free_ char *above = config_startup_script(checkout);
        assert_true(str_ends(above, "/config/../config/custom-startup.sh"));

        _cleanup_config_ struct config *off = lab_file_good(file, "startup_script: {enabled: no, path: nowhere}\n");
        assert_null(config_startup_script(off));
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, lab_file_setup, lab_file_teardown)
        const struct CMUnitTest tests[] = {
                T(broken_rules),
                T(kept_rules),
                T(everything_at_once),
                T(startup_script),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
