/*
 * The rotated file stays open until it is read to its end and its writer has gone quiet; only then the new one is
 * opened. After a restart the rotated file is looked for in its directory by its inode.
 */
#include "client/tail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "base/token.h"

#define CHUNK (2 * TAIL_LINE_MAX)
#define COUNTED (64 << 20) /* a gap larger than this is told in bytes, its lines are not counted */

void tail_init(struct tail *tail, const char *path)
{
        *tail = (struct tail){.path = xstrdup(path), .fd = -1};
}

void tail_deinit(struct tail *tail)
{
        closep(&tail->fd);
        free(tail->path);
        *tail = (struct tail){.fd = -1};
}

static ssize_t read_at(int fd, char *data, size_t size, int64_t offset)
{
        ssize_t n;
        do {
                n = pread(fd, data, size, offset);
        } while (n < 0 && errno == EINTR);
        return n;
}

/* --- which file --------------------------------------------------------------------------------------------------- */

/* False when the file has fewer bytes than that. */
static bool hash_head(int fd, int64_t len, char out[65])
{
        char data[TAIL_HEAD], hex[2 * TAIL_HEAD + 1];
        if (read_at(fd, data, (size_t)len, 0) != len)
                return false;
        for (int64_t i = 0; i < len; i++)
                snprintf(hex + 2 * i, 3, "%02x", (unsigned char)data[i]);
        hex[2 * len] = '\0';
        token_hash(hex, out);
        return true;
}

static bool head_is_same(const struct tail *tail, int fd)
{
        char now[65];
        return hash_head(fd, tail->head_len, now) && (!tail->head_len || strcmp(now, tail->head) == 0);
}

static void learn_head(struct tail *tail)
{
        int64_t len = MIN(tail->offset, (int64_t)TAIL_HEAD);
        if (len > tail->head_len && hash_head(tail->fd, len, tail->head))
                tail->head_len = len;
}

static void begin_again(struct tail *tail)
{
        tail->offset = tail->head_len = 0;
        tail->head[0] = '\0';
        tail->quiet_size = -1;
}

static bool is_ours(const struct tail *tail, const struct stat *st)
{
        return st->st_dev == tail->device && st->st_ino == tail->inode;
}

static int open_regular(int directory, const char *name, struct stat *st)
{
        _cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (fd < 0 || fstat(fd, st) < 0 || !S_ISREG(st->st_mode))
                return -1;
        return STEAL_FD(fd);
}

/* The file that was read last under its new name, or -1. */
static int find_rotated(const struct tail *tail)
{
        _cleanup_free_ char *copy = xstrdup(tail->path);
        DIR *dir = tail->inode ? opendir(dirname(copy)) : NULL;
        int found = -1;
        for (struct dirent *entry; dir && found < 0 && (entry = readdir(dir));) {
                struct stat st;
                if (entry->d_ino != tail->inode)
                        continue;
                found = open_regular(dirfd(dir), entry->d_name, &st);
                if (found >= 0 && (!is_ours(tail, &st) || st.st_size < tail->offset || !head_is_same(tail, found))) {
                        close(found);
                        found = -1;
                }
        }
        if (dir)
                closedir(dir);
        return found;
}

