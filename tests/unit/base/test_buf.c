/* The growing buffer: always a C string, whatever was done to it. */
#include "base/buf.h"
#include "unit.h"

static void empty_is_a_string(void **state _unused_)
{
        struct buf buf = BUF_NULL;
        assert_string_equal(buf_str(&buf), "");
        buf_consume(&buf, 5);
        buf_truncate(&buf, 0);
        _cleanup_free_ char *text = buf_steal(&buf);
        assert_string_equal(text, "");
        buf_reserve(&buf, 10);
        assert_string_equal(buf_str(&buf), "");
        buf_deinit(&buf);
        assert_null(buf.data);
}

static void grows(void **state _unused_)
{
        _cleanup_buf_ struct buf buf = BUF_NULL;
        for (int i = 0; i < 10000; i++)
                buf_addf(&buf, "%d,", i % 10);
        buf_addc(&buf, '!');
        assert_int_equal(buf.len, 20001);
        assert_int_equal(strlen(buf.data), buf.len);
        assert_string_equal(buf.data + buf.len - 3, "9,!");
}

static void inner_nul_stays(void **state _unused_)
{
        _cleanup_buf_ struct buf buf = BUF_NULL;
        buf_add(&buf, "a\0b", 3);
        buf_add(&buf, NULL, 0);
        assert_int_equal(buf.len, 3);
        assert_memory_equal(buf.data, "a\0b", 4);
}

static void consumes_and_truncates(void **state _unused_)
{
        _cleanup_buf_ struct buf buf = BUF_NULL;
        buf_adds(&buf, "abcdef");
        buf_consume(&buf, 2);
        assert_string_equal(buf_str(&buf), "cdef");
        buf_truncate(&buf, 10);
        assert_string_equal(buf_str(&buf), "cdef");
        buf_truncate(&buf, 1);
        assert_string_equal(buf_str(&buf), "c");
        buf_consume(&buf, 100);
        assert_string_equal(buf_str(&buf), "");
        assert_int_equal(buf.len, 0);
}

static void stealing_leaves_nothing(void **state _unused_)
{
        struct buf buf = BUF_NULL;
        buf_adds(&buf, "mine");
        _cleanup_free_ char *text = buf_steal(&buf);
        assert_string_equal(text, "mine");
        assert_null(buf.data);
        assert_int_equal(buf.len, 0);
}

static void writes_integers(void **state _unused_)
{
        static const int64_t values[] = {0, 7, 10, -1, 1234567890, INT64_MAX, INT64_MIN};
        for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
                _cleanup_buf_ struct buf ours = BUF_NULL, theirs = BUF_NULL;
                buf_addi(&ours, values[i]);
                buf_addf(&theirs, "%lld", (long long)values[i]);
                assert_string_equal(buf_str(&ours), buf_str(&theirs));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(empty_is_a_string),       cmocka_unit_test(grows),
                cmocka_unit_test(inner_nul_stays),         cmocka_unit_test(consumes_and_truncates),
                cmocka_unit_test(stealing_leaves_nothing), cmocka_unit_test(writes_integers),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
