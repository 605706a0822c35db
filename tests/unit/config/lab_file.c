#include "lab_file.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

int lab_file_setup(void **state)
{
        struct lab_file *file = xcalloc(1, sizeof(*file));
        strcpy(file->directory, "/tmp/lablink-config.XXXXXX");
        if (!mkdtemp(file->directory))
                return -1;
        file->path = path_join(file->directory, "config.yaml");
        *state = file;
        return 0;
}

int lab_file_teardown(void **state)
{
        struct lab_file *file = *state;
        dir_remove(file->directory, NULL);
        free(file->path);
        free(file);
        return 0;
}

void lab_file_write(const struct lab_file *file, const char *yaml)
{
        if (!yaml)
                unlink(file->path);
        else
                assert_int_equal(file_write(file->path, yaml, strlen(yaml), 0600, NULL), 0);
}

struct config *lab_file_load(const struct lab_file *file, const char *yaml, const char *const *sets,
                             const char *const *environment, struct buf *problems)
{
        static const char *const nothing[] = {NULL};
        struct config *config = NULL;
        lab_file_write(file, yaml);
        const struct config_input input = {
                .file = file->path, .sets = sets, .environment = environment ? environment : nothing};
        int r = config_load(&input, &config, problems);
        assert_int_equal(r, config ? 0 : -22);
        return config;
}

struct config *lab_file_good(const struct lab_file *file, const char *yaml)
{
        _cleanup_buf_ struct buf problems = BUF_NULL;
        struct config *config = lab_file_load(file, yaml, NULL, NULL, &problems);
        if (!config)
                fail_msg("refused:\n%s", buf_str(&problems));
        return config;
}

static bool line_matches(const char *line, const char *place, const char *words)
{
        const char *at = strstr(line, place);
        bool begins = at && strcspn(line, " ") >= (size_t)(at - line);
        return begins && strstr(line, words);
}

void assert_problem(const struct buf *problems, const char *place, const char *words)
{
        _cleanup_free_ char *copy = xstrdup(buf_str(problems));
        char *save = NULL;
        for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
                if (line_matches(line, place, words))
                        return;
        fail_msg("no line with \"%s\" and \"%s\" in:\n%s", place, words, buf_str(problems));
}

size_t count_lines(const struct buf *text)
{
        size_t n = 0;
        for (const char *c = buf_str(text); *c; c++)
                n += *c == '\n';
        return n;
}
