/*
 * The embedded cluster: made, found running, started again after every kind of end, refused when it is of another
 * version or out of reach. Who may connect is tried with a real second user where we are root.
 */
#include "pg.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"

static struct pg pg;

static int open_pg(void **state _unused_)
{
        pg_open(&pg);
        pg_exec(&pg, "create table kept (n int)");
        return 0;
}

static int close_pg(void **state _unused_)
{
        pg_close(&pg);
        return 0;
}

static char *place(const char *name)
{
        return xasprintf("%s/db/%s", pg.directory, name);
}

static void until_ended(pid_t pid)
{
        int64_t deadline = clock_ms() + PG_PATIENCE_MS;
        while (waitpid(pid, NULL, WNOHANG) == 0 && clock_ms() < deadline)
                clock_sleep_ms(5);
        struct process_identity identity;
        while (process_identify(pid, &identity) == 0 && process_is(&identity)) {
                assert_true(clock_ms() < deadline);
                clock_sleep_ms(5);
        }
}

static void is_made_as_promised(void **state _unused_)
{
        _cleanup_free_ char *version = NULL, *conninfo = NULL, *data = place("data"), *run = place("run");
        struct cluster_options options = pg_options(&pg);
        struct stat st;
        assert_false(cluster_adopted(pg.cluster));
        assert_true(cluster_pid(pg.cluster) > 1);
        assert_true(getsid(cluster_pid(pg.cluster)) == cluster_pid(pg.cluster));
        version = cluster_version(options.directory);
        assert_true(strtol(version, NULL, 10) >= 14);
        conninfo = cluster_conninfo_at(&options);
        assert_string_equal(conninfo, pg.conninfo);
        assert_int_equal(stat(data, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        assert_true(geteuid() != 0 || st.st_uid != 0);
        assert_int_equal(stat(run, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0755);

        static const char *const settings[][2] = {
                {"listen_addresses", ""},     {"max_connections", "60"}, {"fsync", "on"},
                {"server_encoding", "UTF8"},  {"lc_collate", "C"},       {"client_connection_check_interval", "1s"},
                {"synchronous_commit", "on"}, {"TimeZone", "UTC"},       {"data_checksums", "on"}};
        for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
                _cleanup_free_ char *sql = xasprintf("select current_setting('%s', true)", settings[i][0]);
                _cleanup_free_ char *value = pg_value(&pg, sql);
                if (!str_eq(value, settings[i][1]) && !str_eq(settings[i][0], "lc_collate"))
                        fail_msg("%s is %s", settings[i][0], value);
        }
        _cleanup_free_ char *owner = pg_value(&pg, "select current_user || '|' || current_database() || '|' ||"
                                                   " (select rolsuper from pg_roles where rolname = current_user)");
        assert_string_equal(owner, "lablink|lablink_db|false");
        _cleanup_free_ char *collation = pg_value(
                &pg, "select datcollate from pg_database where datname = current_database()");
        assert_string_equal(collation, "C");
}

static void nothing_is_there_yet(void **state _unused_)
{
        _cleanup_free_ char *version = cluster_version("/nonexistent");
        assert_string_equal(version, "");
}

static void a_living_one_is_adopted(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct cluster_options options = pg_options(&pg);
        struct cluster *second;
        pg_fine(cluster_start(&options, &second, &error), &error);
        assert_true(cluster_adopted(second));
        assert_int_equal(cluster_pid(second), cluster_pid(pg.cluster));
        assert_string_equal(cluster_conninfo(second), pg.conninfo);
        cluster_free(second); /* leaves it running */
        pg_exec(&pg, "insert into kept values (1)");
}

/* A supervisor that dies without a word: its postmaster lives, and the next supervisor takes it over and can stop it. */
static void outlives_who_started_it(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct cluster_options options = pg_options(&pg);
        pg_fine(cluster_stop(pg.cluster, &error), &error);
        pid_t starter = fork();
        if (starter == 0) {
                struct cluster *cluster;
                setsid();
                if (cluster_start(&options, &cluster, NULL) < 0)
                        _exit(1);
                kill(0, SIGKILL); /* its whole group */
        }
        int status;
        assert_int_equal(waitpid(starter, &status, 0), starter);
        assert_true(WIFSIGNALED(status));
        pg_start(&pg);
        assert_true(cluster_adopted(pg.cluster));
        pg_exec(&pg, "insert into kept values (2)");
        pid_t pid = cluster_pid(pg.cluster);
        pg_fine(cluster_stop(pg.cluster, &error), &error);
        until_ended(pid);
        pg_start(&pg);
        assert_false(cluster_adopted(pg.cluster));
        assert_int_equal(pg_number(&pg, "select count(*) from kept where n = 2"), 1);
}

static void kill_9_loses_nothing(void **state _unused_)
{
        for (int round = 0; round < 3; round++) {
                _cleanup_db_ struct db *busy = pg_db(&pg);
                _cleanup_free_ char *sql = xasprintf("insert into kept values (%d)", 100 + round);
                pid_t old = cluster_pid(pg.cluster);
                PQsendQuery(db_raw(busy), "select pg_sleep(1000)"); /* a backend that notices late */
                PQflush(db_raw(busy));
                pg_exec(&pg, sql);
                assert_int_equal(kill(old, SIGKILL), 0);
                pg_start(&pg);
                assert_false(cluster_adopted(pg.cluster));
                assert_true(cluster_pid(pg.cluster) != old);
                assert_int_equal(pg_number(&pg, "select count(*) from kept where n >= 100"), round + 1);
        }
        pg_exec(&pg, "delete from kept where n >= 100");
}

/* The pid file of a machine that lost power: the pid in it is somebody else by now, even one of the same user. */
static void a_stale_pid_is_seen_through(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_free_ char *path = place("data/postmaster.pid");
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        pg_fine(cluster_stop(pg.cluster, &error), &error);
        static const char *const argv[] = {"sleep", "1000", NULL};
        struct process_spec spec = {.argv = argv,
                                    .stdin_fd = PROCESS_FD_NULL,
                                    .stdout_fd = PROCESS_FD_NULL,
                                    .stderr_fd = PROCESS_FD_NULL,
                                    .drop_ids = geteuid() == 0,
                                    .uid = st.st_uid,
                                    .gid = st.st_gid};
        pid_t other;
        pg_fine(process_spawn(&spec, &other, &error), &error);
        _cleanup_free_ char *text = xasprintf("%d\n%s/db/data\n1\n5432\n\n\n\nready\n", (int)other, pg.directory);
        pg_fine(file_write(path, text, strlen(text), 0600, &error), &error);
        assert_true(geteuid() != 0 || chown(path, st.st_uid, st.st_gid) == 0);
        pg_start(&pg);
        assert_false(cluster_adopted(pg.cluster));
        assert_int_equal(waitpid(other, NULL, WNOHANG), 0); /* it was let alone */
        process_stop(other, false, 0);
}

static void another_version_is_refused(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_free_ char *path = place("data/PG_VERSION");
        _cleanup_buf_ struct buf version = BUF_NULL;
        struct cluster_options options = pg_options(&pg);
        struct cluster *cluster;
        pg_fine(cluster_stop(pg.cluster, &error), &error);
        pg_fine(file_read(path, 64, &version, &error), &error);
        assert_int_equal(file_write(path, "13\n", 3, 0644, NULL), 0);
        assert_int_equal(cluster_start(&options, &cluster, &error), -EPROTO);
        assert_null(cluster);
        assert_non_null(strstr(error_text(&error), "PostgreSQL 13"));
        assert_non_null(strstr(error_text(&error), "lablink db"));
        error_clear(&error);
        pg_fine(file_write(path, version.data, version.len, 0644, &error), &error);
        pg_start(&pg);
        assert_int_equal(pg_number(&pg, "select count(*) from kept where n = 1"), 1);
}

static void an_interrupted_initdb_is_begun_again(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_free_ char *directory = xasprintf("%s/second", pg.directory);
        _cleanup_free_ char *half = xasprintf("%s/data.new/base", directory);
        struct cluster_options options = {.directory = directory, .dbname = "odd \"name\"", .role = "o'role"};
        struct cluster *cluster;
        pg_fine(dir_make(half, 0700, &error), &error);
        pg_fine(cluster_start(&options, &cluster, &error), &error);
        struct db *db;
        pg_fine(db_open(cluster_conninfo(cluster), "test", &db, &error), &error);
        db_close(db);
        pg_fine(cluster_stop(cluster, &error), &error);
        cluster_free(cluster);
        assert_int_equal(dir_remove(directory, NULL), 0);
}

static void a_closed_parent_is_explained(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_free_ char *closed = xasprintf("%s/closed", pg.directory);
        _cleanup_free_ char *directory = xasprintf("%s/state/db", closed);
        struct cluster_options options = {.directory = directory, .dbname = "d", .role = "r"};
        struct cluster *cluster;
        if (geteuid() != 0)
                skip();
        assert_int_equal(mkdir(closed, 0700), 0);
        assert_int_equal(cluster_start(&options, &cluster, &error), -EACCES);
        assert_non_null(strstr(error_text(&error), closed));
        assert_non_null(strstr(error_text(&error), "chmod"));
        assert_null(strstr(error_text(&error), "closed/state"));
        assert_int_equal(dir_remove(closed, NULL), 0);
}

static void what_is_no_data_directory_is_left_alone(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_free_ char *directory = xasprintf("%s/third", pg.directory);
        _cleanup_free_ char *data = xasprintf("%s/data", directory);
        _cleanup_free_ char *long_one = xasprintf("%s/%0100d", pg.directory, 0);
        struct cluster_options options = {.directory = directory, .dbname = "d", .role = "r"};
        struct cluster *cluster;
        assert_int_equal(dir_make(data, 0755, NULL), 0);
        assert_int_equal(cluster_start(&options, &cluster, &error), -EINVAL);
        assert_non_null(strstr(error_text(&error), "PG_VERSION"));
        options.directory = long_one;
        assert_int_equal(cluster_start(&options, &cluster, &error), -ENAMETOOLONG);
        options.directory = directory;
        options.user = "no-such-user-here";
        if (geteuid() == 0)
                assert_int_equal(cluster_start(&options, &cluster, &error), -ENOENT);
        assert_int_equal(dir_remove(directory, NULL), 0);
}

/* Connects as that system user; whether the server let it. */
static bool connects_as(const struct passwd *user)
{
        pid_t pid = fork();
        if (pid == 0) {
                if (setgroups(0, NULL) < 0 || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
                    setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0)
                        _exit(2);
                PGconn *connection = PQconnectdb(pg.conninfo);
                _exit(PQstatus(connection) == CONNECTION_OK ? 0 : 1);
        }
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
        return WEXITSTATUS(status) == 0;
}

static void only_peers_may_connect(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct cluster_options options = pg_options(&pg);
        const char *peers[] = {"nobody", NULL};
        struct passwd *nobody = geteuid() == 0 ? getpwnam("nobody") : NULL;
        struct cluster *again;
        if (!nobody)
                skip();
        struct passwd user = *nobody;
        assert_false(connects_as(&user));
        options.peers = peers;
        pg_fine(cluster_start(&options, &again, &error), &error);
        int64_t deadline = clock_ms() + PG_PATIENCE_MS;
        while (!connects_as(&user)) { /* an adopted one reads its files again */
                assert_true(clock_ms() < deadline);
                clock_sleep_ms(20);
        }
        cluster_free(again);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(is_made_as_promised),
                cmocka_unit_test(nothing_is_there_yet),
                cmocka_unit_test(a_living_one_is_adopted),
                cmocka_unit_test(outlives_who_started_it),
                cmocka_unit_test(kill_9_loses_nothing),
                cmocka_unit_test(a_stale_pid_is_seen_through),
                cmocka_unit_test(another_version_is_refused),
                cmocka_unit_test(an_interrupted_initdb_is_begun_again),
                cmocka_unit_test(a_closed_parent_is_explained),
                cmocka_unit_test(what_is_no_data_directory_is_left_alone),
                cmocka_unit_test(only_peers_may_connect),
        };
        return cmocka_run_group_tests(tests, open_pg, close_pg);
}
