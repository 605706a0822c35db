/* What the agent still knows after a kill, and how it lives with a file that is damaged. */
#include "place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "client/state.h"

static void open_good(const struct place *place, struct state *s)
{
        _cleanup_free_ char *note = NULL;
        assert_int_equal(state_open(place_path(place, "deep/er/state.json"), s, &note, NULL), 0);
        assert_null(note);
}

static void test_round_trip(void **state)
{
        struct state s;
        struct stat st;
        open_good(*state, &s);
        assert_int_equal(s.generation, 0);
        assert_string_equal(s.fingerprint, "");
        assert_null(s.pin);
        s.generation = 42;
        snprintf(s.fingerprint, sizeof s.fingerprint, "%064d", 7);
        snprintf(s.hosted, sizeof s.hosted, "43:%064d", 8);
        s.pin = xstrdup("123456");
        assert_int_equal(state_save(&s, NULL), 0);
        state_close(&s);
        open_good(*state, &s);
        assert_int_equal(s.generation, 42);
        assert_int_equal(strlen(s.fingerprint), 64);
        assert_int_equal(strlen(s.hosted), 67);
        assert_string_equal(s.pin, "123456");
        assert_int_equal(stat(s.path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        state_close(&s);
}

static void test_one_at_a_time(void **state)
{
        struct state first, second;
        _cleanup_free_ char *note = NULL;
        _cleanup_error_ struct error error = ERROR_NULL;
        open_good(*state, &first);
        assert_int_equal(state_open(first.path, &second, &note, &error), -EWOULDBLOCK);
        assert_non_null(strstr(error_text(&error), "another agent"));
        state_close(&first);
        open_good(*state, &second);
        state_close(&second);
}

static void test_damaged(void **state)
{
        static const char *const texts[] = {"",    "{", "[]", "{}", "{\"generation\":-1}", "{\"generation\":\"1\"}",
                                            "\xff"};
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                struct state s;
                _cleanup_free_ char *note = NULL;
                place_write(*state, "state.json", texts[i], 0600);
                assert_int_equal(state_open(place_path(*state, "state.json"), &s, &note, NULL), 0);
                assert_non_null(strstr(note, "state.json.damaged"));
                assert_int_equal(s.generation, 0);
                assert_int_equal(access(place_path(*state, "state.json.damaged"), F_OK), 0);
                state_close(&s);
        }
}

static void test_no_place(void **state)
{
        struct state s;
        _cleanup_free_ char *note = NULL;
        _cleanup_error_ struct error error = ERROR_NULL;
        place_write(*state, "file", "", 0600);
        assert_true(state_open(place_path(*state, "file/state.json"), &s, &note, &error) < 0);
        assert_non_null(strstr(error_text(&error), "cannot use the state file"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_round_trip, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_one_at_a_time, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_damaged, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_no_place, place_setup, place_teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
