/* Files that are whole or old, locks that children inherit, trees that are removed without leaving them. */
#include "base/file.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/text.h"
#include "unit.h"

static char *room; /* a directory of the test's own */

static int make_room(void **state _unused_)
{
        room = xstrdup("/tmp/lablink-test-file-XXXXXX");
        return mkdtemp(room) ? 0 : -1;
}

static int remove_room(void **state _unused_)
{
        int r = dir_remove(room, NULL);
        free(room);
        return r;
}

static char *at(const char *name)
{
        return path_join(room, name);
}

static void put(const char *path, const char *text)
{
        assert_int_equal(file_write(path, text, strlen(text), 0644, NULL), 0);
}

static bool exists(const char *path)
{
        struct stat st;
        return lstat(path, &st) == 0;
}

static void joins(void **state _unused_)
{
        _cleanup_free_ char *a = path_join("/a", "b"), *b = path_join("/a/", "b"), *c = path_join("/", "b");
        assert_string_equal(a, "/a/b");
        assert_string_equal(b, "/a/b");
        assert_string_equal(c, "/b");
}

static void writes_and_reads(void **state _unused_)
{
        _cleanup_free_ char *path = at("file");
        _cleanup_buf_ struct buf text = BUF_NULL;
        struct stat st;
        assert_int_equal(file_write(path, "a\0b", 3, 0600, NULL), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        buf_adds(&text, "before:");
        assert_int_equal(file_read(path, 3, &text, NULL), 0);
        assert_memory_equal(text.data, "before:a\0b", 11);
        put(path, "new");
        buf_truncate(&text, 0);
        assert_int_equal(file_read(path, 100, &text, NULL), 0);
        assert_string_equal(buf_str(&text), "new");
}

static void reading_is_limited(void **state _unused_)
{
        _cleanup_free_ char *path = at("large"), *missing = at("missing");
        _cleanup_buf_ struct buf text = BUF_NULL;
        _cleanup_error_ struct error error = ERROR_NULL;
        put(path, "12345");
        assert_int_equal(file_read(path, 4, &text, &error), -EFBIG);
        assert_contains(error_text(&error), "larger than 4 bytes");
        assert_int_equal(file_read(missing, 4, &text, &error), -ENOENT);
        assert_contains(error_text(&error), missing);
        assert_int_equal(file_read(room, 4, &text, &error), -EISDIR);
        assert_int_equal(file_read("/dev/zero", 1000, &text, &error), -EFBIG);
}

static void a_failed_write_leaves_nothing(void **state _unused_)
{
        _cleanup_free_ char *directory = at("taken"), *inside = at("taken/file"), *nowhere = at("nowhere/file");
        _cleanup_error_ struct error error = ERROR_NULL;
        assert_int_equal(mkdir(directory, 0755), 0);
        put(inside, "x");
        assert_true(file_write(directory, "y", 1, 0644, &error) < 0); /* a directory is in the way */
        assert_true(file_write(nowhere, "y", 1, 0644, &error) < 0);
        assert_contains(error_text(&error), "cannot write");
        assert_int_equal(dir_remove(directory, NULL), 0);
        assert_int_equal(rmdir(room), 0); /* nothing was left beside it */
        assert_int_equal(mkdir(room, 0700), 0);
}

static void a_link_is_replaced_not_followed(void **state _unused_)
{
        _cleanup_free_ char *target = at("target"), *link = at("link");
        _cleanup_buf_ struct buf text = BUF_NULL;
        put(target, "old");
        assert_int_equal(symlink(target, link), 0);
        put(link, "new");
        assert_int_equal(file_read(target, 100, &text, NULL), 0);
        assert_string_equal(buf_str(&text), "old");
}

static void makes_directories(void **state _unused_)
{
        _cleanup_free_ char *deep = at("a/b/c"), *file = at("file"), *under = at("file/x");
        _cleanup_error_ struct error error = ERROR_NULL;
        struct stat st;
        mode_t before = umask(077);
        assert_int_equal(dir_make(deep, 0711, NULL), 0);
        assert_int_equal(stat(deep, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0711);
        assert_int_equal(dir_make(deep, 0700, NULL), 0);
        assert_int_equal(stat(deep, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        umask(before);
        put(file, "x");
        assert_int_equal(dir_make(file, 0755, &error), -ENOTDIR);
        assert_int_equal(dir_make(under, 0755, &error), -ENOTDIR);
        assert_true(dir_make("", 0755, &error) < 0);
        assert_int_equal(dir_make("/", 0755, NULL), 0);
}

static void removes_a_tree_and_follows_no_link(void **state _unused_)
{
        _cleanup_free_ char *outside = at("outside"), *precious = at("outside/precious"), *tree = at("tree");
        _cleanup_free_ char *deep = at("tree/a/b"), *link = at("tree/a/link"), *dangling = at("tree/a/b/dangling");
        _cleanup_free_ char *fifo = at("tree/fifo"), *up = at("tree/a/b/up"), *top = at("top");
        assert_int_equal(dir_make(outside, 0755, NULL), 0);
        put(precious, "x");
        assert_int_equal(dir_make(deep, 0755, NULL), 0);
        assert_int_equal(symlink(outside, link), 0);
        assert_int_equal(symlink("/nowhere", dangling), 0);
        assert_int_equal(symlink("../../..", up), 0);
        assert_int_equal(mkfifo(fifo, 0600), 0);
        assert_int_equal(dir_remove(tree, NULL), 0);
        assert_false(exists(tree));
        assert_true(exists(precious));
        assert_int_equal(dir_remove(tree, NULL), 0); /* a missing one is no error */
        assert_int_equal(symlink(outside, top), 0);
        assert_int_equal(dir_remove(top, NULL), 0);
        assert_false(exists(top));
        assert_true(exists(precious));
}

/* Deeper than there are descriptors, and than a path can say. */
static void removes_what_a_vandal_nested(void **state _unused_)
{
        _cleanup_free_ char *tree = at("deep");
        struct rlimit before, few;
        assert_int_equal(mkdir(tree, 0755), 0);
        int fd = open(tree, O_RDONLY | O_DIRECTORY);
        for (int i = 0; i < 3000; i++) {
                assert_int_equal(mkdirat(fd, "d", 0755), 0);
                assert_int_equal(mkdirat(fd, "e", 0755), 0);
                int next = openat(fd, "d", O_RDONLY | O_DIRECTORY);
                close(openat(fd, ".lablink-removed-1", O_CREAT | O_WRONLY,
                             0600)); /* the name that is used to move up */
                close(fd);
                fd = next;
        }
        close(fd);
        getrlimit(RLIMIT_NOFILE, &before);
        few = (struct rlimit){.rlim_cur = 100, .rlim_max = before.rlim_max};
        setrlimit(RLIMIT_NOFILE, &few);
        _cleanup_error_ struct error error = ERROR_NULL;
        int r = dir_remove(tree, &error);
        setrlimit(RLIMIT_NOFILE, &before);
        if (r < 0)
                fail_msg("%s", error_text(&error));
        assert_false(exists(tree));
}

/* In a mount namespace of its own. 77: this machine lets us make none. */
static int remove_over_a_mount(void)
{
        _cleanup_free_ char *disk = at("disk"), *file = at("disk/file"), *tree = at("mounted"),
                            *point = at("mounted/m");
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return 77;
        if (mkdir(disk, 0755) < 0 || dir_make(point, 0755, NULL) < 0 || file_write(file, "x", 1, 0600, NULL) < 0)
                return 1;
        if (mount(disk, point, NULL, MS_BIND, NULL) < 0)
                return 77;
        if (dir_remove(tree, NULL) != -EXDEV || !exists(file))
                return 2;
        umount2(point, MNT_DETACH);
        return dir_remove(tree, NULL) == 0 && exists(file) ? 0 : 3;
}

static void stops_at_a_mount_of_the_same_disk(void **state _unused_)
{
        int status;
        pid_t pid = fork();
        if (pid == 0)
                _exit(remove_over_a_mount());
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
                skip();
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void one_holds_the_lock(void **state _unused_)
{
        _cleanup_free_ char *path = at("lock"), *link = at("lock-link");
        _cleanup_error_ struct error error = ERROR_NULL;
        int first = -1, second = -1;
        assert_int_equal(file_lock(path, 0, &first, NULL), 0);
        assert_true(fcntl(first, F_GETFD) & FD_CLOEXEC);
        assert_int_equal(file_lock(path, 0, &second, &error), -EWOULDBLOCK);
        assert_contains(error_text(&error), "held by another process");
        assert_int_equal(file_lock(path, 60, &second, &error), -EWOULDBLOCK);
        assert_int_equal(second, -1);
        close(first);
        assert_int_equal(file_lock(path, 0, &second, NULL), 0);
        close(second);
        assert_int_equal(symlink(path, link), 0);
        assert_int_equal(file_lock(link, 0, &second, &error), -ELOOP);
}

static void a_child_that_inherited_it_holds_it(void **state _unused_)
{
        _cleanup_free_ char *path = at("inherited");
        int fd = -1, other = -1;
        assert_int_equal(file_lock(path, 0, &fd, NULL), 0);
        pid_t pid = fork();
        if (pid == 0) {
                pause();
                _exit(0);
        }
        close(fd);
        assert_int_equal(file_lock(path, 0, &other, NULL), -EWOULDBLOCK);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_int_equal(file_lock(path, 0, &other, NULL), 0);
        close(other);
}

static void waits_for_the_lock(void **state _unused_)
{
        _cleanup_free_ char *path = at("waited");
        int fd = -1, other = -1, go[2];
        assert_int_equal(pipe(go), 0);
        assert_int_equal(file_lock(path, 0, &fd, NULL), 0);
        pid_t pid = fork();
        if (pid == 0) {
                char c;
                ssize_t n = read(go[0], &c, 1);
                usleep(50000);
                _exit(n == 1 ? 0 : 1);
        }
        close(fd);
        assert_int_equal(write(go[1], "x", 1), 1);
        assert_int_equal(file_lock(path, 60000, &other, NULL), 0);
        waitpid(pid, NULL, 0);
        close(other);
        close(go[0]);
        close(go[1]);
}

static void full_devices_are_told(void **state _unused_)
{
        int fd = open("/dev/full", O_WRONLY);
        assert_int_equal(fd_write_all(fd, "x", 1), -ENOSPC);
        close(fd);
        assert_int_equal(fd_write_all(-1, "x", 1), -EBADF);
}

#define in_room(test) cmocka_unit_test_setup_teardown(test, make_room, remove_room)

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(joins),
                in_room(writes_and_reads),
                in_room(reading_is_limited),
                in_room(a_failed_write_leaves_nothing),
                in_room(a_link_is_replaced_not_followed),
                in_room(makes_directories),
                in_room(removes_a_tree_and_follows_no_link),
                in_room(removes_what_a_vandal_nested),
                in_room(stops_at_a_mount_of_the_same_disk),
                in_room(one_holds_the_lock),
                in_room(a_child_that_inherited_it_holds_it),
                in_room(waits_for_the_lock),
                cmocka_unit_test(full_devices_are_told),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
