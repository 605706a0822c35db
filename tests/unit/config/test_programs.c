/* lablink-validate-config and generate-init-sql as workflows call them: argv[1] and argv[2]. */
#include "lab_file.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/process.h"
#include "base/text.h"

static const char *validate, *init_sql;

struct output {
        struct buf out, err;
        int exit_code;
};

static void take_line(void *userdata, const char *line, bool is_stderr)
{
        struct output *output = userdata;
        buf_addf(is_stderr ? &output->err : &output->out, "%s\n", line);
}

static void run(struct output *output, const char *const *argv)
{
        static const char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
        int status = -1;
        buf_deinit(&output->out);
        buf_deinit(&output->err);
        const struct process_spec spec = {.argv = argv, .env = environment};
        const struct process_io io = {.line = take_line, .userdata = output, .timeout_ms = 60000};
        assert_int_equal(process_run(&spec, &io, &status, NULL), 0);
        assert_true(WIFEXITED(status));
        output->exit_code = WEXITSTATUS(status);
}

#define RUN(output, ...) run((output), (const char *const[]){__VA_ARGS__, NULL})

static void release(struct output *output)
{
        buf_deinit(&output->out);
        buf_deinit(&output->err);
}

static void passes(void **state)
{
        struct lab_file *file = *state;
        _cleanup_(release) struct output output = {0};
        lab_file_write(file, "app: {admin_password: sesame}\n");
        RUN(&output, validate, file->path);
        assert_int_equal(output.exit_code, 0);
        assert_true(str_starts(buf_str(&output.out), "[PASS]"));
        assert_int_equal(count_lines(&output.out), 1);
        RUN(&output, validate, "-v", file->path);
        assert_int_equal(output.exit_code, 0);
        assert_true(str_starts(buf_str(&output.out), "[PASS]"));
        assert_non_null(strstr(buf_str(&output.out), "\napp.admin_password = ********  (file "));
        assert_null(strstr(buf_str(&output.out), "sesame"));
}

static void fails(void **state)
{
        struct lab_file *file = *state;
        _cleanup_(release) struct output output = {0};
        lab_file_write(file, "db: {hots: x}\nssl: {staging: z}\n");
        RUN(&output, validate, file->path);
        assert_int_equal(output.exit_code, 1);
        assert_true(str_starts(buf_str(&output.out), "[FAIL]"));
        assert_int_equal(count_lines(&output.out), 3);
        lab_file_write(file, "ssl: {provider: acm}\n"); /* a rule across keys */
        RUN(&output, validate, file->path);
        assert_int_equal(output.exit_code, 1);
        assert_non_null(strstr(buf_str(&output.out), "certificate_arn"));
        _cleanup_free_ char *other = path_join(file->directory, "other.yaml");
        assert_int_equal(file_write(other, "", 0, 0600, NULL), 0);
        RUN(&output, validate, other);
        assert_int_equal(output.exit_code, 1);
        assert_non_null(strstr(buf_str(&output.out), "must be named config.yaml"));
        unlink(file->path);
        RUN(&output, validate, file->path);
        assert_int_equal(output.exit_code, 1);
        assert_true(str_starts(buf_str(&output.out), "[FAIL]"));
        assert_int_equal(mkdir(file->path, 0700), 0);
        RUN(&output, validate, file->path);
        assert_int_equal(output.exit_code, 1);
        assert_non_null(strstr(buf_str(&output.out), "is a directory"));
        RUN(&output, validate, "a", "b");
        assert_int_equal(output.exit_code, 2);
}

static void prints_sql(void **state)
{
        struct lab_file *file = *state;
        _cleanup_(release) struct output output = {0};
        lab_file_write(file, "db: {user: 'la\"b', dbname: d, password: 'it''s \\ \"x\"; drop'}\n");
        RUN(&output, init_sql, "--config", file->path);
        assert_int_equal(output.exit_code, 0);
        assert_non_null(
                strstr(buf_str(&output.out), "create role \"la\"\"b\" login password E'it''s \\\\ \"x\"; drop';\n"));
        assert_non_null(strstr(buf_str(&output.out), "create database \"d\" owner \"la\"\"b\" "));
        assert_non_null(strstr(buf_str(&output.out), "grant connect, create, temporary on database \"d\" to "));
        assert_int_equal(strncmp(buf_str(&output.out), "-- ", 3), 0);
        lab_file_write(file, "db: {url: 'postgresql://u:p%20w@h/base'}\n");
        RUN(&output, init_sql, "--config", file->path);
        assert_non_null(strstr(buf_str(&output.out), "create role \"u\" login password 'p w';\n"));
        assert_non_null(strstr(buf_str(&output.out), "create database \"base\" owner \"u\" "));
}

static void refuses_sql(void **state)
{
        struct lab_file *file = *state;
        _cleanup_(release) struct output output = {0};
        static const char *const rows[][2] = {
                {"", "LABLINK_DB_PASSWORD"},
                {"db: {password: PLACEHOLDER_DB_PASSWORD}\n", "placeholder"},
                {"db: {url: 'postgresql://u:sesame%zz@h/d'}\n", "db.url is not valid"},
                {"db: {prot: 1}\n", "did you mean db.port?"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                lab_file_write(file, rows[i][0]);
                RUN(&output, init_sql, "--config", file->path);
                assert_int_equal(output.exit_code, 1);
                assert_int_equal(output.out.len, 0);
                assert_non_null(strstr(buf_str(&output.err), rows[i][1]));
                assert_null(strstr(buf_str(&output.err), "sesame"));
        }
}

int main(int argc, char **argv)
{
#define T(test) cmocka_unit_test_setup_teardown(test, lab_file_setup, lab_file_teardown)
        const struct CMUnitTest tests[] = {T(passes), T(fails), T(prints_sql), T(refuses_sql)};
        if (argc != 3)
                return 2;
        validate = argv[1];
        init_sql = argv[2];
        return cmocka_run_group_tests(tests, NULL, NULL);
}
