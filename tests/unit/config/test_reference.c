/* docs/configuration.md is what the table prints. With LABLINK_WRITE_DOCS=1 in the environment it is written instead.
 */
#include "lab_file.h"

#include <string.h>

#include "base/file.h"
#include "config/table.h"

static void page_is_current(void **state)
{
        (void)state;
        _cleanup_buf_ struct buf printed = BUF_NULL, page = BUF_NULL;
        const char *path = PROJECT_ROOT "/docs/configuration.md";
        config_reference(&printed);
        if (getenv("LABLINK_WRITE_DOCS"))
                assert_int_equal(file_write(path, printed.data, printed.len, 0644, NULL), 0);
        assert_int_equal(file_read(path, 1000000, &page, NULL), 0);
        if (strcmp(buf_str(&page), buf_str(&printed)) != 0)
                fail_msg("docs/configuration.md is not what the table prints; LABLINK_WRITE_DOCS=1 writes it");
}

static void names_every_key(void **state)
{
        (void)state;
        _cleanup_buf_ struct buf printed = BUF_NULL;
        config_reference(&printed);
        for (enum config_key_id id = 0; id < CONFIG_KEY_COUNT; id++) {
                const struct config_key *key = config_key(id);
                _cleanup_free_ char *cell = xasprintf("| `%s` |", config_path(key));
                _cleanup_free_ char *variable = config_variable(key);
                assert_non_null(strstr(buf_str(&printed), cell));
                assert_non_null(strstr(buf_str(&printed), variable));
                assert_int_equal(config_find(key->section, key->name), id);
                assert_int_equal(config_find_path(config_path(key)), id);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(page_is_current), cmocka_unit_test(names_every_key)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
