/* What is kept between two looks at the logs: the agent's own lines, the places, and the batch under way. */
#include "place.h"

#include <string.h>
#include <sys/stat.h>

#include "client/own_log.h"
#include "client/spool.h"

static int64_t size_of(const char *path)
{
        struct stat st;
        return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

static void test_own_lines(void **state)
{
        struct own_log log;
        own_log_init(&log, place_path(*state, "own"));
        own_log_add(&log, "info", "one\ntwo\x1b[31m");
        _cleanup_free_ char *text = place_read(*state, "own");
        assert_non_null(strstr(text, " info lablink-client: one two [31m\n"));
        assert_int_equal(strchr(text, '\n') - text + 1, strlen(text));
        own_log_deinit(&log);
        own_log_init(&log, NULL);
        own_log_add(&log, "info", "nowhere");
        own_log_deinit(&log);
}

static void test_own_limit(void **state)
{
        struct own_log log;
        char line[1025];
        memset(line, 'x', sizeof line - 1);
        line[sizeof line - 1] = '\0';
        own_log_init(&log, place_path(*state, "own"));
        for (int i = 0; i < 400; i++)
                own_log_add(&log, "info", line);
        int64_t size = size_of(log.path);
        assert_in_range(size, OWN_LOG_MAX, OWN_LOG_MAX + 4096);
        assert_true(log.dropped > 100);
        own_log_shipped(&log, size - 1); /* not all of it */
        assert_int_equal(size_of(log.path), size);
        own_log_shipped(&log, size);
        assert_int_equal(size_of(log.path), 0);
        own_log_add(&log, "info", "after");
        _cleanup_free_ char *text = place_read(*state, "own");
        assert_non_null(strstr(text, " lines dropped\n"));
        assert_non_null(strstr(text, "after\n"));
        assert_int_equal(log.dropped, 0);
        own_log_deinit(&log);
}

static void ignore(void *userdata _unused_, const char *line _unused_, size_t len _unused_)
{
}

static void test_spool(void **state)
{
        struct tail tails[2];
        struct spool spool;
        place_write(*state, "a", "one\ntwo\n", 0644);
        tail_init(&tails[0], place_path(*state, "a"));
        tail_init(&tails[1], place_path(*state, "b"));
        const char *path = place_path(*state, "spool");
        spool_open(&spool, path, tails, 2);
        assert_null(spool.batch);
        struct tail_sink sink = {.line = ignore, .lines = 1, .bytes = 100};
        tail_read(&tails[0], &sink);
        spool.batch = json_pack("{s:s, s:[s]}", "batch_id", "x", "messages", "one");
        assert_int_equal(spool_save(&spool, tails, 2, NULL), 0);
        spool_deinit(&spool);
        tails[0].offset = tails[0].head_len = 0;
        spool_open(&spool, path, tails, 2);
        assert_int_equal(tails[0].offset, 4);
        assert_int_equal(tails[0].head_len, 4);
        assert_int_equal(tails[1].offset, 0);
        assert_int_equal(json_array_size(json_object_get(spool.batch, "messages")), 1);
        spool_deinit(&spool);
        tail_deinit(&tails[0]);
        tail_deinit(&tails[1]);
}

static void test_spool_damaged(void **state)
{
        static const char *const texts[] = {"",
                                            "{",
                                            "[]",
                                            "{\"files\":1,\"batch\":2}",
                                            "{\"batch\":{\"batch_id\":\"x\"}}",
                                            "{\"batch\":{\"batch_id\":\"x\",\"messages\":[1]}}",
                                            "{\"files\":[{\"path\":\"/x\",\"device\":1,\"inode\":2,\"offset\":-5,"
                                            "\"head_length\":0,\"head\":\"\"}],\"batch\":null}"};
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                struct tail tail;
                struct spool spool;
                tail_init(&tail, "/x");
                place_write(*state, "spool", texts[i], 0600);
                spool_open(&spool, place_path(*state, "spool"), &tail, 1);
                assert_null(spool.batch);
                assert_int_equal(tail.offset, 0);
                spool_deinit(&spool);
                tail_deinit(&tail);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_own_lines, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_own_limit, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_spool, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_spool_damaged, place_setup, place_teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
