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
                {"a\tb", "a\tb"},
                {"\033[31mred\033[0m", "red"},
                {"\033[1;38;5;200mx\033[K\033[2J\033[10;20Hy", "xy"},
                {"\033[?25l\033[!pz\033[ q", "z"},
                {"\033]0;title\007after", "after"},
                {"\033]8;;http://x\033\\link\033]8;;\033\\", "link"},
                {"\033Pq#0;2\033\\six", "six"},
                {"\033_apc\033\\\033^pm\033\\\033Xsos\033\\t", "t"},
                {"\033(B\033)0\033#8\033 Fq", "q"},
                {"\033c\0337\0338\033=\033>r", "r"},
                {"one\rtwo\bthree\007\v\f", "one twothree"},
                {"\rfrom the start\r\r\n", "from the start"},
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

/* Colours stay in one spelling; whatever else a sequence says goes. */
static void keeps_colours(void **state _unused_)
{
        static const struct {
                const char *from, *to;
        } rows[] = {
                {"", ""},
                {"plain", "plain"},
                {"\033[31mred\033[0m", "\033[0;31mred\033[0m"},
                {"\033[31mred\033[m plain", "\033[0;31mred\033[0m plain"},
                {"\033[1m\033[92mgood\033[0m", "\033[0;1;92mgood\033[0m"},
                {"\033[4;1;44;37mall\033[39;49;22;24m", "\033[0;1;4;37;44mall\033[0m"},
                {"\033[1;31ma\033[22mb\033[39mc", "\033[0;1;31ma\033[0;31mb\033[0mc"},
                {"never ended \033[107mx", "never ended \033[0;107mx\033[0m"},
                {"\033[0m\033[31m\033[0mno effect\033[0;1m", "no effect"},
                {"\033[31mone\033[31mand the same\033[0m", "\033[0;31moneand the same\033[0m"},
                {"\033[0000031mzeros", "\033[0;31mzeros\033[0m"},
                {"\033[38;5;9mbright\033[48;5;3m on\033[38;5;200m other",
                 "\033[0;91mbright\033[0;91;43m on other\033[0m"},
                {"\033[38;2;1;31;32;4mtrue", "\033[0;4mtrue\033[0m"},
                {"\033[38;2;1;31mcut", "cut"},
                {"\033[38mcut\033[38;5m\033[38;m!", "cut!"},
                {"\033[999999mx\033[4294967327my\033[18446744073709551647mz", "xyz"},
                {"\033[38:5:1mx\033[>31my\033[?31mz\033[31 m\033[-31m!", "xyz!"},
                {"\033[31;31;31;31;31;31;31;31;31;31;31;31;31;31;31;31;31;31;31;31;31;31;31mtoo long", "too long"},
                {"\033]0;title\007\033[2J\033[31m<script>", "\033[0;31m<script>\033[0m"},
                {"\xc2\x9b"
                 "31mC1",
                 "\033[0;31mC1\033[0m"},
                {"\033[31", ""},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_buf_ struct buf out = BUF_NULL;
                ansi_colours(rows[i].from, strlen(rows[i].from), &out);
                assert_string_equal(buf_str(&out), rows[i].to);
        }
}

/* A rainbow: as many changes as allowed, then plain text. */
static void ends_a_rainbow(void **state _unused_)
{
        _cleanup_buf_ struct buf rainbow = BUF_NULL, out = BUF_NULL, again = BUF_NULL;
        for (unsigned i = 0; i < 1000; i++)
                buf_addf(&rainbow, "\033[%um.", 31 + i % 6);
        ansi_colours(rainbow.data, rainbow.len, &out);
        size_t escapes = 0;
        for (size_t i = 0; i < out.len; i++)
                escapes += out.data[i] == '\033';
        assert_int_equal(escapes, ANSI_CHANGES_MAX + 1);
        ansi_colours(out.data, out.len, &again);
        assert_string_equal(buf_str(&again), buf_str(&out));
}

static void gives_pieces(void **state _unused_)
{
        static const struct {
                const char *codes, *text;
        } rows[] = {{"", "a "}, {"31", "red"}, {"1;31;40", "bold"}, {"", " z"}};
        const char *at = "a \033[0;31mred\033[0;1;31;40mbold\033[0m z\033[0;1m\033[0m";
        struct ansi_piece piece = {0};
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                assert_true(ansi_next(&at, &piece));
                assert_int_equal(piece.codes_len, strlen(rows[i].codes));
                assert_memory_equal(piece.codes ? piece.codes : "", rows[i].codes, piece.codes_len);
                assert_int_equal(piece.len, strlen(rows[i].text));
                assert_memory_equal(piece.text, rows[i].text, piece.len);
        }
        assert_false(ansi_next(&at, &piece));
        /* What is none of ours is text, and is not walked over twice. */
        at = "\033[2J";
        piece = (struct ansi_piece){0};
        assert_true(ansi_next(&at, &piece));
        assert_int_equal(piece.len, 4);
        assert_false(ansi_next(&at, &piece));
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
        const struct CMUnitTest tests[] = {cmocka_unit_test(strips), cmocka_unit_test(keeps_colours),
                                           cmocka_unit_test(ends_a_rainbow), cmocka_unit_test(gives_pieces),
                                           cmocka_unit_test(takes_nul)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
