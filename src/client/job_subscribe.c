/*
 * Waits for the seat and carries the assignment out, once: start-host, then the program of on_assigned. What was done
 * is in the state file before the allocator is asked again, so a newer answer is the only one that can come.
 *
 * An assignment that cannot be carried out (a code that is none, start-host failing) is told and counts as carried out:
 * the participant gets a newer one by pasting a new code, and the same one would only fail again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/process.h"
#include "base/text.h"
#include "client/agent.h"
#include "client/assignment.h"
#include "client/child_env.h"
#include "client/job.h"
#include "client/start_host.h"

#define ON_ASSIGNED_USUAL "/opt/lablink/bin/lablink-software"
#define ON_ASSIGNED_MS 600000
#define AGAIN_MS 60000 /* after an answer that says nothing new */
#define HOST_TRIES 3
#define HOST_AGAIN_MS 5000

struct subscribe {
        struct job job;
        struct assignment assignment;
        struct run *run;
        int64_t asked_ms;
        unsigned tries;
        bool network_error;  /* start-host said so: the same code may still be good */
        const char *outcome; /* of start-host, as the participant's page is told */
};

static int ask(struct task *t);
static int host(struct task *t);

/* --- memory ------------------------------------------------------------------------------------------------------- */

static void name_of(const struct assignment *a, char out[STATE_HOSTED_SIZE])
{
        snprintf(out, STATE_HOSTED_SIZE, "%lld:%s", (long long)a->generation, a->fingerprint);
}

static void save(struct subscribe *s)
{
        struct agent *agent = s->job.agent;
        _cleanup_error_ struct error error = ERROR_NULL;
        if (agent->state.path && state_save(&agent->state, &error) < 0)
                agent_say(agent, LOG_LEVEL_ERROR, "%s", error_text(&error));
}

static bool is_known(const struct state *state, const struct assignment *a)
{
        return a->generation ? a->generation <= state->generation : strcmp(a->fingerprint, state->fingerprint) == 0;
}

static void ring(struct job *job)
{
        if (job)
                alarm_ring(&job->alarm);
}

static int carried_out(struct task *t)
{
        struct subscribe *s = t->state;
        struct state *state = &s->job.agent->state;
        failpoint("agent.before-save");
        if (s->assignment.generation)
                state->generation = s->assignment.generation;
        memcpy(state->fingerprint, s->assignment.fingerprint, sizeof state->fingerprint);
        str_replace(&state->pin, s->assignment.pin);
        state->hosted[0] = '\0';
        save(s);
        failpoint("agent.saved");
        assignment_deinit(&s->assignment);
        ring(s->job.agent->in_use);
        ring(s->job.agent->heartbeat);
        return ask(t);
}

/* --- the program of on_assigned ----------------------------------------------------------------------------------- */

/* What start-host says when it fails, and the word for it. */
static void note_outcome(struct subscribe *s, const char *line, size_t len)
{
        static const char *const said[][2] = {{"network error", "network"},
                                              {"OAuth error", "oauth"},
                                              {"Permission denied", "permission"},
                                              {"Registration error", "registration"}};
        for (size_t i = 0; i < ARRAY_SIZE(said); i++)
                if (memmem(line, len, said[i][0], strlen(said[i][0])))
                        s->outcome = said[i][1];
        s->network_error = str_eq(s->outcome, "network");
}

static void say_line(void *userdata, const char *line, size_t len)
{
        struct subscribe *s = userdata;
        note_outcome(s, line, len);
        if (len)
                agent_say(s->job.agent, LOG_LEVEL_INFO, "| %.*s", (int)len, line);
}

static int program_ended(struct task *t)
{
        struct subscribe *s = t->state;
        _cleanup_free_ char *outcome = process_outcome(run_status(s->run));
        bool good = run_status(s->run) == 0;
        agent_say(s->job.agent, good ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "the program of on_assigned: %s%s", outcome,
                  run_timed_out(s->run) ? ", its time was up" : "");
        run_free(STEAL(s->run));
        return carried_out(t);
}

