/* What stays of a terminal's language: the text, and nothing that moves a cursor. */
#include <string.h>

#include "base/ansi.h"
#include "base/text.h"
#include "unit.h"

static void strips(void **state _unused_)
{
        static const struct {
                const char *from, *to;
        } rows[] = {
                {"", ""},
                {"plain", "plain"},
                {"caf\xc3\xa9 \xf0\x9f\x90\xad", "caf\xc3\xa9 \xf0\x9f\x90\xad"},
                {"a\tb", "a    b"},
                {"\033[31mred\033[0m", "red"},
                {"\033[1;38;5;200mx\033[K\033[2J\033[10;20Hy", "xy"},
                {"\033[?25l\033[!pz\033[ q", "z"},
                {"\033]0;title\007after", "after"},
                {"\033]8;;http://x\033\\link\033]8;;\033\\", "link"},
                {"\033Pq#0;2\033\\six", "six"},
                {"\033_apc\033\\\033^pm\033\\\033Xsos\033\\t", "t"},
                {"\033(B\033)0\033#8\033 Fq", "q"},
                {"\033c\0337\0338\033=\033>r", "r"},
                {"one\rtwo\bthree\007\v\f", "onetwothree"},
                {"\177del", "del"},
                {"\xc2\x9b"
                 "31mC1\xc2\x9d"
                 "0;t\xc2\x9c!",
                 "C1!"},
                {"cut\033[31", "cut"},
                {"cut\033]0;never ends", "cut"},
                {"cut\033", "cut"},
                {"\033[31\033[32mgreen", "green"},
                {"\033]0;a\030b", "b"},
                {"bad \xff\xfe utf8", "bad \xef\xbf\xbd\xef\xbf\xbd utf8"},
                {"\033\xc3\xa9\033$\xc3\xa9", "\xc3\xa9\xc3\xa9"},
                {"\xc2\xa0nbsp", "\xc2\xa0nbsp"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_buf_ struct buf out = BUF_NULL;
                ansi_strip(rows[i].from, strlen(rows[i].from), &out);
                assert_string_equal(buf_str(&out), rows[i].to);
        }
}

static void takes_nul(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        ansi_strip("a\0b", 3, &out);
        assert_string_equal(buf_str(&out), "a\xef\xbf\xbd"
                                           "b");
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(strips), cmocka_unit_test(takes_nul)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
