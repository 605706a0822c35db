/*
 * The parent: it starts a child a VM, so many at a time, reads what they tell, and ends those whose time is over. A
 * child's words are checked like a stranger's: it has read what a participant wrote.
 */
#include "harvest/harvest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/process.h"
#include "base/text.h"
#include "harvest/worker.h"

#define SIDE_BY_SIDE_MAX 64
#define LINE_BYTES_MAX ((size_t)64 << 10)
#define READ_BYTES 65536
#define TICK_MS 200

struct child {
        struct harvest_seat *seat; /* NULL: the slot is free */
        pid_t pid;
        int fd;
        int place;  /* its directory, work/SEAT */
        char *work; /* its path */
        int64_t started_ms, heard_ms;
        struct buf text;
        bool told; /* how it ended */
};

struct gang {
        struct harvest *harvest;
        struct shared *shared;
        struct child children[SIDE_BY_SIDE_MAX];
        size_t next, busy;
};

void harvest_seat_clear(struct harvest_seat *seat)
{
        provider_reach_clear(&seat->reach);
        entries_clear(&seat->had);
        free(seat->reason);
        seat->reason = NULL;
}

/* --- what a child tells -------------------------------------------------------------------------------------------- */

static void fail(struct harvest_seat *seat, const char *reason)
{
        if (!seat->reason)
                seat->reason = xstrdup(reason);
}

/* What the list names must be there: it would break the archive for all the others. */
static int keep_file(struct gang *gang, const struct child *child, const struct entry *entry, const char *incoming)
{
        const struct store *store = gang->harvest->store;
        if (incoming)
                return store_keep(store, child->place, incoming, entry);
        return store_holds(store, entry) ? 0 : -ENOENT;
}

static void take_file(struct gang *gang, struct child *child, const json_t *line)
{
        struct harvest_seat *seat = child->seat;
        const char *incoming = json_get_string(line, "incoming");
        struct entry entry = {0};
        if (entry_read(json_object_get(line, "file"), &entry) < 0)
                return;
        int r = keep_file(gang, child, &entry, incoming);
        if (r < 0) {
                _cleanup_free_ char *why = xasprintf("cannot keep its files: %s", strerror(-r));
                fail(seat, why);
                entry_clear(&entry);
                return;
        }
        seat->files++;
        seat->bytes += entry.size;
        seat->fresh_files += incoming != NULL;
        seat->fresh_bytes += incoming ? entry.size : 0;
        if (gang->harvest->file)
                gang->harvest->file(gang->harvest->userdata, seat, &entry, incoming != NULL);
        entry_clear(&entry);
}

static void take_skip(struct gang *gang, struct child *child, const json_t *line)
{
        child->seat->skipped += MAX(json_integer_value(json_object_get(line, "count")), (json_int_t)1);
        if (gang->harvest->skipped)
                gang->harvest->skipped(gang->harvest->userdata, child->seat, json_object_get(line, "skip"));
}

static void take_word(struct gang *gang, struct child *child, const json_t *line)
{
        struct harvest *harvest = gang->harvest;
        struct harvest_seat *seat = child->seat;
        const char *step = json_get_string(line, "step"), *say = json_get_string(line, "say");
        const char *failed = json_get_string(line, "failed");
        if (json_object_get(line, "file")) {
                take_file(gang, child, line);
        } else if (json_object_get(line, "skip")) {
                take_skip(gang, child, line);
        } else if (json_object_get(line, "would")) {
                seat->fresh_files++;
                seat->fresh_bytes += json_integer_value(json_object_get(line, "would"));
        } else if (json_object_get(line, "found")) {
                seat->found_files = json_integer_value(json_object_get(line, "found"));
                seat->found_bytes = json_integer_value(json_object_get(line, "bytes"));
        } else if (step) {
                snprintf(seat->step, sizeof seat->step, "%s", step);
        } else if (say) {
                harvest->say(harvest->userdata, seat, say);
        } else if (failed) {
                child->told = true;
                fail(seat, failed);
        } else if (json_is_true(json_object_get(line, "done"))) {
                child->told = seat->good = true;
        }
}

static void take_lines(struct gang *gang, struct child *child)
{
        size_t start = 0;
        for (char *newline;
             start < child->text.len && (newline = memchr(child->text.data + start, '\n', child->text.len - start));) {
                size_t len = (size_t)(newline - child->text.data) - start;
                _cleanup_json_ json_t *line = json_read(child->text.data + start, len, NULL);
                if (line)
                        take_word(gang, child, line);
                start += len + 1;
        }
        buf_consume(&child->text, start);
        if (start && gang->harvest->changed)
                gang->harvest->changed(gang->harvest->userdata, child->seat);
}

/* --- a child's life ------------------------------------------------------------------------------------------------ */

static int start_child(struct gang *gang, struct child *slot, struct harvest_seat *seat, struct error *error)
{
        _cleanup_close_ int in = -1, out = -1, place = -1;
        _cleanup_free_ char *work = NULL;
        int fds[2];
        int r = store_work_open(gang->harvest->store, seat->folder, &work, &place, error);
        if (r < 0)
                return r;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_errno(error, errno, "cannot make a pipe");
        in = fds[0];
        out = fds[1];
        fflush(NULL);
        pid_t pid = fork();
        if (pid < 0)
                return error_errno(error, errno, "cannot start a process");
        if (pid == 0) {
                struct worker worker = {.harvest = gang->harvest,
                                        .seat = seat,
                                        .shared = gang->shared,
                                        .out = out,
                                        .place = place,
                                        .work = work};
                setsid();
                closep(&in);
                _exit(worker_main(&worker));
        }
        fcntl(in, F_SETFL, O_NONBLOCK);
        *slot = (struct child){.seat = seat,
                               .pid = pid,
                               .fd = STEAL_FD(in),
                               .place = STEAL_FD(place),
                               .work = STEAL(work),
                               .started_ms = clock_ms(),
                               .heard_ms = clock_ms()};
        seat->working = true;
        gang->busy++;
        return 0;
}

