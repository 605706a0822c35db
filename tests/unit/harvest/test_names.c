/* Names that strangers chose: which are taken from a VM, and what an archive calls them. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "config/config.h"
#include "harvest/list.h"
#include "harvest/zip.h"
#include "provider/ssh_words.h"

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
                assert_int_equal(finds.left_all, 1); /* ../x.slp */
                assert_int_equal(finds.n, 2);
                assert_string_equal(finds.list[0].path, "Desktop/a\nb.slp");
                assert_int_equal(finds.list[0].mtime_ns, -1250000000);
                assert_int_equal(finds.list[0].mode, 0777);
                assert_string_equal(finds.list[1].path, "Desktop/b.slp");
                finds_clear(&finds);
        }
}

static void what_is_too_long_or_deep_is_told(void **state _unused_)
{
        static char *extensions[] = {(char *)"slp", NULL};
        struct selection selection = {.extensions = extensions};
        _cleanup_buf_ struct buf text = BUF_NULL;
        buf_adds(&text, "1 1.0 600 ok.slp");
        buf_addc(&text, '\0');
        buf_adds(&text, "2 1.0 600 ");
        for (int i = 0; i < PATH_DEPTH_MAX; i++)
                buf_adds(&text, "d/");
        buf_adds(&text, "deep.slp");
        buf_addc(&text, '\0');
        buf_adds(&text, "3 1.0 600 ");
        for (int i = 0; i < 5000; i++)
                buf_addc(&text, i % 100 ? '\xff' : '/');
        buf_adds(&text, ".slp");
        buf_addc(&text, '\0');
        for (size_t step = 1; step < text.len; step = step * 7 + 1) {
                struct finds finds = {0};
                struct list_parser parser = {.selection = &selection, .prefix = "", .files_max = 9, .finds = &finds};
                for (size_t at = 0; at < text.len; at += step)
                        assert_int_equal(list_feed(&parser, text.data + at, MIN(step, text.len - at)), 0);
                list_done(&parser);
                assert_int_equal(finds.n, 1);
                assert_int_equal(finds.left_all, 2);
                assert_string_equal(finds.left[0].path + strlen(finds.left[0].path) - 11, "/d/deep.slp");
                assert_int_equal(finds.left[1].size, 3);
                assert_true(strlen(finds.left[1].path) < 1500 && strncmp(finds.left[1].path, "/%FF%FF", 7) == 0);
                assert_non_null(strstr(finds.left[1].path, " ... "));
                finds_clear(&finds);
        }
}

/* Leads down through `n` directories of that name; the descriptor of the last. */
static int dig(int from, const char *name, int n)
{
        int at = dup(from);
        for (; n > 0; n--) {
                assert_int_equal(mkdirat(at, name, 0700), 0);
                int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                assert_true(next >= 0);
                close(at);
                at = next;
        }
        return at;
}

static void make_file(int at, const char *name)
{
        _cleanup_close_ int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, "x", 1), 1);
}

static void walks_name_what_they_leave(void **state _unused_)
{
        static char *extensions[] = {(char *)"slp", NULL};
        struct selection selection = {.extensions = extensions};
        struct walk walk = {.selection = &selection, .files_max = 1000, .entries_max = 10000};
        char place[] = "/tmp/lablink-walk-XXXXXX", name[251];
        struct finds finds = {0};
        assert_non_null(mkdtemp(place));
        _cleanup_close_ int root = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_close_ int deep = dig(root, "d", PATH_DEPTH_MAX);
        memset(name, 'n', sizeof name - 1);
        name[sizeof name - 1] = '\0';
        _cleanup_close_ int lengthy = dig(root, name, 16); /* 4,015 bytes */
        _cleanup_close_ int too_lengthy = dig(lengthy, name, 1);
        make_file(root, "ok.slp");
        make_file(deep, "deep.slp"), make_file(deep, "other.txt");
        assert_int_equal(mkdirat(deep, "deeper", 0700), 0);
        make_file(lengthy, "fits.slp");
        make_file(too_lengthy, "long.slp");
        assert_int_equal(walk_find(root, &walk, &finds, NULL), 0);
        assert_int_equal(finds.n, 2); /* ok, fits */
        assert_int_equal(finds.left_all, 3);
        for (size_t i = 0; i < finds.left_n; i++) {
                const char *path = finds.left[i].path;
                assert_true(str_ends(path, "d/deep.slp") || str_ends(path, "d/deeper/") || str_ends(path, "nnn/"));
                assert_true(strlen(path) < 500);
        }
        finds_clear(&finds);
        for (int i = 0; i < 2 * LEFT_NAMED_MAX; i++) {
                char each[24];
                snprintf(each, sizeof each, "%d.slp", i);
                make_file(deep, each);
        }
        assert_int_equal(walk_find(root, &walk, &finds, NULL), 0);
        assert_int_equal(finds.left_n, LEFT_NAMED_MAX);
        assert_int_equal(finds.left_all, 2 * LEFT_NAMED_MAX + 3);
        finds_clear(&finds);
        assert_int_equal(dir_remove(place, NULL), 0);
}

static void paths_are_shown_as_text(void **state _unused_)
{
        static const char *const cases[][2] = {
                {"a/gr\xc3\xb6\xc3\x9f"
                 "e",
                 "a/gr\xc3\xb6\xc3\x9f"
                 "e"},
                {"\x1b[31m\n", "%1B[31m%0A"},
                {"\xff\xc3", "%FF%C3"},
                {"\xe2\x82x", "%E2%82x"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *shown = path_shown(cases[i][0]);
                assert_string_equal(shown, cases[i][1]);
        }
}

/* As ssh itself reads it: `ssh -G` prints what it has understood. */
static void ssh_reads_paths_as_they_are(void **state _unused_)
{
        static const char *const paths[] = {"/a b/it's", "/a\"b\\c 'd'", "/100%/%h", "/$HOME/#x", "/plain"};
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                _cleanup_buf_ struct buf option = BUF_NULL, out = BUF_NULL;
                assert_int_equal(ssh_path_option("ControlPath", paths[i], &option, NULL), 0);
                const char *argv[] = {"ssh", "-G", "-F", "none", "-o", buf_str(&option), "vm", NULL};
                assert_int_equal(process_capture(argv, &out, NULL), 0);
                _cleanup_free_ char *line = xasprintf("\ncontrolpath %s\n", paths[i]);
                assert_non_null(strstr(buf_str(&out), line));
        }
        _cleanup_buf_ struct buf none = BUF_NULL;
        assert_int_equal(ssh_path_option("ControlPath", "/${HOME}", &none, NULL), -EINVAL);
        assert_int_equal(ssh_path_option("ControlPath", "/a\nb", &none, NULL), -EINVAL);
        assert_int_equal(ssh_path_option("ControlPath", NULL, &none, NULL), -EINVAL);
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
                cmocka_unit_test(lists_come_in_pieces),          cmocka_unit_test(what_is_too_long_or_deep_is_told),
                cmocka_unit_test(walks_name_what_they_leave),    cmocka_unit_test(paths_are_shown_as_text),
                cmocka_unit_test(ssh_reads_paths_as_they_are),   cmocka_unit_test(entries_keep_every_byte),
        };
        return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
