/* One JSON object, written aside and renamed. */
#include "client/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

#define SPOOL_MAX (8 << 20)

static void restore_tails(const json_t *positions, struct tail *tails, size_t n)
{
        size_t index;
        json_t *position;
        json_array_foreach (positions, index, position)
                for (size_t i = 0; i < n; i++)
                        if (str_eq(json_get_string(position, "path"), tails[i].path))
                                tail_restore(&tails[i], position);
}

static bool is_batch(const json_t *batch)
{
        const json_t *messages = json_object_get(batch, "messages");
        size_t index;
        json_t *message;
        if (!json_get_string(batch, "batch_id") || !json_is_array(messages))
                return false;
        json_array_foreach (messages, index, message)
                if (!json_is_string(message))
                        return false;
        return true;
}

void spool_open(struct spool *spool, const char *path, struct tail *tails, size_t n)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        *spool = (struct spool){.path = xstrdup(path)};
        if (!path || file_read(path, SPOOL_MAX, &text, NULL) < 0)
                return;
        _cleanup_json_ json_t *object = json_read(buf_str(&text), text.len, NULL);
        restore_tails(json_object_get(object, "files"), tails, n);
        json_t *batch = json_object_get(object, "batch");
        if (is_batch(batch))
                spool->batch = json_incref(batch);
}

static int write_aside(const char *path, const char *aside, const char *text)
{
        _cleanup_close_ int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
        if (r == 0 && rename(aside, path) < 0)
                r = -errno;
        return r;
}

int spool_save(const struct spool *spool, const struct tail *tails, size_t n, struct error *error)
{
        if (!spool->path)
                return 0;
        json_t *files = json_array();
        for (size_t i = 0; i < n; i++)
                json_array_append_new(files, tail_position(&tails[i]));
        _cleanup_json_ json_t *object = json_pack("{s:o, s:O?}", "files", files, "batch", spool->batch);
        _cleanup_free_ char *text = json_text(object);
        _cleanup_free_ char *aside = xasprintf("%s.new", spool->path);
        int r = write_aside(spool->path, aside, text);
        return r < 0 ? error_errno(error, -r, "cannot save the place in the logs in %s", spool->path) : 0;
}

void spool_deinit(struct spool *spool)
{
        json_decref(spool->batch);
        free(spool->path);
        *spool = (struct spool){0};
}
