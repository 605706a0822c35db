/*
 * The stream of an operation is read until it says "end"; when the connection breaks it is taken up again behind the
 * last line seen, so that a restarted allocator costs no line.
 */
#include "cli/follow.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/api.h"
#include "cli/table.h"
#include "cli/term.h"

#define PATIENCE_MS 120000

struct watch {
        struct cli *cli;
        int64_t id;
        int64_t last; /* number of the last line printed */
        json_t *operation;
        bool ended;
        bool colours;
        int done; /* progress told last, where there is no live line */
        struct progress progress;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(_unused_ int number)
{
        interrupted = 1;
}

void interrupt_catch(void)
{
        struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
        sigaction(SIGINT, &action, NULL);
}

bool interrupt_seen(void)
{
        return interrupted;
}

static bool has_ended(const json_t *operation)
{
        const char *state = json_get_string(operation, "state");
        return state && !str_eq(state, "queued") && !str_eq(state, "running");
}

static const char *kind(const struct watch *w)
{
        return str_or(json_get_string(w->operation, "kind"), "operation");
}

static void show_progress(struct watch *w)
{
        const json_t *progress = json_object_get(w->operation, "progress");
        int done = (int)json_integer_value(json_object_get(progress, "done"));
        int total = (int)json_integer_value(json_object_get(progress, "total"));
        const char *text = json_get_string(progress, "text");
        const char *comma = text && *text ? ": " : "";
        if (total > 0)
                progress_set(&w->progress, "%s %d of %d%s%s", kind(w), done, total, comma, str_or(text, ""));
        else
                progress_set(&w->progress, "%s%s%s", kind(w), comma, str_or(text, ""));
        if (!w->progress.live && !w->cli->opt.quiet && total > 0 && done != w->done)
                fprintf(stderr, "%s: %d of %d\n", kind(w), done, total);
        w->done = done;
}

static void take_operation(struct watch *w, json_t *operation)
{
        if (!json_is_object(operation)) {
                json_decref(operation);
                return;
        }
        json_decref(w->operation);
        w->operation = operation;
        show_progress(w);
}

static void put_line(struct watch *w, const char *text)
{
        progress_clear(&w->progress);
        FILE *out = w->cli->json ? stderr : stdout;
        if (w->cli->json && w->cli->opt.quiet)
                return;
        if (w->colours)
                term_put_coloured(out, text);
        else
                term_put(out, text);
        fputc('\n', out);
        fflush(out);
}

static void on_event(void *userdata, const char *event, const char *id, const char *data)
{
        struct watch *w = userdata;
        int64_t number;
        if (str_eq(event, "line")) {
                if (parse_int(id, 1, INT64_MAX, &number) == 0 && number <= w->last)
                        return;
                put_line(w, data);
                w->last = parse_int(id, 1, INT64_MAX, &number) == 0 ? number : w->last;
        } else if (str_eq(event, "operation")) {
                take_operation(w, json_read(data, strlen(data), NULL));
        } else if (str_eq(event, "end")) {
                w->ended = true;
        }
}

static bool on_tick(void *userdata)
{
        struct watch *w = userdata;
        progress_tick(&w->progress);
        return !interrupted && !w->ended && !ferror(stdout);
}

/* What the row says now, for a stream that ended without a word and for the outcome. */
static int look(struct watch *w, struct error *error)
{
        _cleanup_json_ json_t *answer = NULL;
        _cleanup_free_ char *path = xasprintf("/api/operations/%lld", (long long)w->id);
        int r = api_get(w->cli, path, &answer, error);
        if (r == 0)
                take_operation(w, json_incref(json_object_get(answer, "operation")));
        return r;
}

/* One connection: to the end of the operation or of the stream. */
static int follow_once(struct watch *w, struct error *error)
{
        _cleanup_free_ char *path = xasprintf("/api/operations/%lld/output?after=%lld%s", (long long)w->id,
                                              (long long)w->last, w->colours ? "&ansi=yes" : "");
        struct api_stream stream = {.event = on_event, .tick = on_tick, .userdata = w};
        int r = api_follow(w->cli, path, &stream, error);
        progress_clear(&w->progress);
        if (r < 0 || interrupted)
                return r;
        r = look(w, error);
        w->ended = r == 0 && has_ended(w->operation);
        return r;
}

static int follow_to_end(struct watch *w, struct error *error)
{
        int64_t trouble = 0, pause = 250;
        while (!w->ended && !interrupted && !ferror(stdout)) {
                int64_t before = w->last;
                int r = follow_once(w, error);
                if (r < 0 && r != -ENOTCONN && r != -EAGAIN)
                        return r;
                if (w->ended || interrupted)
                        break;
                if (r == 0 || w->last > before) {
                        trouble = 0;
                        pause = 250;
                } else if (!trouble) {
                        trouble = clock_ms();
                        progress_set(&w->progress, "the connection is lost, trying again");
                }
                if (r < 0 && clock_ms() - trouble > PATIENCE_MS && trouble)
                        return r;
                progress_tick(&w->progress);
                clock_sleep_ms(pause);
                pause = MIN(pause * 2, 4000);
        }
        progress_clear(&w->progress);
        error_clear(error); /* of connections that were taken up again */
        return 0;
}

static int detached(struct watch *w)
{
        fprintf(stderr,
                "\nno longer shown: %s %lld goes on. `lablink operation watch %lld` shows it again, `lablink operation "
                "cancel %lld` stops it.\n",
                kind(w), (long long)w->id, (long long)w->id, (long long)w->id);
        return CLI_DETACHED;
}

static void put_outcome(struct watch *w, const char *state)
{
        double start, end;
        const char *started = json_get_string(w->operation, "started_at");
        const char *ended = json_get_string(w->operation, "ended_at");
        _cleanup_buf_ struct buf took = BUF_NULL;
        if (started && ended && clock_parse_iso(started, &start) == 0 && clock_parse_iso(ended, &end) == 0) {
                buf_adds(&took, " after ");
                term_duration(end - start, &took);
        }
        cli_say(w->cli, "%s %lld: %s%s", kind(w), (long long)w->id, state, buf_str(&took));
}

static int outcome(struct watch *w, struct error *error)
{
        const char *state = str_or(json_get_string(w->operation, "state"), "unknown");
        const char *why = json_get_string(w->operation, "error");
        _cleanup_json_ json_t *whole = json_pack("{s:O}", "operation", w->operation);
        if (w->cli->json)
                json_put(whole, stdout);
        put_outcome(w, state);
        if (str_eq(state, "done"))
                return CLI_GOOD;
        fflush(stdout);
        error_set(error, -EIO, "%s %lld %s%s%s", kind(w), (long long)w->id,
                  str_eq(state, "cancelled") ? "was cancelled" : state, why ? ": " : "", str_or(why, ""));
        if (str_eq(state, "interrupted"))
                cli_hint(w->cli, "its process ended before it did; `lablink vm list` shows what there is, and the same "
                                 "command may be given again");
        return CLI_ENDED_BADLY;
}

int follow_operation(struct cli *cli, int64_t id, struct error *error)
{
        struct watch w = {.cli = cli, .id = id, .colours = !cli->json && term_has_colours(stdout)};
        interrupt_catch();
        progress_init(&w.progress, cli->opt.quiet);
        int r = look(&w, error);
        if (r == 0)
                r = follow_to_end(&w, error);
        if (r == 0)
                r = w.ended ? outcome(&w, error) : detached(&w);
        progress_deinit(&w.progress);
        json_decref(w.operation);
        return r;
}

int follow_answer(struct cli *cli, const json_t *answer, struct error *error)
{
        const json_t *operation = json_object_get(answer, "operation");
        int64_t id = json_integer_value(json_object_get(operation, "id"));
        if (!json_is_object(operation) || !id)
                return CLI_GOOD;
        const char *name = str_or(json_get_string(operation, "kind"), "operation");
        if (!cli->opt.detach) {
                cli_say(cli, "%s %lld is accepted", name, (long long)id);
                return follow_operation(cli, id, error);
        }
        if (cli->json)
                json_put(answer, stdout);
        cli_say(cli, "%s %lld is accepted; `lablink operation watch %lld` shows it", name, (long long)id,
                (long long)id);
        return CLI_GOOD;
}
