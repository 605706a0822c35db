/*
 * The list of a collection while it is made (harvest/store.h). Each round writes its own from the start; what earlier
 * rounds brought and this one did not meet again (a VM that is down, a file that was deleted meanwhile) is carried over
 * at its end, so that nothing that has arrived is ever lost.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/collect.h"

/* --- reading ------------------------------------------------------------------------------------------------------- */

struct earlier {
        struct collecting *c;
        struct entries *old;  /* of the list that counts, one a row */
        struct entries *more; /* of other lists: of a round that was cut off */
        bool counts;          /* the list that is read is the one that counts */
};

static struct seat_row *row_of(struct collecting *c, const char *folder, size_t *ret)
{
        for (size_t i = 0; folder && i < c->n_rows; i++)
                if (str_eq(c->rows[i].folder, folder)) {
                        *ret = i;
                        return &c->rows[i];
                }
        return NULL;
}

static int take_line(void *userdata, json_t *line, struct error *error _unused_)
{
        struct earlier *earlier = userdata;
        struct entry entry = {0};
        size_t index;
        if (!json_object_get(line, "file") || !row_of(earlier->c, json_get_string(line, "seat"), &index) ||
            entry_read(json_object_get(line, "file"), &entry) < 0)
                return 0;
        if (earlier->counts) {
                entries_add(&earlier->old[index], &entry);
                return 0;
        }
        const struct entry *old = entries_find(&earlier->old[index], entry.path);
        if (old && str_eq(old->hash, entry.hash) && old->mtime_ns == entry.mtime_ns) {
                entry_clear(&entry);
                return 0;
        }
        earlier->c->differs = true;
        entries_add(&earlier->more[index], &entry);
        return 0;
}

static int compare_age(const void *a, const void *b)
{
        const struct entry *x = a, *y = b;
        int order = strcmp(x->path, y->path);
        return order ? order : (x->at > y->at) - (x->at < y->at);
}

/* The latest of each path. */
static void keep_latest(struct entries *all, struct entries *more, struct entries *had)
{
        for (size_t i = 0; i < more->n; i++)
                entries_add(all, &more->list[i]);
        if (all->n)
                qsort(all->list, all->n, sizeof *all->list, compare_age);
        for (size_t i = 0; i < all->n; i++)
                if (i + 1 == all->n || !str_eq(all->list[i].path, all->list[i + 1].path))
                        entries_add(had, &all->list[i]);
        had->sorted = true;
}

static int read_list(struct earlier *earlier, const char *name, struct error *error)
{
        struct collecting *c = earlier->c;
        struct list_reader reader = {.take = take_line, .userdata = earlier};
        _cleanup_free_ char *path = path_join(c->store.directory, name);
        _cleanup_error_ struct error why = ERROR_NULL;
        int r = list_read(path, &reader, &why);
        if (r == -EBADMSG) { /* half a line of a crash: what stands before it counts */
                runner_say(c->runner, "a list of an earlier round is damaged: what it lacks is brought again");
                return 0;
        }
        return r < 0 ? error_move(error, &why) : 0;
}

/* The one that counts first: what others have beside it makes a new one necessary. */
static int read_lists(struct earlier *earlier, struct error *error)
{
        struct collecting *c = earlier->c;
        _cleanup_free_ char *counting = xasprintf("index-%lld", (long long)c->old_list);
        DIR *dir = opendir(c->store.directory);
        if (!dir)
                return error_errno(error, errno, "cannot read %s", c->store.directory);
        earlier->counts = true;
        int r = c->old_list ? read_list(earlier, counting, NULL) : 0;
        if (r < 0) { /* it is lost: everything is brought again */
                c->differs = true;
                r = 0;
        }
        earlier->counts = false;
        for (struct dirent *one; r == 0 && (one = readdir(dir));)
                if (str_starts(one->d_name, "index-") && !str_eq(one->d_name, counting))
                        r = read_list(earlier, one->d_name, error);
        closedir(dir);
        return r;
}

int collected_before(struct collecting *c, struct error *error)
{
        struct earlier earlier = {.c = c,
                                  .old = xcalloc(c->n_rows + 1, sizeof *earlier.old),
                                  .more = xcalloc(c->n_rows + 1, sizeof *earlier.more)};
        int r = read_lists(&earlier, error);
        for (size_t i = 0; i < c->n_rows; i++) {
                if (r == 0)
                        keep_latest(&earlier.old[i], &earlier.more[i], &c->rows[i].had);
                entries_clear(&earlier.old[i]);
                entries_clear(&earlier.more[i]);
        }
        free(earlier.old);
        free(earlier.more);
        return r;
}

/* --- writing ------------------------------------------------------------------------------------------------------- */

static void put(struct collecting *c, json_t *line)
{
        _cleanup_free_ char *text = json_text(line);
        json_decref(line);
        if (fputs(text, c->list) == EOF || fputc('\n', c->list) == EOF)
                c->list_error = errno ? -errno : -EIO;
}

