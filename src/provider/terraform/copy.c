/*
 * The last whole copy of a local state. The engine empties its state file and writes it again in place, each 20 seconds of
 * an apply: one that is killed meanwhile leaves a file that is empty or ends in the middle, and an empty one is, to the
 * engine, a lab without VMs. So whoever changes something keeps each whole state that it reads as ENV.tfstate.kept, also
 * in the middle of an apply. A state that has lost VMs which a copy names is never taken for what it seems to be: the copy
 * tells which VMs exist, nothing is begun, and a repair or a destroy puts the copy back first.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "provider/terraform/internal.h"

static char *place(const struct provider *p, const char *end)
{
        _cleanup_free_ char *name = xasprintf("%s.tfstate%s", p->environment, end);
        return tf_path(p, name);
}

static bool is_blank(const struct buf *text)
{
        return text->len == 0 || strspn(text->data, " \n\r\t") == text->len;
}

/* -ENODATA: there is no such file, or nothing in it. -EINVAL: it ends in the middle. */
static int read_one(const struct provider *p, const char *end, struct buf *text, struct tf_state *ret,
                    struct error *error)
{
        _cleanup_free_ char *path = place(p, end);
        if (access(path, F_OK) < 0 && errno == ENOENT)
                return -ENODATA;
        int r = file_read(path, ENGINE_OUTPUT_MAX, text, error);
        if (r < 0)
                return r;
        return is_blank(text) ? -ENODATA : state_parse(text->data, text->len, p->environment, ret, error);
}

/* Ours first: the engine's own is of the beginning of its last run. */
static const char *const copies[] = {".kept", ".backup"};

static const char *find_copy(const struct provider *p, struct buf *text, struct tf_state *ret)
{
        for (size_t i = 0; i < ARRAY_SIZE(copies); i++) {
                if (read_one(p, copies[i], text, ret, NULL) == 0)
                        return copies[i];
                buf_truncate(text, 0);
        }
        return NULL;
}

static void keep(const struct provider *p, const struct buf *text)
{
        _cleanup_buf_wiped_ struct buf known = BUF_NULL;
        _cleanup_free_ char *path = place(p, ".kept");
        if (file_read(path, ENGINE_OUTPUT_MAX, &known, NULL) < 0 || known.len != text->len ||
            memcmp(known.data, text->data, text->len) != 0)
                file_write(path, text->data, text->len, 0600, NULL);
}

int copy_read(struct provider *p, struct tf_state *ret, struct error *error)
{
        _cleanup_error_ struct error why = ERROR_NULL;
        _cleanup_buf_wiped_ struct buf text = BUF_NULL, copied = BUF_NULL;
        int r = read_one(p, "", &text, ret, &why);
        if (r == 0 && p->lock_fd >= 0)
                keep(p, &text);
        if (r != -ENODATA && r != -EINVAL)
                return r < 0 ? error_move(error, &why) : 0;
        if (find_copy(p, &copied, ret)) {
                ret->lost = ret->n > 0 || r == -EINVAL;
                return 0;
        }
        if (r == -ENODATA) /* nothing was ever made */
                return 0;
        _cleanup_free_ char *path = place(p, "");
        return error_set(
                error, r,
                "%s was cut off while the engine wrote it, and there is no copy of it. End the machines on the "
                "cloud's own pages, move this file away, then destroy all VMs here",
                path);
}

void copy_look(struct provider *p)
{
        _cleanup_state_ struct tf_state state = {.last = -1};
        _cleanup_free_ char *path = place(p, "");
        struct stat st;
        if (module_backend(p) != TF_LOCAL || stat(path, &st) < 0 ||
            memcmp(&st.st_mtim, &p->looked_at, sizeof st.st_mtim) == 0)
                return;
        p->looked_at = st.st_mtim;
        copy_read(p, &state, NULL);
}

int copy_restore(struct provider *p, const struct provider_sink *sink, struct error *error)
{
        _cleanup_state_ struct tf_state state = {.last = -1};
        _cleanup_buf_wiped_ struct buf text = BUF_NULL;
        _cleanup_free_ char *path = place(p, ""), *aside = place(p, ".broken");
        int r = module_backend(p) == TF_LOCAL ? copy_read(p, &state, error) : 0;
        if (r < 0 || !state.lost)
                return r;
        tf_state_clear(&state);
        const char *copy = find_copy(p, &text, &state);
        if (!copy)
                return error_set(error, -EAGAIN, "the copy of the state has gone meanwhile");
        sink_line(
                sink,
                "The engine was killed while it wrote its state. The last whole copy is put back (%s): it names %zu VM%s.",
                copy, state.n, state.n == 1 ? "" : "s");
        rename(path, aside);
        return file_write(path, text.data, text.len, 0600, error);
}
