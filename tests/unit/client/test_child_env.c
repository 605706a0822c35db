/* What programs that the agent starts find in their environment, and where they are looked for. */
#include "place.h"

#include <string.h>

#include "client/child_env.h"

static const char *value(char **env, const char *name)
{
        const char *found = NULL;
        size_t len = strlen(name);
        for (; *env; env++)
                if (strncmp(*env, name, len) == 0 && (*env)[len] == '=') {
                        assert_null(found); /* once */
                        found = *env + len + 1;
                }
        return found;
}

static void test_environment(void **state _unused_)
{
        setenv("LABLINK_CLIENT_TOKEN", "secret", 1);
        setenv("LABLINK_CLIENT_TOKEN_FILE", "/secret", 1);
        setenv("DISPLAY", ":0", 1);
        setenv("KEPT", "a=b", 1);
        struct person person = {.name = "client", .home = "/home/client", .shell = "/bin/sh"};
        _cleanup_strv_ char **env = child_env(&person, (const char *const[]){"DISPLAY=", "HOME=/elsewhere", NULL});
        assert_null(value(env, "LABLINK_CLIENT_TOKEN"));
        assert_null(value(env, "LABLINK_CLIENT_TOKEN_FILE"));
        assert_string_equal(value(env, "DISPLAY"), "");
        assert_string_equal(value(env, "KEPT"), "a=b");
        assert_string_equal(value(env, "USER"), "client");
        assert_string_equal(value(env, "HOME"), "/elsewhere");
}

static void test_find(void **state)
{
        struct place *place = *state;
        _cleanup_free_ char *path = xasprintf("/nowhere:%s", place->directory);
        setenv("PATH", path, 1);
        place_write(place, "tool", "x", 0755);
        place_write(place, "text", "x", 0644);
        _cleanup_free_ char *tool = find_program("tool");
        _cleanup_free_ char *same = find_program(tool);
        assert_string_equal(tool, place_path(place, "tool"));
        assert_string_equal(same, tool);
        assert_null(find_program("text"));
        assert_null(find_program("missing"));
        assert_null(find_program(place->directory));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_environment),
                cmocka_unit_test_setup_teardown(test_find, place_setup, place_teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
