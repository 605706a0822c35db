/*
 * Collect: the participants' files of all VMs, or of some, into a collection (lab/collection.h). What the children bring
 * is written into the list at once, so that an archive can be played while others still work; the rows in the database
 * follow for people to look at. A VM that fails is named, and stops nobody.
 */
#include "runner/collect.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "lab/collection.h"
#include "lab/settings.h"

#define TELL_EACH_MS 700
#define DISCARD_WAIT_MS 3000 /* for a download to end */

/* --- numbers for people -------------------------------------------------------------------------------------------- */

static char *size_text(int64_t bytes)
{
        static const char *const units[] = {"bytes", "KB", "MB", "GB", "TB"};
        double value = (double)bytes;
        size_t unit = 0;
        for (; value >= 1000 && unit + 1 < ARRAY_SIZE(units); unit++)
                value /= 1000;
        return unit ? xasprintf("%.1f %s", value, units[unit]) : xasprintf("%lld bytes", (long long)bytes);
}

static void say_end(struct collecting *c, const struct harvest_seat *seat)
{
        _cleanup_free_ char *all = size_text(seat->bytes), *fresh = size_text(seat->fresh_bytes);
        if (!seat->good)
                runner_say(c->runner, "%s: failed: %s", seat->hostname, str_or(seat->reason, "unknown"));
        else if (c->look)
                runner_say(c->runner, "%s: %lld new files, %s", seat->hostname, (long long)seat->fresh_files, fresh);
        else
                runner_say(c->runner, "%s: %lld file%s, %s; new: %lld, %s%s", seat->hostname, (long long)seat->files,
                           seat->files == 1 ? "" : "s", all, (long long)seat->fresh_files, fresh,
                           seat->skipped ? "; some were left out, the manifest says which" : "");
}

/* --- what the harvest tells ---------------------------------------------------------------------------------------- */

static struct seat_row *row_of_seat(struct collecting *c, const struct harvest_seat *seat)
{
        size_t index = (size_t)(seat - c->harvest.seats);
        for (size_t i = 0; i < c->n_rows; i++)
                if (c->rows[i].asked && c->rows[i].index == index)
                        return &c->rows[i];
        return NULL;
}

static void on_file(void *userdata, struct harvest_seat *seat, const struct entry *entry, bool fresh)
{
        struct collecting *c = userdata;
        if (c->look)
                return;
        struct entry copy = *entry;
        copy.path = xstrdup(entry->path);
        list_file(c, seat->folder, entry);
        entries_add(&c->now[seat - c->harvest.seats], &copy);
        c->differs |= fresh;
}

static void on_skipped(void *userdata, struct harvest_seat *seat, const json_t *line)
{
        struct collecting *c = userdata;
        c->differs = true;
        if (!c->look)
                list_skip(c, seat->folder, line);
}

static void on_say(void *userdata, struct harvest_seat *seat, const char *text)
{
        struct collecting *c = userdata;
        runner_say(c->runner, "%s: %s", seat->hostname, text);
}

static void put_row(struct collecting *c, const struct seat_row *row, const struct harvest_seat *seat,
                    int64_t patience_ms)
{
        struct collection_seat put = {.folder = row->folder,
                                      .hostname = row->hostname,
                                      .email = row->email,
                                      .vm_id = row->vm_id,
                                      .state = !seat->ended ? (seat->working ? "working" : "waiting")
                                               : seat->good ? "done"
                                                            : "failed",
                                      .step = *seat->step ? seat->step : NULL,
                                      .reason = seat->reason,
                                      .files = seat->files,
                                      .bytes = seat->bytes,
                                      .fresh_files = seat->fresh_files,
                                      .fresh_bytes = seat->fresh_bytes};
        runner_db(c->runner, collection_seat_put(c->id, &put), patience_ms, NULL);
}

static void on_changed(void *userdata, struct harvest_seat *seat)
{
        struct collecting *c = userdata;
        struct seat_row *row = row_of_seat(c, seat);
        int64_t now = clock_ms();
        list_flush(c);
        if (!row || (!seat->ended && now - row->told_ms < TELL_EACH_MS))
                return;
        row->told_ms = now;
        if (!c->look)
                put_row(c, row, seat, seat->ended ? PATIENCE_MS : 0);
        if (!seat->ended)
                return;
        c->failed += !seat->good;
        c->differs |= seat->good == row->was_failed;
        if (!seat->good && !c->look)
                list_failed(c, row->folder, str_or(seat->reason, "unknown"));
        say_end(c, seat);
        struct provider_sink sink = runner_sink(c->runner);
        sink.progress(sink.userdata, (int)++c->done, (int)c->harvest.n);
        failpoint("collect.seat-ended");
}

