/* The list of files of a VM (list.h). */
#include "harvest/list.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

#define LINE_BYTES_MAX (PATH_BYTES_MAX + 128)
#define ENDLESS_BYTES ((size_t)1 << 20) /* a line of so much has no end */
#define SIZE_MAX_TOLD ((int64_t)1 << 60)
#define SECONDS_MAX ((int64_t)1 << 33)

/* "1700000000.1234567890" */
static bool read_time(const char *text, int64_t *ret_ns)
{
        int64_t seconds, part = 0;
        _cleanup_free_ char *whole = xstrndup(text, strcspn(text, "."));
        const char *dot = strchr(text, '.');
        if (parse_int(whole, -SECONDS_MAX, SECONDS_MAX, &seconds) < 0)
                return false;
        for (int i = 0; dot && i < 9; i++) {
                bool digit = dot[1] >= '0' && dot[1] <= '9';
                part = part * 10 + (digit ? dot[1] - '0' : 0);
                dot += digit;
        }
        *ret_ns = seconds * 1000000000 + (seconds < 0 ? -part : part);
        return true;
}

static bool read_mode(const char *text, unsigned *ret)
{
        char *end;
        if (*text < '0' || *text > '7')
                return false;
        unsigned long mode = strtoul(text, &end, 8);
        *ret = (unsigned)mode & 0777;
        return *end == '\0' && mode <= 07777;
}

static bool read_line(const struct list_parser *parser, char *line, struct found *ret)
{
        char *rest = line;
        const char *size = strsep(&rest, " "), *time = strsep(&rest, " "), *mode = strsep(&rest, " ");
        if (!size || !time || !mode || !rest || !*rest || parse_int(size, 0, SIZE_MAX_TOLD, &ret->size) < 0 ||
            !read_time(time, &ret->mtime_ns) || !read_mode(mode, &ret->mode))
                return false;
        ret->path = xasprintf("%s%s", parser->prefix, rest);
        return true;
}

static int stop(struct list_parser *parser)
{
        parser->finds->cut = true;
        return -E2BIG;
}

/* Of a line that is not `whole` the end is lost, and with it what tells whether it is wanted. */
static int take_line(struct list_parser *parser, char *line, bool whole)
{
        struct found found = {0};
        if (!read_line(parser, line, &found) || (whole && !selection_takes(parser->selection, found.path))) {
                free(found.path);
                parser->bad++;
                return 0;
        }
        if (!whole || !path_is_safe(found.path, strlen(found.path))) {
                finds_leave(parser->finds, found.path, found.size);
                free(found.path);
                return 0;
        }
        if (parser->finds->n == parser->files_max) {
                free(found.path);
                return stop(parser);
        }
        finds_add(parser->finds, &found);
        return 0;
}

int list_feed(struct list_parser *parser, const char *data, size_t len)
{
        while (len) {
                const char *end = memchr(data, '\0', len);
                size_t part = end ? (size_t)(end - data) : len;
                /* a line without end is kept only so far that it is known to be none */
                size_t room = LINE_BYTES_MAX - MIN(parser->partial.len, (size_t)LINE_BYTES_MAX);
                buf_add(&parser->partial, data, MIN(part, room));
                parser->line += part;
                bool whole = parser->line <= LINE_BYTES_MAX;
                if (!end)
                        return parser->line > ENDLESS_BYTES ? stop(parser) : 0;
                parser->line = 0;
                int r = parser->partial.len ? take_line(parser, parser->partial.data, whole) : 0;
                buf_truncate(&parser->partial, 0);
                if (r < 0)
                        return r;
                if (parser->bad + parser->finds->left_all > parser->files_max + 1000)
                        return stop(parser);
                data += part + 1;
                len -= part + 1;
        }
        return 0;
}

void list_done(struct list_parser *parser)
{
        struct finds *finds = parser->finds;
        size_t kept = 0;
        finds_sort(finds);
        for (size_t i = 0; i < finds->n; i++) {
                if (kept && str_eq(finds->list[kept - 1].path, finds->list[i].path)) {
                        finds->bytes -= finds->list[i].size;
                        free(finds->list[i].path);
                        parser->bad++;
                        continue;
                }
                finds->list[kept++] = finds->list[i];
        }
        finds->n = kept;
        buf_deinit(&parser->partial);
}
