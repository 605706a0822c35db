/*
 * lablink download: collect, then fetch the archive. What has come so far lies in FILE.part, and beside it, in
 * FILE.part.json, what it is the beginning of: the same command goes on with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/term.h"

#define PLAIN_NAME "lablink_data.zip"
#define TRIES 8

struct download {
        struct cli *cli;
        json_t *wishes;
        bool into_directory;
        char *target;        /* the directory, or the file */
        char *part, *record; /* FILE.part, FILE.part.json */
        char *path, *etag;   /* of the archive */
        struct progress progress;
};

static void download_deinit(struct download *d)
{
        progress_deinit(&d->progress);
        json_decref(d->wishes);
        free(d->target);
        free(d->part);
        free(d->record);
        free(d->path);
        free(d->etag);
}

/* --- what and where ------------------------------------------------------------------------------------------------ */

static json_t *strings(const struct opt_strings *list)
{
        json_t *array = json_array();
        for (size_t i = 0; i < list->n; i++)
                json_array_append_new(array, json_string(list->values[i]));
        return array;
}

static int read_wishes(struct download *d, struct error *error)
{
        const struct options *opt = &d->cli->opt;
        if ((opt->extensions.n > 0) + (opt->directory != NULL) + opt->everything > 1)
                return error_set(error, -EINVAL, "--extension, --directory and --everything: one of them");
        d->wishes = json_object();
        if (opt->extensions.n)
                json_object_set_new(d->wishes, "extensions", strings(&opt->extensions));
        if (opt->directory)
                json_object_set_new(d->wishes, "directory", json_string(opt->directory));
        if (opt->everything)
                json_object_set_new(d->wishes, "everything", json_true());
        if (opt->vms.n)
                json_object_set_new(d->wishes, "vms", strings(&opt->vms));
        return 0;
}

static int choose_place(struct download *d, struct error *error)
{
        const char *to = str_or(d->cli->opt.to, ".");
        struct stat st;
        size_t len = strlen(to);
        d->into_directory = (len && to[len - 1] == '/') || (stat(to, &st) == 0 && S_ISDIR(st.st_mode));
        d->target = xstrdup(to);
        if (d->into_directory && stat(to, &st) < 0)
                return error_errno(error, errno, "cannot use the directory %s", to);
        _cleanup_free_ char *file = d->into_directory ? path_join(to, PLAIN_NAME) : xstrdup(to);
        d->part = xasprintf("%s.part", file);
        d->record = xasprintf("%s.part.json", file);
        return 0;
}

/* --- what was begun ------------------------------------------------------------------------------------------------ */

static void read_record(struct download *d)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        if (file_read(d->record, 65536, &text, NULL) < 0)
                return;
        _cleanup_json_ json_t *record = json_read(buf_str(&text), text.len, NULL);
        const char *path = json_get_string(record, "path"), *etag = json_get_string(record, "etag");
        if (!path || !etag || !str_starts(path, "/api/collections/") ||
            !json_equal(json_object_get(record, "wishes"), d->wishes))
                return;
        d->path = xstrdup(path);
        d->etag = xstrdup(etag);
}

static int write_record(struct download *d, struct error *error)
{
        _cleanup_json_ json_t *record = json_pack("{s:s, s:s?, s:O}", "path", d->path, "etag", d->etag, "wishes",
                                                  d->wishes);
        _cleanup_free_ char *text = json_text(record);
        return file_write(d->record, text, strlen(text), 0600, error);
}

/* --- collecting ---------------------------------------------------------------------------------------------------- */

/* An exit code, or a negative errno; 0: collected. */
static int collect(struct download *d, struct error *error)
{
        _cleanup_json_ json_t *answer = NULL;
        int r = api_post(d->cli, "/api/collections", d->wishes, &answer, error);
        if (r < 0)
                return r;
        int64_t id = json_integer_value(json_object_get(json_object_get(answer, "operation"), "id"));
        int64_t collection = json_integer_value(json_object_get(answer, "collection"));
        if (!id || !collection)
                return error_set(error, -EPROTO, "the allocator's answer names no collection");
        bool json = d->cli->json;
        d->cli->json = false; /* the file is the result, not the operation */
        r = follow_operation(d->cli, id, error);
        d->cli->json = json;
        free(d->path);
        d->path = xasprintf("/api/collections/%lld/archive%s", (long long)collection,
                            d->cli->opt.names ? "?names=email" : "");
        return r;
}