static bool is_cancelled(void *userdata)
{
        struct collecting *c = userdata;
        struct provider_sink sink = runner_sink(c->runner);
        return c->list_error < 0 || sink.cancelled(sink.userdata);
}

/* --- which seats --------------------------------------------------------------------------------------------------- */

static int read_rows(struct collecting *c, struct error *error)
{
        struct vm_list rows = {.array = json_array()};
        size_t index;
        json_t *row;
        int r = runner_db(c->runner, collection_seats(c->id, &rows), PATIENCE_MS, error);
        c->rows = xcalloc(json_array_size(rows.array) + 1, sizeof *c->rows);
        json_array_foreach (rows.array, index, row)
                c->rows[c->n_rows++] = (struct seat_row){.folder = xstrdup(json_get_string(row, "folder")),
                                                         .hostname = xstrdup(json_get_string(row, "hostname")),
                                                         .email = xstrdup(json_get_string(row, "email")),
                                                         .vm_id = json_integer_value(json_object_get(row, "vm_id")),
                                                         .was_failed = !str_eq(json_get_string(row, "state"), "done")};
        json_decref(rows.array);
        return r;
}

static bool folder_taken(const struct collecting *c, const char *folder)
{
        for (size_t i = 0; i < c->n_rows; i++)
                if (str_eq(c->rows[i].folder, folder))
                        return true;
        return false;
}

/* The seat of that machine and participant; files from before somebody took the seat are that participant's, too. */
static struct seat_row *find_row(struct collecting *c, const char *hostname, int64_t vm_id, const char *email)
{
        for (size_t i = 0; i < c->n_rows; i++) {
                struct seat_row *row = &c->rows[i];
                if (row->asked || row->vm_id != vm_id || !str_eq(row->hostname, hostname) ||
                    (row->email && !str_eq(row->email, email)))
                        continue;
                c->differs |= !str_eq(row->email, email);
                str_replace(&row->email, email);
                return row;
        }
        return NULL;
}

static struct seat_row *add_row(struct collecting *c, const char *hostname, int64_t vm_id, const char *email)
{
        _cleanup_free_ char *folder = xstrdup(hostname);
        for (int number = 2; folder_taken(c, folder); number++) {
                free(folder);
                folder = xasprintf("%s-seat%d", hostname, number);
        }
        c->differs = true;
        c->rows = xreallocarray(c->rows, c->n_rows + 1, sizeof *c->rows);
        c->rows[c->n_rows] = (struct seat_row){.folder = STEAL(folder),
                                               .hostname = xstrdup(hostname),
                                               .email = xstrdup(email),
                                               .vm_id = vm_id,
                                               .was_failed = true};
        return &c->rows[c->n_rows++];
}

static int choose_seats(struct collecting *c, struct error *error)
{
        struct vm_list targets = {.array = json_array()};
        size_t index;
        json_t *target;
        int r = runner_db(c->runner, collection_targets(&targets), PATIENCE_MS, error);
        c->harvest.seats = xcalloc(json_array_size(targets.array) + 1, sizeof *c->harvest.seats);
        json_array_foreach (targets.array, index, target) {
                const char *hostname = json_get_string(target, "hostname"), *email = json_get_string(target, "email");
                int64_t vm_id = json_integer_value(json_object_get(target, "vm_id"));
                if (!selection_takes_vm(&c->selection, hostname))
                        continue;
                struct seat_row *row = find_row(c, hostname, vm_id, email);
                if (!row)
                        row = add_row(c, hostname, vm_id, email);
                row->asked = true;
                row->index = c->harvest.n++;
        }
        json_decref(targets.array);
        c->now = xcalloc(c->harvest.n + 1, sizeof *c->now);
        return r;
}

