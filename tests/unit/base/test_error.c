/* The sentence that grows on the way up. */
#include "base/error.h"
#include "base/text.h"
#include "unit.h"

static int deepest(struct error *error)
{
        return error_errno(error, ENOENT, "cannot read %s", "a file");
}

static int middle(struct error *error)
{
        return deepest(error) < 0 ? error_wrap(error, "cannot launch %d VMs", 3) : 0;
}

static void grows_on_the_way_up(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        assert_int_equal(middle(&error), -ENOENT);
        assert_int_equal(error.code, -ENOENT);
        assert_string_equal(error_text(&error), "cannot launch 3 VMs: cannot read a file: No such file or directory");
}

static void without_an_error_only_the_code_travels(void **state _unused_)
{
        assert_int_equal(error_set(NULL, -EINVAL, "x"), -EINVAL);
        assert_int_equal(error_errno(NULL, EPERM, "x"), -EPERM);
        assert_true(error_wrap(NULL, "x") < 0);
        assert_string_equal(error_text(NULL), "no error");
        error_clear(NULL);
}

static void may_be_made_of_itself(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        error_set(&error, -EIO, "first");
        error_set(&error, -EINVAL, "again: %s", error_text(&error));
        assert_string_equal(error_text(&error), "again: first");
        error_wrap(&error, "around %s", error_text(&error));
        assert_string_equal(error_text(&error), "around again: first: again: first");
        assert_int_equal(error.code, -EINVAL);
}

static void moves(void **state _unused_)
{
        struct error from = ERROR_NULL;
        _cleanup_error_ struct error to = ERROR_NULL;
        error_set(&to, -EPERM, "old");
        error_set(&from, -EIO, "new");
        assert_int_equal(error_move(&to, &from), -EIO);
        assert_string_equal(error_text(&to), "new");
        assert_null(from.text);
        assert_int_equal(from.code, 0);
        error_set(&from, -EBUSY, "dropped");
        assert_int_equal(error_move(NULL, &from), -EBUSY);
        assert_null(from.text);
}

static void is_cut_between_characters(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_buf_ struct buf text = BUF_NULL;
        buf_addc(&text, 'x');
        while (text.len < 10000)
                buf_adds(&text, "\xc3\xa4");
        error_set(&error, -EIO, "%s", buf_str(&text));
        assert_int_equal(strlen(error_text(&error)), 4095);
        assert_true(utf8_valid(error.text, strlen(error.text)));
}

static void a_code_alone_has_words(void **state _unused_)
{
        struct error error = {.code = -ENOENT};
        assert_string_equal(error_text(&error), "No such file or directory");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(grows_on_the_way_up),       cmocka_unit_test(without_an_error_only_the_code_travels),
                cmocka_unit_test(may_be_made_of_itself),     cmocka_unit_test(moves),
                cmocka_unit_test(is_cut_between_characters), cmocka_unit_test(a_code_alone_has_words),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