static bool open_file(struct tail *tail)
{
        struct stat st;
        _cleanup_close_ int fd = open_regular(AT_FDCWD, tail->path, &st);
        if (fd >= 0 && is_ours(tail, &st)) {
                if (!head_is_same(tail, fd)) /* another file, in the room of one that is gone */
                        begin_again(tail);
                tail->fd = STEAL_FD(fd);
                return true;
        }
        tail->fd = find_rotated(tail);
        if (tail->fd >= 0 || fd < 0)
                return tail->fd >= 0;
        begin_again(tail);
        tail->device = st.st_dev;
        tail->inode = st.st_ino;
        tail->fd = STEAL_FD(fd);
        return true;
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
        return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* "NAME.1", "NAME-20260101": what logrotate makes of NAME, unless it is compressed. */
static bool is_rotated_name(const char *entry, const char *name)
{
        size_t len = strlen(name), digits = 0;
        if (strncmp(entry, name, len) != 0 || (entry[len] != '.' && entry[len] != '-'))
                return false;
        digits = strspn(entry + len + 1, "0123456789-");
        return digits && !entry[len + 1 + digits];
}

/* After two rotations that nobody saw there is a file between the one that was read and the present one: the oldest
 * that is younger than what was read. */
static void open_between(struct tail *tail, const struct timespec *read)
{
        _cleanup_free_ char *copy = xstrdup(tail->path), *name = xstrdup(strrchr(tail->path, '/') + 1);
        struct timespec best = {0};
        DIR *dir = opendir(dirname(copy));
        for (struct dirent *entry; dir && (entry = readdir(dir));) {
                struct stat st;
                if (!is_rotated_name(entry->d_name, name))
                        continue;
                _cleanup_close_ int fd = open_regular(dirfd(dir), entry->d_name, &st);
                if (fd < 0 || !is_later(&st.st_mtim, read) || (tail->fd >= 0 && !is_later(&best, &st.st_mtim)))
                        continue;
                closep(&tail->fd);
                begin_again(tail);
                tail->fd = STEAL_FD(fd);
                tail->device = st.st_dev;
                tail->inode = st.st_ino;
                best = st.st_mtim;
        }
        if (dir)
                closedir(dir);
}

static bool is_rotated(const struct tail *tail)
{
        struct stat st;
        return stat(tail->path, &st) == 0 && S_ISREG(st.st_mode) && !is_ours(tail, &st);
}

/* --- its lines ---------------------------------------------------------------------------------------------------- */

static void give(struct tail *tail, struct tail_sink *sink, const char *line, size_t len, size_t taken)
{
        size_t shown = len && line[len - 1] == '\r' ? len - 1 : len;
        sink->line(sink->userdata, line, shown);
        sink->lines--;
        sink->bytes -= MIN(sink->bytes, len + 1);
        tail->offset += (int64_t)taken;
}

/* The whole lines of a chunk. Returns the bytes that were taken. */
static size_t take_lines(struct tail *tail, struct tail_sink *sink, const char *data, size_t len)
{
        size_t at = 0;
        while (at < len && sink->lines && sink->bytes) {
                size_t room = MIN(len - at, (size_t)TAIL_LINE_MAX);
                const char *end = memchr(data + at, '\n', room);
                size_t line = end ? (size_t)(end - data) - at : utf8_cut(data + at, room, TAIL_LINE_MAX);
                if (!end && room < TAIL_LINE_MAX)
                        break;
                line = line || end ? line : room;
                give(tail, sink, data + at, line, line + (end ? 1 : 0));
                at += line + (end ? 1 : 0);
        }
        return at;
}

/* How long the file has not grown. */
static int64_t quiet_for(struct tail *tail, int64_t size)
{
        int64_t now = clock_ms();
        if (tail->quiet_size != size) {
                tail->quiet_size = size;
                tail->quiet_ms = now;
        }
        return now - tail->quiet_ms;
}

static int64_t count_lines(struct tail *tail, int64_t until, char *room)
{
        int64_t lines = 0;
        ssize_t n;
        while (tail->offset < until && (n = read_at(tail->fd, room, CHUNK, tail->offset)) > 0) {
                const char *end = NULL;
                for (const char *at = room; (at = memchr(at, '\n', (size_t)(room + n - at))); at++) {
                        lines++;
                        end = at + 1;
                        if (tail->offset + (end - room) >= until)
                                break;
                }
                tail->offset += end && tail->offset + n >= until ? end - room : n;
        }
        return lines;
}

static void drop_backlog(struct tail *tail, struct tail_sink *sink, int64_t size, char *room)
{
        int64_t until = size - TAIL_BACKLOG / 2, gap = until - tail->offset;
        _cleanup_free_ char *told = NULL;
        if (size - tail->offset <= TAIL_BACKLOG)
                return;
        if (gap <= COUNTED) {
                told = xasprintf("[%lld lines dropped: %s grew faster than it could be sent]",
                                 (long long)count_lines(tail, until, room), tail->path);
        } else {
                tail->offset = until - CHUNK;
                count_lines(tail, until, room);
                told = xasprintf("[lines dropped: %lld MB of %s]", (long long)(gap >> 20), tail->path);
        }
        give(tail, sink, told, strlen(told), 0);
}

/* Reads this file as far as it goes. Returns true when the file is done with: rotated, quiet and read to its end. */
static bool read_file(struct tail *tail, struct tail_sink *sink, char *room)
{
        struct stat st;
        if (fstat(tail->fd, &st) < 0)
                return true;
        if (st.st_size < tail->offset || (st.st_size > tail->offset && !head_is_same(tail, tail->fd)))
                begin_again(tail);
        drop_backlog(tail, sink, st.st_size, room);
        ssize_t n;
        size_t taken = 0;
        while (sink->lines && sink->bytes && (n = read_at(tail->fd, room, CHUNK, tail->offset)) > 0) {
                taken = take_lines(tail, sink, room, (size_t)n);
                if (!taken)
                        break;
        }
        learn_head(tail);
        if (!sink->lines || !sink->bytes)
                return false;
        int64_t quiet = quiet_for(tail, st.st_size);
        bool rotated = is_rotated(tail), done = rotated && quiet >= TAIL_ROTATED_MS;
        n = read_at(tail->fd, room, TAIL_LINE_MAX, tail->offset);
        if (n > 0 && !memchr(room, '\n', (size_t)n) && (done || quiet >= TAIL_PARTIAL_MS)) {
                give(tail, sink, room, (size_t)n, (size_t)n);
                learn_head(tail);
        }
        return done && n >= 0 && tail->offset >= st.st_size;
}

void tail_read(struct tail *tail, struct tail_sink *sink)
{
        _cleanup_free_ char *room = NULL;
        struct stat st;
        for (int files = 0; files < 8 && sink->lines && sink->bytes; files++) {
                if (tail->fd < 0 && !open_file(tail))
                        return;
                if (!room && (fstat(tail->fd, &st) < 0 || st.st_size != tail->offset || is_rotated(tail)))
                        room = xmalloc(CHUNK);
                if (!room || !read_file(tail, sink, room))
                        return;
                int known = fstat(tail->fd, &st);
                closep(&tail->fd);
                tail->fd = -1;
                tail->inode = 0;
                if (known == 0)
                        open_between(tail, &st.st_mtim);
        }
}

/* --- its position ------------------------------------------------------------------------------------------------- */

json_t *tail_position(const struct tail *tail)
{
        return json_pack("{s:s, s:I, s:I, s:I, s:I, s:s}", "path", tail->path, "device", (json_int_t)tail->device,
                         "inode", (json_int_t)tail->inode, "offset", (json_int_t)tail->offset, "head_length",
                         (json_int_t)tail->head_len, "head", tail->head);
}

void tail_restore(struct tail *tail, const json_t *position)
{
        json_int_t device, inode, offset, head_len;
        const char *head;
        if (json_unpack((json_t *)position, "{s:I, s:I, s:I, s:I, s:s}", "device", &device, "inode", &inode, "offset",
                        &offset, "head_length", &head_len, "head", &head) < 0)
                return;
        if (offset < 0 || head_len < 0 || head_len > TAIL_HEAD || head_len > offset || strlen(head) > 64)
                return;
        tail->device = (dev_t)device;
        tail->inode = (ino_t)inode;
        tail->offset = offset;
        tail->head_len = head_len;
        snprintf(tail->head, sizeof tail->head, "%s", head);
}
