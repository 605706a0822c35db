/* The whole configuration to a child and back, and to people without its secrets. */
#include "lab_file.h"

#include <string.h>

static const char full[] = "bucket_name: b\nstate_dir: /s\n"
                           "db: {port: 6000, password: \"p\\\"w\\\\ö\", url: 'postgresql://u:sesame@h/d'}\n"
                           "dns: {enabled: yes}\nlisten: {trusted_proxies: [10.0.0.1, '::1']}\n"
                           "app: {admin_password: sesame, pin: '000123'}\nlogs: {keep: 1h}\nlocal: {memory: 1G}\n";

static void round_trip(void **state)
{
        static const char *const sets[] = {"machine.software=s", NULL};
        static const char *const environment[] = {"LABLINK_APP_REGION=r", "ALLOCATOR_PUBLIC_IP=10.0.0.9", NULL};
        _cleanup_config_ struct config *config = lab_file_load(*state, full, sets, environment, NULL);
        assert_non_null(config);
        _cleanup_json_ json_t *json = config_to_json(config);
        _cleanup_free_ char *text = json_text(json);
        _cleanup_json_ json_t *read = json_read(text, strlen(text), NULL);
        assert_non_null(read);
        _cleanup_config_ struct config *copy = NULL;
        assert_int_equal(config_from_json(read, &copy, NULL), 0);
        _cleanup_json_ json_t *again = config_to_json(copy);
        assert_true(json_equal(json, again));
        assert_string_equal(copy->db.password, "p\"w\\ö");
        assert_int_equal(copy->db.port, 6000);
        assert_true(copy->dns.enabled);
        assert_string_equal(copy->listen.trusted_proxies[1], "::1");
        assert_null(copy->listen.trusted_proxies[2]);
        assert_string_equal(copy->public_address, "10.0.0.9");
        assert_string_equal(copy->file, config->file);
        assert_int_equal(copy->origins[CONFIG_KEY_machine_software].source, CONFIG_FLAG);
        assert_string_equal(copy->origins[CONFIG_KEY_app_region].place, "LABLINK_APP_REGION");
        for (int id = 0; id < CONFIG_KEY_COUNT; id++)
                assert_int_equal(copy->origins[id].source, config->origins[id].source);
}

static void broken_json(void **state)
{
        _cleanup_config_ struct config *config = lab_file_good(*state, full);
        static const char *const values[] = {
                "null", "\"x\"", "[]", "{}", "{\"value\":1,\"source\":9}", "{\"value\":\"6000\",\"source\":1}"};
        for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
                _cleanup_json_ json_t *json = config_to_json(config);
                _cleanup_error_ struct error error = ERROR_NULL;
                struct config *copy = NULL;
                json_object_set_new(json_object_get(json, "keys"), "db.port",
                                    json_loads(values[i], JSON_DECODE_ANY, NULL));
                assert_int_equal(config_from_json(json, &copy, &error), -22);
                assert_null(copy);
                assert_non_null(strstr(error_text(&error), "db.port"));
        }
        _cleanup_json_ json_t *nothing = json_null();
        struct config *copy = NULL;
        assert_int_equal(config_from_json(nothing, &copy, NULL), -22);
}

static json_t *row_of(json_t *rows, const char *key)
{
        size_t i;
        json_t *row;
        json_array_foreach (rows, i, row) {
                if (strcmp(json_get_string(row, "key"), key) == 0)
                        return row;
        }
        fail_msg("no row %s", key);
        return NULL;
}

static void secrets_are_masked(void **state)
{
        _cleanup_config_ struct config *config = lab_file_good(*state, full);
        _cleanup_json_ json_t *rows = config_show(config);
        assert_int_equal(json_array_size(rows), CONFIG_KEY_COUNT);
        _cleanup_free_ char *text = json_text(rows);
        assert_null(strstr(text, "sesame"));
        assert_null(strstr(text, "000123"));
        json_t *row = row_of(rows, "app.admin_password");
        assert_string_equal(json_get_string(row, "value"), "********");
        assert_true(json_is_true(json_object_get(row, "secret")));
        assert_string_equal(json_get_string(row_of(rows, "security.log_token"), "value"), "");
        assert_string_equal(json_get_string(row_of(rows, "logs.keep"), "value"), "1h");
        assert_string_equal(json_get_string(row_of(rows, "local.memory"), "value"), "1G");
        assert_string_equal(json_get_string(row_of(rows, "listen.trusted_proxies"), "value"), "10.0.0.1, ::1");
        assert_string_equal(json_get_string(row_of(rows, "state_dir"), "source"), "file");
        assert_string_equal(json_get_string(row_of(rows, "db.host"), "source"), "default");
        assert_string_equal(json_get_string(row_of(rows, "db.host"), "place"), "");
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, lab_file_setup, lab_file_teardown)
        const struct CMUnitTest tests[] = {T(round_trip), T(broken_json), T(secrets_are_masked)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
