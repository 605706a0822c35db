/* Waits grow, differ, end at a minute, and obey the server. */
#include "place.h"

#include "base/token.h"
#include "client/backoff.h"

static void test_growth(void **state _unused_)
{
        for (int round = 0; round < 200; round++) {
                struct backoff backoff = {0};
                for (int try = 0; try < 12; try++) {
                        int64_t most = MIN(1000LL << MIN(try, 6), 60000LL), wait = backoff_next(&backoff, -1);
                        assert_in_range(wait, most / 2, most);
                }
                assert_int_equal(backoff_reset(&backoff), 12);
                assert_in_range(backoff_next(&backoff, -1), 500, 1000);
                backoff_deinit(&backoff);
        }
}

static void test_near(void **state _unused_)
{
        struct backoff backoff = {.most_ms = BACKOFF_NEAR_MS, .tries = 20};
        for (int i = 0; i < 100; i++)
                assert_in_range(backoff_next(&backoff, -1), BACKOFF_NEAR_MS / 2, BACKOFF_NEAR_MS);
}

static void test_jitter(void **state _unused_)
{
        int64_t first = -1;
        bool differs = false;
        for (int i = 0; i < 100; i++) {
                struct backoff backoff = {.tries = 6};
                int64_t wait = backoff_next(&backoff, -1);
                differs |= first >= 0 && wait != first;
                first = wait;
        }
        assert_true(differs);
}

static void test_retry_after(void **state _unused_)
{
        struct backoff backoff = {0};
        assert_int_equal(backoff_next(&backoff, 7000), 7000);
        assert_int_equal(backoff_next(&backoff, 86400000), BACKOFF_OBEYED_MS);
        assert_in_range(backoff_next(&backoff, 10), 2000, 4000);
}

static void test_news(void **state _unused_)
{
        struct backoff backoff = {0};
        assert_true(backoff_is_news(&backoff, "down"));
        assert_false(backoff_is_news(&backoff, "down"));
        assert_true(backoff_is_news(&backoff, "HTTP 503"));
        backoff_reset(&backoff);
        assert_true(backoff_is_news(&backoff, "HTTP 503"));
        backoff_deinit(&backoff);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_growth),      cmocka_unit_test(test_near), cmocka_unit_test(test_jitter),
                cmocka_unit_test(test_retry_after), cmocka_unit_test(test_news),
        };
        token_init();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
