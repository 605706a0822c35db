/*
 * The output of an operation on its way into the database: of what is meant for a terminal its lines keep the colours and
 * nothing else, whoever wrote them (base/ansi.h). They gather for a tenth of a second and go out together.
 * When the database is away they wait, up to a limit; how many were dropped is told in their place.
 */
#include <errno.h>
#include <string.h>

#include "base/ansi.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "runner/runner.h"

#define FLUSH_MS 100
#define LINES_MAX 200
#define WAITING_MAX 20000
#define RETRY_MS 1000

static int write_lines(struct runner *runner, int64_t patience_ms, struct error *error)
{
        struct flag_answer ours = {0};
        if (json_array_size(runner->lines) == 0)
                return 0;
        if (runner->dropped) {
                _cleanup_free_ char *text = xasprintf("(%zu lines were dropped here: the database was away)",
                                                      runner->dropped);
                json_array_append_new(runner->lines, json_string(text));
        }
        _cleanup_free_ char *text = json_text(runner->lines);
        int r = runner_db(runner, operation_append(runner->operation, runner->epoch, text, &ours), patience_ms, error);
        if (r < 0)
                return r;
        json_array_clear(runner->lines);
        runner->dropped = 0;
        runner->lost |= !ours.yes;
        return 0;
}

static int write_progress(struct runner *runner, int64_t patience_ms, struct error *error)
{
        struct flag_answer ours = {0};
        if (!runner->progress_due)
                return 0;
        int r = runner_db(runner,
                          operation_progress(runner->operation, runner->epoch, runner->done, runner->total, &ours),
                          patience_ms, error);
        if (r < 0)
                return r;
        runner->progress_due = false;
        runner->lost |= !ours.yes;
        return 0;
}

int runner_flush(struct runner *runner, int64_t patience_ms)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        if (!runner->operation || runner->lost || (patience_ms == 0 && clock_ms() < runner->retry_ms))
                return 0;
        int r = write_lines(runner, patience_ms, &error);
        if (r == 0)
                r = write_progress(runner, patience_ms, &error);
        runner->flushed_ms = clock_ms();
        if (r < 0) {
                runner->retry_ms = clock_ms() + RETRY_MS;
                log_warning("output of operation %lld waits: %s", (long long)runner->operation, error_text(&error));
        }
        return r;
}

static void flush_if_due(struct runner *runner)
{
        if (clock_ms() - runner->flushed_ms >= FLUSH_MS || json_array_size(runner->lines) >= LINES_MAX)
                runner_flush(runner, 0);
}

static void on_line(void *userdata, const char *text)
{
        struct runner *runner = userdata;
        _cleanup_buf_ struct buf clean = BUF_NULL;
        if (!runner->operation) {
                ansi_strip(text, strlen(text), &clean);
                log_info("%s", buf_str(&clean));
                return;
        }
        ansi_colours(text, strlen(text), &clean);
        if (json_array_size(runner->lines) >= WAITING_MAX)
                runner->dropped++;
        else
                json_array_append_new(runner->lines, json_string(buf_str(&clean)));
        flush_if_due(runner);
}

static void on_progress(void *userdata, int done, int total)
{
        struct runner *runner = userdata;
        runner->done = done;
        runner->total = total;
        runner->progress_due = true;
        flush_if_due(runner);
}

static void on_created(void *userdata, const char *hostname, double started, double ended)
{
        struct runner *runner = userdata;
        if (runner->created)
                runner->created(runner, hostname, started, ended);
}

/* Also when the row is another's now: then nothing more may be done. */
static bool is_cancelled(void *userdata)
{
        struct runner *runner = userdata;
        struct flag_answer stop = {0};
        if (!runner->operation)
                return false;
        flush_if_due(runner);
        if (!runner->cancelled && clock_ms() >= runner->retry_ms &&
            runner_db(runner, operation_asked_to_stop(runner->operation, runner->epoch, &stop), 0, NULL) == 0)
                runner->cancelled = stop.yes;
        return runner->cancelled || runner->lost;
}

struct provider_sink runner_sink(struct runner *runner)
{
        return (struct provider_sink){.line = on_line,
                                      .progress = on_progress,
                                      .created = on_created,
                                      .cancelled = is_cancelled,
                                      .userdata = runner};
}

void runner_say(struct runner *runner, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *text = xvasprintf(format, args);
        va_end(args);
        on_line(runner, text);
}
