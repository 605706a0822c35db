/* gzip cut at every byte, damaged at every byte, and larger than allowed. */
#include "pack.h"

#include <errno.h>
#include <string.h>

#include "forwarder/gunzip.h"

static const char text[] = "a line, a line, a line, another line and a last one";

static void test_whole(void **state _unused_)
{
        _cleanup_buf_ struct buf packed = BUF_NULL, out = BUF_NULL;
        pack_gzip(text, strlen(text), &packed);
        assert_int_equal(gunzip(packed.data, packed.len, strlen(text), &out, NULL), 0);
        assert_string_equal(buf_str(&out), text);
        /* What comes is added; the limit is on what comes. */
        assert_int_equal(gunzip(packed.data, packed.len, strlen(text), &out, NULL), 0);
        assert_int_equal(out.len, 2 * strlen(text));
}

static void test_nothing_in_it(void **state _unused_)
{
        _cleanup_buf_ struct buf packed = BUF_NULL, out = BUF_NULL;
        pack_gzip("", 0, &packed);
        assert_int_equal(gunzip(packed.data, packed.len, 0, &out, NULL), 0);
        assert_int_equal(out.len, 0);
        assert_int_equal(gunzip("", 0, 100, &out, NULL), -EINVAL);
}

static void test_cut_off_anywhere(void **state _unused_)
{
        _cleanup_buf_ struct buf packed = BUF_NULL;
        pack_gzip(text, strlen(text), &packed);
        for (size_t len = 0; len < packed.len; len++) {
                _cleanup_buf_ struct buf out = BUF_NULL;
                _cleanup_error_ struct error error = ERROR_NULL;
                assert_int_equal(gunzip(packed.data, len, 1000, &out, &error), -EINVAL);
                assert_string_equal(error_text(&error), "it is cut off");
        }
}

static void test_damaged_anywhere(void **state _unused_)
{
        _cleanup_buf_ struct buf packed = BUF_NULL;
        pack_gzip(text, strlen(text), &packed);
        for (size_t i = 0; i < packed.len; i++) {
                _cleanup_buf_ struct buf out = BUF_NULL;
                packed.data[i] = (char)(packed.data[i] ^ 0x55);
                int r = gunzip(packed.data, packed.len, 1000, &out, NULL);
                /* Bytes 4 to 9 are time, speed and system: nobody reads them. */
                assert_true(r == -EINVAL || (r == 0 && i >= 3 && i <= 9 && strcmp(buf_str(&out), text) == 0));
                packed.data[i] = (char)(packed.data[i] ^ 0x55);
        }
}

static void test_members(void **state _unused_)
{
        _cleanup_buf_ struct buf packed = BUF_NULL, out = BUF_NULL;
        _cleanup_error_ struct error error = ERROR_NULL;
        pack_gzip("one ", 4, &packed);
        pack_gzip("two", 3, &packed);
        buf_add(&packed, "\0\0\0", 3);
        assert_int_equal(gunzip(packed.data, packed.len, 7, &out, NULL), 0);
        assert_string_equal(buf_str(&out), "one two");
        buf_adds(&packed, "x");
        buf_deinit(&out);
        assert_int_equal(gunzip(packed.data, packed.len, 7, &out, &error), -EINVAL);
        assert_string_equal(error_text(&error), "something that is no gzip follows it");
}

static void test_bomb(void **state _unused_)
{
        _cleanup_buf_ struct buf packed = BUF_NULL, out = BUF_NULL;
        size_t size = 8 << 20;
        _cleanup_free_ char *zeros = xcalloc(1, size);
        pack_gzip(zeros, size, &packed);
        assert_true(packed.len < 20000);
        assert_int_equal(gunzip(packed.data, packed.len, 100000, &out, NULL), -EFBIG);
        assert_true(out.cap < 1 << 20);
        buf_deinit(&out);
        assert_int_equal(gunzip(packed.data, packed.len, size - 1, &out, NULL), -EFBIG);
        buf_deinit(&out);
        assert_int_equal(gunzip(packed.data, packed.len, size, &out, NULL), 0);
        assert_int_equal(out.len, size);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_whole),
                cmocka_unit_test(test_nothing_in_it),
                cmocka_unit_test(test_cut_off_anywhere),
                cmocka_unit_test(test_damaged_anywhere),
                cmocka_unit_test(test_members),
                cmocka_unit_test(test_bomb),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
