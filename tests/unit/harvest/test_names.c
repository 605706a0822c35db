/* Names that strangers chose: which are taken from a VM, and what an archive calls them. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "config/config.h"
#include "harvest/list.h"
#include "harvest/zip.h"

static void paths_stay_where_they_are_put(void **state _unused_)
{
        static const char *const good[] = {"a", "a/b", "-rf", "...", "a b\n", ".hidden/x", "\xff\xfe", "..a/b.."};
        static const char *const bad[] = {"",       "/",    "/etc/shadow", "..",  "../x", "a/..",
                                          "a/../b", "a//b", "a/",          "./a", "."};
        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_true(path_is_safe(good[i], strlen(good[i])));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(path_is_safe(bad[i], strlen(bad[i])));
        assert_false(path_is_safe("a\0b", 3));
        _cleanup_buf_ struct buf deep = BUF_NULL;
        for (int i = 0; i < PATH_DEPTH_MAX; i++)
                buf_adds(&deep, i ? "/d" : "d");
        assert_true(path_is_safe(buf_str(&deep), deep.len));
        buf_adds(&deep, "/d");
        assert_false(path_is_safe(buf_str(&deep), deep.len));
}

static void wishes_are_read_strictly(void **state _unused_)
{
        static char *exclude[] = {(char *)"models", NULL};
        struct config config = {.machine.extension = (char *)"slp", .harvest.exclude = exclude};
        static const struct {
                const char *asked, *kept; /* NULL: refused */
        } cases[] = {
                {"{}", "{\"extensions\":[\"slp\"]}"},
                {"{\"extensions\":[\".csv\",\"slp\",\"csv\"]}", "{\"extensions\":[\"csv\",\"slp\"]}"},
                {"{\"directory\":\"/home/client/x/\",\"vms\":[\"b\",\"a\"]}",
                 "{\"directory\":\"/home/client/x\",\"vms\":[\"a\",\"b\"]}"},
                {"{\"everything\":true,\"extensions\":[\"x\"]}", "{\"everything\":true}"},
                {"{\"extensions\":[\"a/b\"]}", NULL},
                {"{\"extensions\":[\"*\"]}", NULL},
                {"{\"extensions\":[1]}", NULL},
                {"{\"extensions\":[\"a b\"]}", NULL},
                {"{\"directory\":\"../x\"}", NULL},
                {"{\"directory\":\"a\\nb\"}", NULL},
                {"{\"vms\":[\"-x\"]}", NULL},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_selection_ struct selection selection = {0};
                _cleanup_error_ struct error error = ERROR_NULL;
                _cleanup_json_ json_t *asked = json_read(cases[i].asked, strlen(cases[i].asked), NULL);
                int r = selection_read(asked, &config, &selection, &error);
                assert_int_equal(r, cases[i].kept ? 0 : -EINVAL);
                if (r < 0)
                        continue;
                _cleanup_free_ char *text = selection_text(&selection);
                assert_string_equal(text, cases[i].kept);
        }
}

static void extensions_are_whole(void **state _unused_)
{
        static char *extensions[] = {(char *)"slp", NULL}, *exclude[] = {(char *)"models", NULL};
        struct selection selection = {.extensions = extensions, .exclude = exclude};
        assert_true(selection_takes(&selection, "a/b.slp"));
        assert_true(selection_takes(&selection, "models.slp"));
        assert_false(selection_takes(&selection, "a/models/b.slp"));
        assert_false(selection_takes(&selection, "slp"));
        assert_true(selection_takes(&selection, ".slp"));
        assert_false(selection_takes(&selection, "b.slp.txt"));
        assert_true(selection_takes(&selection, ".slp"));
}

static void archive_names(void **state _unused_)
{
        static const struct {
                const char *path, *name; /* `name` without the mark when it was changed */
                bool changed;
        } cases[] = {
                {"a/b c.slp", "vm/a/b c.slp", false},
                {"gr\xc3\xb6\xc3\x9f"
                 "e.slp",
                 "vm/gr\xc3\xb6\xc3\x9f"
                 "e.slp",
                 false},
                {"line\nbreak", "vm/line\nbreak", false},
                {"..\\up", "vm/..%5Cup~", true},
                {"\xff.slp", "vm/%FF.slp~", true},
                {"\x1b[31m", "vm/%1B[31m~", true},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *name = archive_name("vm", cases[i].path);
                if (!cases[i].changed)
                        assert_string_equal(name, cases[i].name);
                else
                        assert_memory_equal(name, cases[i].name, strlen(cases[i].name));
                assert_true(!cases[i].changed || strlen(name) == strlen(cases[i].name) + 8);
        }
        _cleanup_free_ char *one = archive_name("vm", "\xff"), *other = archive_name("vm", "%FF");
        assert_string_not_equal(one, other);
}

static void lists_come_in_pieces(void **state _unused_)
{
        static const char text[] = "12 1700000000.5 644 b.slp\0"
                                   "3 -1.25 7777 a\nb.slp\0"
                                   "3 1 600 ../x.slp\0x\0\0"
                                   "9 1.0 600 b.slp\0-1 1.0 600 c.slp\0"
                                   "7 1.0 600 cut.slp";
        static char *extensions[] = {(char *)"slp", NULL};
        struct selection selection = {.extensions = extensions};
        for (size_t step = 1; step < sizeof text; step++) {
                struct finds finds = {0};
                struct list_parser parser = {
                        .selection = &selection, .prefix = "Desktop/", .files_max = 100, .finds = &finds};
                for (size_t at = 0; at < sizeof text - 1; at += step)
                        assert_int_equal(list_feed(&parser, text + at, MIN(step, sizeof text - 1 - at)), 0);
                list_done(&parser);
                assert_int_equal(finds.n, 2);
                assert_string_equal(finds.list[0].path, "Desktop/a\nb.slp");
                assert_int_equal(finds.list[0].mtime_ns, -1250000000);
                assert_int_equal(finds.list[0].mode, 0777);
                assert_string_equal(finds.list[1].path, "Desktop/b.slp");
                finds_clear(&finds);
        }
}

static void entries_keep_every_byte(void **state _unused_)
{
        struct entry entry = {.path = (char *)"a/\xff\n\"b", .size = 1LL << 40, .mtime_ns = -1, .mode = 0640}, back;
        memset(entry.hash, 'a', HASH_LENGTH);
        _cleanup_json_ json_t *json = entry_json(&entry);
        assert_int_equal(entry_read(json, &back), 0);
        assert_string_equal(back.path, entry.path);
        assert_true(back.size == entry.size && back.mtime_ns == -1 && back.mode == 0640);
        entry_clear(&back);
        json_object_set_new(json, "path", json_string("../x"));
        assert_int_equal(entry_read(json, &back), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(paths_stay_where_they_are_put), cmocka_unit_test(wishes_are_read_strictly),
                cmocka_unit_test(extensions_are_whole),          cmocka_unit_test(archive_names),
                cmocka_unit_test(lists_come_in_pieces),          cmocka_unit_test(entries_keep_every_byte),
        };
        return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
