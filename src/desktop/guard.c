/*
 * The guard of a VM: it looks at the seat, closes what no longer fits, waits until the VM is announced, and looks again.
 * The watch is set before the query, so nothing falls between; after the listening connection was lost every watch fires.
 * Who came after a query was sent is judged by the next one, which each arrival asks for: an older answer does not know
 * them.
 */
#include <string.h>

#include "base/log.h"
#include "desktop/machine.h"

#define AGAIN_MS 1000
#define CONSENT_MS 5000 /* how late the end of a consent may be noticed: time passes without an announcement */

static struct machine *machine_of(struct task *t)
{
        return t->state;
}

static enum hub_end judge(const struct hub *hub, const struct desktop_seat *seat, const struct hub_visit *visit)
{
        if (!seat->found || seat->tenancy != visit->tenancy)
                return HUB_END_SEAT;
        if (visit->role == HUB_PARTICIPANT && !json_array_has(seat->cookies, visit->cookie_hash))
                return HUB_END_ELSEWHERE;
        if (visit->role == HUB_HELPER && hub->options.assist == HUB_ASSIST_CONSENT && !seat->assist)
                return HUB_END_FORBIDDEN;
        return HUB_END_NONE;
}

static struct session *first_misfit(struct machine *machine, enum hub_end *ret)
{
        list_for_each (link, &machine->sessions) {
                struct session *session = list_entry(link, struct session, link);
                *ret = session->asked ? judge(machine->hub, &machine->seat, &session->visit) : HUB_END_NONE;
                if (*ret != HUB_END_NONE)
                        return session;
        }
        return NULL;
}

static bool has_helper(const struct machine *machine)
{
        list_for_each (link, &machine->sessions)
                if (list_entry(link, struct session, link)->visit.role == HUB_HELPER)
                        return true;
        return false;
}

static int guard_look(struct task *t);

static int guard_answer(struct task *t)
{
        struct machine *machine = machine_of(t);
        enum hub_end end;
        for (struct session *session; (session = first_misfit(machine, &end));)
                session_end(session, end);
        if (machine->asked && (!machine->seat.found || strcmp(machine->seat.secret_hash, machine->secret_hash) != 0))
                machine_hang_up(machine);
        return machine->leaving ? 0 : watch_await(t, &machine->watch, has_helper(machine) ? CONSENT_MS : 0, guard_look);
}

static int guard_look(struct task *t)
{
        struct machine *machine = machine_of(t);
        desktop_seat_deinit(&machine->seat);
        machine->asked = true;
        list_for_each (link, &machine->sessions)
                list_entry(link, struct session, link)->asked = true;
        watch_start(t->loop, &machine->watch, machine->hub->options.channel, machine->hostname);
        return db_await(t, desktop_guard(machine->hostname, &machine->seat), guard_answer);
}

static void guard_failed(struct task *t, int code _unused_)
{
        log_debug("%s: the seat cannot be looked at: %s", machine_of(t)->hostname, error_text(&t->error));
        error_clear(&t->error);
        sleep_await(t, AGAIN_MS, guard_look);
}

static void guard_finished(struct task *t)
{
        machine_free(machine_of(t));
}

static const struct task_class guard_class = {.name = "guard", .fail = guard_failed, .finished = guard_finished};

void guard_start(struct machine *machine)
{
        task_init(&machine->guard, machine->hub->options.loop, &guard_class, machine);
        task_start(&machine->guard, guard_look);
}

void guard_look_again(struct machine *machine)
{
        watch_fire(machine->hub->options.loop, machine->hub->options.channel, machine->hostname);
}

/* --- errands ------------------------------------------------------------------------------------------------------- */

struct errand {
        struct list link;
        struct task task;
        struct db_query query;
        char *texts[DB_PARAMS_MAX];
};

static int errand_done(struct task *t)
{
        task_finish(t);
        return 0;
}

static int errand_begin(struct task *t)
{
        struct errand *errand = t->state;
        return db_await(t, errand->query, errand_done);
}

static void errand_failed(struct task *t, int code _unused_)
{
        log_debug("%s: %s", ((struct errand *)t->state)->query.statement->name, error_text(&t->error));
        task_finish(t);
}

static void errand_finished(struct task *t)
{
        struct errand *errand = t->state;
        list_remove(&errand->link);
        for (size_t i = 0; i < errand->query.n_params; i++)
                free(errand->texts[i]);
        free(errand);
}

static const struct task_class errand_class = {.name = "errand", .fail = errand_failed, .finished = errand_finished};

void errand_run(struct hub *hub, struct db_query query)
{
        struct errand *errand = xcalloc(1, sizeof *errand);
        list_append(&hub->errands, &errand->link);
        errand->query = query;
        for (size_t i = 0; i < query.n_params; i++)
                if (query.params[i].kind == DB_P_TEXT)
                        errand->query.params[i].text = errand->texts[i] = xstrdup(query.params[i].text);
        task_init(&errand->task, hub->options.loop, &errand_class, errand);
        task_start(&errand->task, errand_begin);
}

void errands_end(struct hub *hub)
{
        list_for_each (link, &hub->errands)
                task_kill(&list_entry(link, struct errand, link)->task);
}
