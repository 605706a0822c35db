/* Which backups of before a migration stay: the newest five, and of each schema the newest. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "lab/save.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void make(const char *directory, const char *name)
{
        _cleanup_free_ char *path = path_join(directory, name);
        assert_int_equal(file_write(path, "x", 1, 0600, NULL), 0);
}

static bool is_there(const char *directory, const char *name)
{
        _cleanup_free_ char *path = path_join(directory, name);
        return access(path, F_OK) == 0;
}

static int count(const char *directory)
{
        int n = 0;
        DIR *dir = opendir(directory);
        for (struct dirent *entry; (entry = readdir(dir));)
                n += entry->d_name[0] != '.';
        closedir(dir);
        return n;
}

static void test_prune(void **state _unused_)
{
        char directory[] = "/tmp/lablink-test-save-XXXXXX", name[80];
        assert_non_null(mkdtemp(directory));
        saves_prune(directory);
        make(directory, "before-migration-0001-20260101-000000.dump");
        make(directory, "before-migration-0002-20260201-000000.dump");
        make(directory, "mine.dump");
        make(directory, "before-migration-");
        for (int i = 1; i <= 4; i++) {
                snprintf(name, sizeof name, "before-migration-0003-2026030%d-000000.dump", i);
                make(directory, name);
        }
        saves_prune(directory);
        assert_int_equal(count(directory), SAVES_KEPT + 2);
        assert_false(is_there(directory, "before-migration-0003-20260301-000000.dump"));
        assert_true(is_there(directory, "before-migration-0001-20260101-000000.dump"));
        assert_true(is_there(directory, "mine.dump"));
        assert_true(is_there(directory, "before-migration-"));

        /* more schemas than five: each keeps its newest */
        make(directory, "before-migration-0004-20260401-000000.dump");
        make(directory, "before-migration-0005-20260501-000000.dump");
        make(directory, "before-migration-0006-20260601-000000.dump");
        saves_prune(directory);
        assert_int_equal(count(directory), 6 + 2);
        assert_true(is_there(directory, "before-migration-0003-20260304-000000.dump"));
        assert_false(is_there(directory, "before-migration-0003-20260303-000000.dump"));
        dir_remove(directory, NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_prune)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
