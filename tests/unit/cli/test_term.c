/* What strangers wrote, made harmless; times in words. */
#include "cli/term.h"

#include <fcntl.h>

#include "base/clock.h"
#include "unit.h"

static void strangers_text_is_harmless(void **state _unused_)
{
        static const struct {
                const char *text, *expected;
        } cases[] = {
                {"plain \xc3\xa4 \xf0\x9f\x98\x80", "plain \xc3\xa4 \xf0\x9f\x98\x80"},
                {"tab\tnew\nline", "tab\tnew\nline"},
                {"\x1b]0;title\x07", "\\x1b]0;title\\x07"},
                {"\r\x7f\x08", "\\x0d\\x7f\\x08"},
                {"\xc2\x9b\x31m", "\\u{9b}1m"},
                {"\xe2\x80\xae\xe2\x80\x8b\xef\xbb\xbf", "\\u{202e}\\u{200b}\\u{feff}"},
                {"\xff\xc3\xe2\x82", "\\xff\\xc3\\xe2\\x82"},
                {"\xf3\xa0\x81\x81", "\\u{e0041}"},
                {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buf_ struct buf out = BUF_NULL;
                term_escape(cases[i].text, strlen(cases[i].text), true, &out);
                assert_string_equal(buf_str(&out), cases[i].expected);
        }
        _cleanup_buf_ struct buf one_line = BUF_NULL;
        term_escape("a\nb\0c", 5, false, &one_line);
        assert_string_equal(buf_str(&one_line), "a\\x0ab\\x00c");
}

static void colours_are_for_terminals(void **state _unused_)
{
        char text[256];
        FILE *file = tmpfile();
        term_put_coloured(file, "\033]0;t\007a\033[2J \033[1;31mred\033[0m \xe2\x80\xae\033[7mz\033[32mgreen");
        rewind(file);
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        assert_string_equal(text, "a \033[0;1;31mred\033[0m \\u{202e}z\033[0;32mgreen\033[0m");
        assert_false(term_has_colours(file));
        fclose(file);
        int terminal = posix_openpt(O_RDWR | O_NOCTTY);
        file = fdopen(terminal, "r+");
        unsetenv("NO_COLOR");
        setenv("TERM", "xterm", 1);
        assert_true(term_has_colours(file));
        setenv("NO_COLOR", "", 1);
        assert_true(term_has_colours(file));
        setenv("NO_COLOR", "1", 1);
        assert_false(term_has_colours(file));
        unsetenv("NO_COLOR");
        setenv("TERM", "dumb", 1);
        assert_false(term_has_colours(file));
        fclose(file);
}

static void counts_characters(void **state _unused_)
{
        assert_int_equal(term_columns(""), 0);
        assert_int_equal(term_columns("a\xc3\xa4\xf0\x9f\x98\x80"), 3);
}

static void durations_in_words(void **state _unused_)
{
        static const struct {
                double seconds;
                const char *expected;
        } cases[] = {{0, "0 s"},          {59.9, "59 s"}, {200, "3 min 20 s"},        {7500, "2 h 5 min"},
                     {273600, "3 d 4 h"}, {-5, "0 s"},    {__builtin_nan(""), "0 s"}, {1e300, "0 s"}};
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buf_ struct buf out = BUF_NULL;
                term_duration(cases[i].seconds, &out);
                assert_string_equal(buf_str(&out), cases[i].expected);
        }
}

static void ages_in_words(void **state _unused_)
{
        char then[CLOCK_ISO_SIZE];
        _cleanup_buf_ struct buf ago = BUF_NULL, never = BUF_NULL, nonsense = BUF_NULL;
        clock_iso(clock_now() - 7300, then);
        term_ago(then, &ago);
        term_ago(NULL, &never);
        term_ago("yesterday", &nonsense);
        assert_string_equal(buf_str(&ago), "2 h 1 min ago");
        assert_string_equal(buf_str(&never), "-");
        assert_string_equal(buf_str(&nonsense), "-");
}

static void progress_needs_a_terminal(void **state _unused_)
{
        struct progress progress;
        progress_init(&progress, true);
        progress_set(&progress, "launch %d of %d\n", 1, 3);
        assert_string_equal(progress.text, "launch 1 of 3\\x0a");
        progress.started -= 5000;
        progress_tick(&progress);
        assert_false(progress.drawn);
        progress_deinit(&progress);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(strangers_text_is_harmless),
                cmocka_unit_test(colours_are_for_terminals),
                cmocka_unit_test(counts_characters),
                cmocka_unit_test(durations_in_words),
                cmocka_unit_test(ages_in_words),
                cmocka_unit_test(progress_needs_a_terminal),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