int list_begin(struct collecting *c, struct error *error)
{
        _cleanup_free_ char *path = store_list_path(&c->store, c->runner->operation);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        c->list = fd < 0 ? NULL : fdopen(fd, "w");
        if (!c->list)
                return error_errno(error, errno, "cannot write %s", path);
        for (size_t i = 0; i < c->n_rows; i++)
                put(c, json_pack("{s:s, s:s, s:s?}", "folder", c->rows[i].folder, "hostname", c->rows[i].hostname,
                                 "email", c->rows[i].email));
        list_flush(c);
        return c->list_error < 0 ? error_errno(error, -c->list_error, "cannot write %s", path) : 0;
}

void list_file(struct collecting *c, const char *folder, const struct entry *entry)
{
        c->files++;
        c->bytes += entry->size;
        put(c, json_pack("{s:o, s:s}", "file", entry_json(entry), "seat", folder));
}

void list_skip(struct collecting *c, const char *folder, const json_t *skip)
{
        put(c, json_pack("{s:O, s:s}", "skip", skip, "seat", folder));
}

void list_failed(struct collecting *c, const char *folder, const char *reason)
{
        put(c, json_pack("{s:s, s:s}", "failed", reason, "seat", folder));
}

void list_flush(struct collecting *c)
{
        if (c->list && fflush(c->list) != 0)
                c->list_error = -errno;
}

static struct entries *had_of(struct collecting *c, struct seat_row *row)
{
        return row->asked ? &c->harvest.seats[row->index].had : &row->had;
}

static struct entries *now_of(struct collecting *c, const struct seat_row *row)
{
        return row->asked ? &c->now[row->index] : NULL;
}

/* What is lost would break the archive for all the rest. */
static void carry_one(struct collecting *c, const char *folder, const struct entry *entry)
{
        if (store_holds(&c->store, entry)) {
                list_file(c, folder, entry);
                return;
        }
        _cleanup_json_ json_t *skip = entry_json(entry);
        json_object_set_new(skip, "reason", json_string("what was kept of it is lost, and the VM has it no more"));
        list_skip(c, folder, skip);
        c->differs = true;
}

static void carry_over(struct collecting *c, struct seat_row *row)
{
        struct entries *had = had_of(c, row), *now = now_of(c, row);
        for (size_t i = 0; i < had->n; i++)
                if (!now || !entries_find(now, had->list[i].path))
                        carry_one(c, row->folder, &had->list[i]);
}

int list_end(struct collecting *c, struct error *error)
{
        for (size_t i = 0; i < c->n_rows; i++)
                carry_over(c, &c->rows[i]);
        double now = clock_now();
        put(c, json_pack("{s:b, s:f, s:{s:I, s:f, s:f, s:I, s:I}}", "end", 1, "at", now, "about", "collection",
                         (json_int_t)c->id, "started", c->started, "ended", now, "files_count", (json_int_t)c->files,
                         "bytes", (json_int_t)c->bytes));
        list_flush(c);
        /* who reads along has everything by now; the list counts only once it and what it names are on the disk */
        if (c->list_error == 0 && (syncfs(c->store.top) < 0 || fsync(fileno(c->list)) < 0))
                c->list_error = -errno;
        fclose(STEAL(c->list));
        return c->list_error < 0 ? error_errno(error, -c->list_error, "cannot write the list of the collection") : 0;
}

static void keep_row(struct collecting *c, struct seat_row *row, struct hashes *keep)
{
        struct entries *had = had_of(c, row), *now = now_of(c, row);
        for (size_t i = 0; i < had->n; i++)
                if (!now || !entries_find(now, had->list[i].path))
                        memcpy(keep->list[keep->n++], had->list[i].hash, HASH_LENGTH);
        for (size_t i = 0; now && i < now->n; i++)
                memcpy(keep->list[keep->n++], now->list[i].hash, HASH_LENGTH);
}

static void sweep(struct collecting *c)
{
        size_t most = 1;
        for (size_t i = 0; i < c->n_rows; i++)
                most += had_of(c, &c->rows[i])->n + (c->rows[i].asked ? now_of(c, &c->rows[i])->n : 0);
        struct hashes keep = {.list = xcalloc(most, HASH_LENGTH)};
        for (size_t i = 0; i < c->n_rows; i++)
                keep_row(c, &c->rows[i], &keep);
        store_sweep(&c->store, &keep);
        free(keep.list);
}

void lists_tidy(struct collecting *c, int64_t list)
{
        if (store_lock(&c->store, 0) < 0) /* somebody reads: the next round tidies */
                return;
        DIR *dir = opendir(c->store.directory);
        for (struct dirent *one; dir && (one = readdir(dir));) {
                int64_t number;
                if (str_starts(one->d_name, "index-") && (parse_int(one->d_name + 6, 1, INT64_MAX, &number) < 0 ||
                                                          (number != list && number != c->runner->operation)))
                        unlinkat(dirfd(dir), one->d_name, 0);
        }
        if (dir)
                closedir(dir);
        sweep(c);
        store_unlock(&c->store);
}
