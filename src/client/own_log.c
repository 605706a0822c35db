/* Opened for each line: they are few, and a file that somebody removed is simply made again. */
#include "client/own_log.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

#define LINE_MAX_BYTES 2048
#define EMPTIED_ABOVE (64 * 1024)

void own_log_init(struct own_log *log, const char *path)
{
        *log = (struct own_log){.path = xstrdup(path)};
}

static void add_line(struct buf *out, const char *level, const char *text)
{
        char now[CLOCK_ISO_SIZE];
        size_t len = utf8_cut(text, strlen(text), LINE_MAX_BYTES);
        clock_iso(clock_now(), now);
        buf_addf(out, "%s %s lablink-client: ", now, level);
        for (size_t i = 0; i < len; i++)
                buf_addc(out, (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i]);
        buf_addc(out, '\n');
}

void own_log_add(struct own_log *log, const char *level, const char *text)
{
        _cleanup_buf_ struct buf lines = BUF_NULL;
        struct stat st;
        if (!log->path)
                return;
        _cleanup_close_ int fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
                                      0600);
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > OWN_LOG_MAX) {
                log->dropped++;
                return;
        }
        if (log->dropped) {
                _cleanup_free_ char *told = xasprintf("%llu lines dropped", log->dropped);
                add_line(&lines, "warning", told);
        }
        add_line(&lines, level, text);
        if (fd_write_all(fd, lines.data, lines.len) < 0)
                log->dropped++;
        else
                log->dropped = 0;
}

void own_log_shipped(struct own_log *log, int64_t shipped)
{
        struct stat st;
        if (!log->path || shipped <= EMPTIED_ABOVE)
                return;
        _cleanup_close_ int fd = open(log->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == shipped && ftruncate(fd, 0) < 0)
                log->dropped++;
}

void own_log_deinit(struct own_log *log)
{
        free(log->path);
        *log = (struct own_log){0};
}