/* --- fetching ------------------------------------------------------------------------------------------------------ */

static bool on_tick(void *userdata, int64_t done, int64_t total)
{
        struct download *d = userdata;
        char bar[21];
        int full = total > 0 ? (int)(done * 20 / total) : 0;
        for (int i = 0; i < 20; i++)
                bar[i] = i < full ? '#' : '.';
        bar[20] = '\0';
        if (total > 0)
                progress_set(&d->progress, "[%s] %lld of %lld MB", bar, (long long)done / 1000000,
                             (long long)total / 1000000);
        else
                progress_set(&d->progress, "%lld MB", (long long)done / 1000000);
        progress_tick(&d->progress);
        return !interrupt_seen();
}

/* Once. Sets the record as soon as the archive's mark is known. */
static int fetch_once(struct download *d, int fd, struct api_download *get, struct error *error)
{
        struct stat st;
        if (fstat(fd, &st) < 0)
                return error_errno(error, errno, "cannot read %s", d->part);
        *get = (struct api_download){
                .fd = fd, .from = d->etag ? st.st_size : 0, .etag = d->etag, .tick = on_tick, .userdata = d};
        int r = api_download(d->cli, d->path, get, error);
        progress_clear(&d->progress);
        if (get->ret_etag && !str_eq(get->ret_etag, d->etag)) {
                str_replace(&d->etag, get->ret_etag);
                int kept = write_record(d, r < 0 ? NULL : error);
                r = r < 0 ? r : kept;
        }
        return r;
}

static bool may_try_again(int r)
{
        return r == -ENOTCONN || r == -EAGAIN;
}

static int fetch(struct download *d, char **ret_name, struct error *error)
{
        _cleanup_close_ int fd = open(d->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        int r = fd < 0 ? error_errno(error, errno, "cannot write %s", d->part) : 0;
        struct api_download get = {0};
        interrupt_catch();
        progress_init(&d->progress, d->cli->opt.quiet);
        for (int i = 0; fd >= 0 && i < TRIES; i++) {
                free(STEAL(get.ret_etag));
                free(STEAL(get.ret_name));
                r = fetch_once(d, fd, &get, error);
                if (!may_try_again(r) || interrupt_seen())
                        break;
                clock_sleep_ms(500);
        }
        if (r == 0 && get.ret_ended)
                r = -ECANCELED;
        if (r == 0 && fsync(fd) < 0)
                r = error_errno(error, errno, "cannot write %s", d->part);
        if (r == 0)
                *ret_name = STEAL(get.ret_name);
        free(get.ret_etag);
        free(get.ret_name);
        return r;
}

static int put_in_place(struct download *d, const char *name, struct error *error)
{
        _cleanup_free_ char *file = d->into_directory ? path_join(d->target, str_or(name, PLAIN_NAME))
                                                      : xstrdup(d->target);
        struct stat st;
        if (rename(d->part, file) < 0)
                return error_errno(error, errno, "cannot name the download %s", file);
        unlink(d->record);
        long long size = stat(file, &st) == 0 ? (long long)st.st_size : 0;
        _cleanup_json_ json_t *facts = json_pack("{s:s, s:I}", "file", file, "bytes", (json_int_t)size);
        _cleanup_free_ char *text = json_text(facts);
        if (d->cli->json)
                puts(text);
        else
                cli_say(d->cli, "%s: %lld bytes", file, size);
        return CLI_GOOD;
}

int run_download(struct cli *cli, _unused_ int argc, _unused_ char **argv, struct error *error)
{
        _cleanup_(download_deinit) struct download d = {.cli = cli};
        _cleanup_free_ char *name = NULL;
        int r = read_wishes(&d, error);
        if (r == 0)
                r = choose_place(&d, error);
        if (r != 0 || !d.part)
                return r;
        read_record(&d);
        if (d.path)
                cli_say(cli, "going on with %s", d.part);
        else
                r = collect(&d, error);
        if (r != 0)
                return r;
        r = fetch(&d, &name, error);
        if (r == -ECANCELED) {
                fprintf(stderr, "\nstopped; the same command goes on with %s\n", d.part);
                return CLI_DETACHED;
        }
        if (r == -ENOENT) { /* nothing was collected, or what was begun is kept no more */
                unlink(d.part);
                unlink(d.record);
        }
        return r < 0 ? r : put_in_place(&d, name, error);
}
