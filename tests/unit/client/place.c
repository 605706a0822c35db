/* Made and removed with each test, so that none sees another's files. */
#include "place.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/token.h"

int place_setup(void **state)
{
        struct place *place = xcalloc(1, sizeof *place);
        token_init();
        snprintf(place->directory, sizeof place->directory, "/tmp/lablink-test-client-XXXXXX");
        assert_non_null(mkdtemp(place->directory));
        *state = place;
        return 0;
}

int place_teardown(void **state)
{
        struct place *place = *state;
        int r = dir_remove(place->directory, NULL);
        free(place);
        return r;
}

const char *place_path(const struct place *place, const char *name)
{
        static char paths[4][256];
        static unsigned turn;
        char *path = paths[turn++ % 4];
        snprintf(path, sizeof paths[0], "%s/%s", place->directory, name);
        return path;
}

static void put(const char *path, int flags, const char *text, int mode)
{
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | flags, mode);
        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
        assert_int_equal(fchmod(fd, (mode_t)mode), 0);
}

void place_write(const struct place *place, const char *name, const char *text, int mode)
{
        put(place_path(place, name), O_TRUNC, text, mode);
}

void place_append(const struct place *place, const char *name, const char *text)
{
        put(place_path(place, name), O_APPEND, text, 0644);
}

char *place_read(const struct place *place, const char *name)
{
        struct buf text = BUF_NULL;
        assert_int_equal(file_read(place_path(place, name), 1 << 20, &text, NULL), 0);
        buf_reserve(&text, 1);
        return buf_steal(&text);
}