static void seat_ended(struct gang *gang, struct harvest_seat *seat)
{
        seat->working = false;
        seat->ended = true;
        seat->good &= seat->reason == NULL;
        seat->step[0] = '\0';
        if (gang->harvest->changed)
                gang->harvest->changed(gang->harvest->userdata, seat);
}

static void end_child(struct gang *gang, struct child *child)
{
        int status = 0;
        kill(-child->pid, SIGKILL); /* what it has started goes with it */
        kill(child->pid, SIGKILL);  /* one that has not come to have a session yet */
        process_wait(child->pid, &status, NULL);
        if (!child->told && !child->seat->reason) {
                _cleanup_free_ char *outcome = process_outcome(status);
                _cleanup_free_ char *why = xasprintf("collecting ended without a word (%s)", outcome);
                fail(child->seat, why);
        }
        close(child->fd);
        closep(&child->place);
        free(STEAL(child->work));
        buf_deinit(&child->text);
        struct harvest_seat *seat = STEAL(child->seat);
        gang->busy--;
        seat_ended(gang, seat);
}

static void read_child(struct gang *gang, struct child *child)
{
        buf_reserve(&child->text, READ_BYTES);
        ssize_t n = read(child->fd, child->text.data + child->text.len, READ_BYTES);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                end_child(gang, child);
                return;
        }
        child->heard_ms = clock_ms();
        child->text.len += (size_t)n;
        child->text.data[child->text.len] = '\0';
        take_lines(gang, child);
        if (child->text.len > LINE_BYTES_MAX)
                buf_truncate(&child->text, 0);
}

static void look_at_clock(struct gang *gang, struct child *child)
{
        const struct harvest_limits *limits = &gang->harvest->limits;
        int64_t now = clock_ms();
        _cleanup_free_ char *why = NULL;
        if (now - child->started_ms > limits->time_ms)
                why = xasprintf("not done after %lld s (harvest.timeout); what had arrived is kept",
                                (long long)limits->time_ms / 1000);
        else if (now - child->heard_ms > limits->quiet_ms)
                why = xasprintf("nothing came for %lld s (harvest.quiet) during the step %s; what had arrived is kept",
                                (long long)limits->quiet_ms / 1000, *child->seat->step ? child->seat->step : "start");
        if (!why)
                return;
        fail(child->seat, why);
        end_child(gang, child);
}

/* --- all ----------------------------------------------------------------------------------------------------------- */

static struct child *free_slot(struct gang *gang)
{
        for (int i = 0; i < MIN(gang->harvest->limits.side_by_side, SIDE_BY_SIDE_MAX); i++)
                if (!gang->children[i].seat)
                        return &gang->children[i];
        return NULL;
}

static void start_more(struct gang *gang)
{
        struct harvest *harvest = gang->harvest;
        for (struct child *slot; gang->next < harvest->n && (slot = free_slot(gang)); gang->next++) {
                _cleanup_error_ struct error error = ERROR_NULL;
                struct harvest_seat *seat = &harvest->seats[gang->next];
                if (seat->reachable && start_child(gang, slot, seat, &error) < 0)
                        fail(seat, error_text(&error));
                if (!seat->working)
                        seat_ended(gang, seat);
        }
}

static void turn(struct gang *gang)
{
        struct pollfd fds[SIDE_BY_SIDE_MAX];
        for (size_t i = 0; i < SIDE_BY_SIDE_MAX; i++)
                fds[i] = (struct pollfd){.fd = gang->children[i].seat ? gang->children[i].fd : -1, .events = POLLIN};
        poll(fds, SIDE_BY_SIDE_MAX, TICK_MS);
        for (size_t i = 0; i < SIDE_BY_SIDE_MAX; i++) {
                if (gang->children[i].seat && fds[i].revents)
                        read_child(gang, &gang->children[i]);
                if (gang->children[i].seat)
                        look_at_clock(gang, &gang->children[i]);
        }
}

static void stop_all(struct gang *gang, const char *reason)
{
        for (size_t i = 0; i < SIDE_BY_SIDE_MAX; i++)
                if (gang->children[i].seat) {
                        fail(gang->children[i].seat, reason);
                        end_child(gang, &gang->children[i]);
                }
        for (; gang->next < gang->harvest->n; gang->next++) {
                fail(&gang->harvest->seats[gang->next], reason);
                seat_ended(gang, &gang->harvest->seats[gang->next]);
        }
}

int harvest_run(struct harvest *harvest, struct error *error)
{
        struct gang *gang = xcalloc(1, sizeof *gang);
        int r = 0;
        gang->harvest = harvest;
        gang->shared = mmap(NULL, sizeof *gang->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (gang->shared == MAP_FAILED) {
                free(gang);
                return error_errno(error, errno, "cannot share memory");
        }
        for (size_t i = 0; i < harvest->n; i++)
                for (size_t k = 0; k < harvest->seats[i].had.n; k++)
                        gang->shared->bytes += harvest->seats[i].had.list[k].size;
        start_more(gang);
        while (r == 0 && gang->busy) {
                turn(gang);
                if (harvest->cancelled && harvest->cancelled(harvest->userdata))
                        r = error_set(error, -ECANCELED, "cancelled; what had arrived is kept");
                else
                        start_more(gang);
        }
        if (r < 0)
                stop_all(gang, "the collection was cancelled before this VM was done");
        munmap(gang->shared, sizeof *gang->shared);
        free(gang);
        return r;
}