static int program(struct task *t)
{
        struct subscribe *s = t->state;
        const char *configured = s->job.agent->settings->on_assigned;
        _cleanup_free_ char *path = find_program(*configured ? configured : ON_ASSIGNED_USUAL);
        _cleanup_error_ struct error error = ERROR_NULL;
        if (!path) {
                if (*configured)
                        agent_say(s->job.agent, LOG_LEVEL_ERROR, "on_assigned: %s cannot be executed", configured);
                return carried_out(t);
        }
        _cleanup_free_ char *generation = xasprintf("LABLINK_GENERATION=%lld", (long long)s->assignment.generation);
        _cleanup_strv_ char **env = child_env(NULL, (const char *const[]){generation, NULL});
        struct run_spec spec = {.argv = (const char *const[]){path, NULL},
                                .env = (const char *const *)env,
                                .cwd = "/",
                                .line = say_line,
                                .userdata = s,
                                .timeout_ms = ON_ASSIGNED_MS};
        s->run = run_start(t->loop, &spec, &error);
        if (s->run)
                return run_await(t, s->run, program_ended);
        agent_say(s->job.agent, LOG_LEVEL_ERROR, "on_assigned: %s", error_text(&error));
        return carried_out(t);
}

/* --- start-host --------------------------------------------------------------------------------------------------- */

static int hosted(struct task *t)
{
        struct subscribe *s = t->state;
        failpoint("agent.host-ended");
        name_of(&s->assignment, s->job.agent->state.hosted);
        save(s);
        failpoint("agent.hosted");
        return program(t);
}

static int told(struct task *t)
{
        struct subscribe *s = t->state;
        call_deinit(&s->job.call);
        return hosted(t);
}

/* So that the participant's page can ask for another code. Told once: an allocator that is away at this moment, or of
 * another kind, loses a help and no seat. */
static int tell_outcome(struct task *t)
{
        struct subscribe *s = t->state;
        const struct agent *agent = s->job.agent;
        if (!s->assignment.generation)
                return hosted(t);
        _cleanup_free_ char *path = xasprintf("/api/vm-metrics/%s", agent->settings->hostname);
        json_t *body = json_pack("{s:I, s:s}", "crd_generation", (json_int_t)s->assignment.generation, "crd_outcome",
                                 s->outcome);
        return call_post(t, &s->job.call, &s->job.agent->caller, path, body, told);
}

static int host_ended(struct task *t)
{
        struct subscribe *s = t->state;
        _cleanup_free_ char *outcome = process_outcome(run_status(s->run));
        bool good = run_status(s->run) == 0, again = !good && s->network_error && ++s->tries < HOST_TRIES;
        agent_say(s->job.agent, good ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "start-host: %s%s%s", outcome,
                  run_timed_out(s->run) ? ", its time was up" : "",
                  good    ? ", the desktop can be reached"
                  : again ? ", trying again"
                          : ", a new code is needed");
        run_free(STEAL(s->run));
        if (again)
                return alarm_await(t, &s->job.alarm, HOST_AGAIN_MS, host);
        if (good || !s->outcome)
                s->outcome = good ? "done" : "failed";
        return tell_outcome(t);
}

static int host(struct task *t)
{
        struct subscribe *s = t->state;
        _cleanup_free_ char *path = start_host_find(s->job.agent->settings);
        _cleanup_error_ struct error error = ERROR_NULL;
        s->network_error = false;
        s->outcome = NULL;
        if (!s->assignment.code) {
                agent_say(s->job.agent, LOG_LEVEL_INFO, "the desktop is used in the browser: no start-host is run");
                return hosted(t);
        }
        if (!path) {
                agent_say(s->job.agent, LOG_LEVEL_INFO, "Chrome Remote Desktop is not installed: no start-host is run");
                return hosted(t);
        }
        s->run = start_host_run(t->loop, path, s->job.agent->settings, &s->assignment, say_line, s, &error);
        if (s->run)
                return run_await(t, s->run, host_ended);
        agent_say(s->job.agent, LOG_LEVEL_ERROR, "start-host: %s", error_text(&error));
        return hosted(t);
}

