/* Secrets: their form, their hash, their comparison. */
#include "base/token.h"
#include "unit.h"

static void random_ones_differ(void **state _unused_)
{
        char a[TOKEN_LENGTH + 1], b[TOKEN_LENGTH + 1];
        token_random(a);
        token_random(b);
        assert_int_equal(strlen(a), TOKEN_LENGTH);
        assert_int_equal(strspn(a, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), TOKEN_LENGTH);
        assert_string_not_equal(a, b);
}

static void hash_is_sha256(void **state _unused_)
{
        char hash[TOKEN_HASH_LENGTH + 1];
        token_hash("abc", hash); /* FIPS 180-2, appendix B.1 */
        assert_string_equal(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        token_hash("", hash);
        assert_string_equal(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void compares(void **state _unused_)
{
        assert_true(token_equal("same", "same"));
        assert_true(token_equal("", ""));
        assert_false(token_equal("same", "sane"));
        assert_false(token_equal("same", "samelonger"));
        assert_false(token_equal("same", ""));
        assert_false(token_equal(NULL, NULL));
        assert_false(token_equal("same", NULL));
        assert_false(token_equal(NULL, "same"));
}

static void digits_are_digits(void **state _unused_)
{
        char pin[7], none[1] = {'x'};
        bool seen[10] = {false};
        for (int i = 0; i < 500; i++) {
                token_digits(pin, 6);
                assert_int_equal(strlen(pin), 6);
                assert_int_equal(strspn(pin, "0123456789"), 6);
                for (int k = 0; k < 6; k++)
                        seen[pin[k] - '0'] = true;
        }
        for (int digit = 0; digit < 10; digit++)
                assert_true(seen[digit]); /* 3,000 digits without one of them: probability 1e-137 */
        token_digits(none, 0);
        assert_string_equal(none, "");
}

static void passwords_can_be_typed(void **state _unused_)
{
        _cleanup_free_ char *password = token_password(), *other = token_password();
        assert_int_equal(strlen(password), 19);
        assert_int_equal(strspn(password, "abcdefghjkmnpqrstuvwxyz23456789-"), 19);
        assert_int_equal(password[4], '-');
        assert_int_equal(password[9], '-');
        assert_int_equal(password[14], '-');
        assert_string_not_equal(password, other);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(random_ones_differ),
                cmocka_unit_test(hash_is_sha256),
                cmocka_unit_test(compares),
                cmocka_unit_test(digits_are_digits),
                cmocka_unit_test(passwords_can_be_typed),
        };
        token_init();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