/* After every row is there: they do not move any more. */
static void fill_seats(struct collecting *c)
{
        for (size_t i = 0; i < c->n_rows; i++) {
                _cleanup_error_ struct error why = ERROR_NULL;
                struct seat_row *row = &c->rows[i];
                if (!row->asked)
                        continue;
                struct harvest_seat *seat = &c->harvest.seats[row->index];
                seat->hostname = row->hostname;
                seat->folder = row->folder;
                seat->had = row->had;
                row->had = (struct entries){0};
                seat->reachable = c->runner->ops->reach(c->runner->provider, row->hostname, &seat->reach, &why) == 0;
                if (!seat->reachable)
                        seat->reason = xstrdup(error_text(&why));
                if (!c->look)
                        put_row(c, row, seat, PATIENCE_MS);
        }
}

/* --- one round ----------------------------------------------------------------------------------------------------- */

static void set_harvest(struct collecting *c)
{
        const struct config *config = c->runner->config;
        c->harvest.store = &c->store;
        c->harvest.look = c->look;
        c->harvest.selection = &c->selection;
        c->harvest.limits = (struct harvest_limits){.side_by_side = (int)config->harvest.side_by_side,
                                                    .vm_bytes = config->harvest.vm_limit,
                                                    .all_bytes = config->harvest.limit,
                                                    .vm_files = config->harvest.files_max,
                                                    .time_ms = config->harvest.timeout,
                                                    .quiet_ms = config->harvest.quiet,
                                                    .connect_ms = config->harvest.connect};
        c->harvest.file = on_file;
        c->harvest.skipped = on_skipped;
        c->harvest.say = on_say;
        c->harvest.changed = on_changed;
        c->harvest.cancelled = is_cancelled;
        c->harvest.userdata = c;
}

static int read_collection(struct collecting *c, struct error *error)
{
        struct json_answer answer = {0};
        int r = runner_db(c->runner, collection_get(c->id, &answer), PATIENCE_MS, error);
        if (r == 0 && !answer.value)
                r = error_set(error, -ENOENT, "there is no collection %lld", (long long)c->id);
        if (r == 0)
                r = selection_read(json_object_get(answer.value, "selection"), c->runner->config, &c->selection, error);
        c->old_list = json_integer_value(json_object_get(answer.value, "list"));
        c->differs = c->old_list == 0;
        json_decref(answer.value);
        return r;
}

static int prepare(struct collecting *c, const json_t *arguments, struct error *error)
{
        c->started = clock_now();
        c->id = json_integer_value(json_object_get(arguments, "collection"));
        c->look = json_is_true(json_object_get(arguments, "look"));
        int r = read_collection(c, error);
        if (r == 0)
                r = store_open(c->runner->state_dir, c->id, true, &c->store, error);
        if (r == 0)
                r = read_rows(c, error);
        if (r == 0)
                r = choose_seats(c, error);
        if (r == 0)
                r = collected_before(c, error);
        if (r == 0 && !c->look)
                r = list_begin(c, error);
        if (r == 0)
                fill_seats(c);
        set_harvest(c);
        return r;
}

static void say_start(struct collecting *c)
{
        _cleanup_free_ char *words = selection_words(&c->selection);
        _cleanup_free_ char *one = size_text(c->harvest.limits.vm_bytes), *all = size_text(c->harvest.limits.all_bytes);
        runner_say(c->runner, "%s %s of %zu client VM%s, %d at a time; at most %s a VM and %s together.",
                   c->look ? "Looking for" : "Collecting", words, c->harvest.n, c->harvest.n == 1 ? "" : "s",
                   c->harvest.limits.side_by_side, one, all);
        struct provider_sink sink = runner_sink(c->runner);
        sink.progress(sink.userdata, 0, (int)c->harvest.n);
}

/* The list counts from now on, unless it says what the old one says: then that one's archive stays the same, byte by
 * byte, for whoever is in the middle of it. */
static int settle_list(struct collecting *c, struct error *error)
{
        failpoint("collect.before-list");
        int r = list_end(c, error);
        if (r < 0)
                return r;
        int64_t list = c->differs ? c->runner->operation : c->old_list;
        r = runner_db(c->runner, collection_listed(c->id, list, c->files, c->bytes), PATIENCE_MS, error);
        failpoint("collect.listed");
        if (r == 0)
                lists_tidy(c, list);
        return r;
}