/* --- the allocator ------------------------------------------------------------------------------------------------ */

static int nothing_new(struct task *t, const char *why)
{
        struct subscribe *s = t->state;
        if (backoff_is_news(&s->job.backoff, why))
                agent_say(s->job.agent, LOG_LEVEL_WARNING, "waiting for a seat: %s: asking again in a minute", why);
        assignment_deinit(&s->assignment);
        return alarm_await(t, &s->job.alarm, AGAIN_MS, ask);
}

static int carry_out(struct task *t)
{
        struct subscribe *s = t->state;
        struct agent *agent = s->job.agent;
        char name[STATE_HOSTED_SIZE];
        mask_set(&agent->mask, s->assignment.code, s->assignment.pin);
        agent_say(agent, LOG_LEVEL_INFO, "a seat was assigned (generation %lld)", (long long)s->assignment.generation);
        name_of(&s->assignment, name);
        failpoint("agent.before-host");
        s->tries = 0;
        return strcmp(name, agent->state.hosted) == 0 ? program(t) : host(t);
}

static int take_answer(struct task *t)
{
        struct subscribe *s = t->state;
        struct agent *agent = s->job.agent;
        _cleanup_error_ struct error error = ERROR_NULL;
        enum assignment_kind kind = assignment_read(buf_str(&s->job.call.body), s->job.call.body.len,
                                                    agent->settings->hostname, &s->assignment, &error);
        call_deinit(&s->job.call);
        if (kind == ASSIGNMENT_GARBAGE)
                return nothing_new(t, error_text(&error));
        if (is_known(&agent->state, &s->assignment))
                return nothing_new(t, "the allocator repeats what was carried out");
        job_succeeded(&s->job);
        if (kind == ASSIGNMENT_GOOD)
                return carry_out(t);
        agent_say(agent, LOG_LEVEL_ERROR, "the assignment (generation %lld) is refused: %s",
                  (long long)s->assignment.generation, error_text(&error));
        return carried_out(t);
}

static int answered(struct task *t)
{
        struct subscribe *s = t->state;
        if (call_ok(&s->job.call))
                return take_answer(t);
        if (clock_ms() - s->asked_ms > AGAIN_MS) /* a long wait that ended is no failure of the try before */
                backoff_reset(&s->job.backoff);
        return job_retry(&s->job, ask);
}

static int ask(struct task *t)
{
        struct subscribe *s = t->state;
        const struct agent *agent = s->job.agent;
        s->asked_ms = clock_ms();
        json_t *body = json_pack("{s:s, s:I}", "hostname", agent->settings->hostname, "generation",
                                 (json_int_t)agent->state.generation);
        return call_wait(t, &s->job.call, &s->job.agent->caller, "/vm_startup", body, answered);
}

/* After a step that failed; the state may have anything half done. */
static int begin(struct task *t)
{
        struct subscribe *s = t->state;
        run_free(STEAL(s->run));
        assignment_deinit(&s->assignment);
        return ask(t);
}

static void stop(struct job *job)
{
        struct subscribe *s = (struct subscribe *)job;
        run_free(STEAL(s->run));
}

static void release(struct job *job)
{
        struct subscribe *s = (struct subscribe *)job;
        assignment_deinit(&s->assignment);
        job_deinit(job);
        free(s);
}

struct job *subscribe_new(void)
{
        struct subscribe *s = xcalloc(1, sizeof *s);
        *s = (struct subscribe){.job = {.name = "waiting for a seat", .first = begin, .stop = stop, .free = release}};
        return &s->job;
}