static json_t *result_of(const struct collecting *c)
{
        json_t *failed = json_array();
        int64_t fresh_files = 0, fresh_bytes = 0, left_out = 0;
        for (size_t i = 0; i < c->harvest.n; i++) {
                const struct harvest_seat *seat = &c->harvest.seats[i];
                fresh_files += seat->fresh_files;
                fresh_bytes += seat->fresh_bytes;
                left_out += seat->skipped;
                if (!seat->good)
                        json_array_append_new(failed, json_pack("{s:s, s:s}", "vm", seat->hostname, "reason",
                                                                str_or(seat->reason, "unknown")));
        }
        return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "collection", (json_int_t)c->id, "vms",
                         (json_int_t)c->harvest.n, "files", (json_int_t)c->files, "bytes", (json_int_t)c->bytes,
                         "new_files", (json_int_t)fresh_files, "new_bytes", (json_int_t)fresh_bytes, "left_out",
                         (json_int_t)left_out, "failed", failed);
}

static void note_look(struct collecting *c, const json_t *result)
{
        char now[CLOCK_ISO_SIZE];
        clock_iso(clock_now(), now);
        _cleanup_json_ json_t *value = json_copy((json_t *)result);
        json_object_set_new(value, "at", json_string(now));
        _cleanup_free_ char *text = json_text(value);
        runner_db(c->runner, setting_put("files_look", text), PATIENCE_MS, NULL);
}

static void collecting_clear(struct collecting *c)
{
        for (size_t i = 0; i < c->n_rows; i++) {
                free(c->rows[i].folder);
                free(c->rows[i].hostname);
                free(c->rows[i].email);
                entries_clear(&c->rows[i].had);
        }
        for (size_t i = 0; i < c->harvest.n; i++) {
                harvest_seat_clear(&c->harvest.seats[i]);
                entries_clear(&c->now[i]);
        }
        if (c->list)
                fclose(c->list);
        free(c->rows);
        free(c->now);
        free(c->harvest.seats);
        selection_clear(&c->selection);
        if (c->store.directory)
                store_close(&c->store);
}

int work_collect(struct runner *runner, const json_t *arguments, json_t **ret_result, struct error *error)
{
        _cleanup_(collecting_clear) struct collecting c = {.runner = runner};
        int r = prepare(&c, arguments, error);
        if (r < 0)
                return r;
        say_start(&c);
        failpoint("collect.before-files");
        int done = harvest_run(&c.harvest, error);
        if (done < 0 && done != -ECANCELED)
                return done;
        if (!c.look)
                r = settle_list(&c, done < 0 ? NULL : error);
        *ret_result = result_of(&c);
        if (c.look)
                note_look(&c, *ret_result);
        if (done < 0 || r < 0)
                return done < 0 ? done : r;
        _cleanup_free_ char *all = size_text(c.bytes);
        if (!c.look)
                runner_say(runner, "%lld file%s, %s, are kept in collection %lld.", (long long)c.files,
                           c.files == 1 ? "" : "s", all, (long long)c.id);
        if (c.failed && c.failed == c.harvest.n)
                return error_set(error, -EIO, "none of %zu VMs could be collected", c.failed);
        if (c.failed)
                runner_say(runner, "%zu of %zu VMs could not be collected; asking again tries them once more.",
                           c.failed, c.harvest.n);
        return 0;
}

static int discard_files(struct runner *runner, int64_t id, struct error *error)
{
        struct store store;
        int r = store_open(runner->state_dir, id, false, &store, error);
        if (r == -ENOENT) { /* nothing, or what an earlier try has left */
                _cleanup_free_ char *path = xasprintf("%s/collections/%lld", runner->state_dir, (long long)id);
                error_clear(error);
                return dir_remove(path, error);
        }
        if (r < 0)
                return r;
        r = store_lock(&store, DISCARD_WAIT_MS);
        if (r == -EWOULDBLOCK)
                r = error_set(error, r, "collection %lld is being downloaded: delete it afterwards", (long long)id);
        else if (r < 0)
                r = error_errno(error, -r, "cannot lock collection %lld", (long long)id);
        else
                r = dir_remove(store.directory, error);
        store_close(&store);
        return r;
}

int work_discard(struct runner *runner, const json_t *arguments, json_t **ret_result, struct error *error)
{
        int64_t id = json_integer_value(json_object_get(arguments, "collection"));
        int r = id > 0 ? discard_files(runner, id, error) : error_set(error, -EINVAL, "no collection was named");
        if (r == 0)
                r = runner_db(runner, collection_forget(id), PATIENCE_MS, error);
        if (r < 0)
                return r;
        runner_say(runner, "Collection %lld is deleted.", (long long)id);
        *ret_result = json_pack("{s:I}", "collection", (json_int_t)id);
        return 0;
}
