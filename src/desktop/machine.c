/*
 * The VMs for which something is open, and their control connections. What an agent says is read here: refusals and
 * pictures; whatever else it says is ignored, so that the next version may say more.
 */
#include <search.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/token.h"
#include "desktop/machine.h"

#define TICK_MS 1000

static int compare(const void *a, const void *b)
{
        return strcmp(((const struct machine *)a)->hostname, ((const struct machine *)b)->hostname);
}

struct machine *machine_find(struct hub *hub, const char *hostname)
{
        struct machine key = {.hostname = (char *)hostname};
        void *slot = tfind(&key, &hub->tree, compare);
        return slot ? *(struct machine **)slot : NULL;
}

struct machine *machine_get(struct hub *hub, const char *hostname)
{
        struct machine *machine = machine_find(hub, hostname);
        if (machine)
                return machine;
        machine = xcalloc(1, sizeof *machine);
        machine->hub = hub;
        machine->hostname = xstrdup(hostname);
        list_init(&machine->sessions);
        list_init(&machine->calls);
        if (!tsearch(machine, &hub->tree, compare))
                abort();
        list_append(&hub->machines, &machine->link);
        guard_start(machine);
        return machine;
}

void machine_settle(struct machine *machine)
{
        if (machine->control || machine->leaving || !list_empty(&machine->sessions) || !list_empty(&machine->calls))
                return;
        machine->leaving = true;
        tdelete(machine, &machine->hub->tree, compare);
        list_remove(&machine->link);
        task_kill(&machine->guard);
}

void machine_free(struct machine *machine)
{
        watch_stop(&machine->watch);
        desktop_seat_deinit(&machine->seat);
        buf_deinit(&machine->message);
        buf_deinit(&machine->thumbnail);
        free(machine->control_link);
        free(machine->hostname);
        free(machine);
}

unsigned machine_data_count(const struct machine *machine)
{
        unsigned n = 0;
        list_for_each (link, &machine->calls)
                n++;
        list_for_each (link, &machine->sessions)
                n += list_entry(link, struct session, link)->data != NULL;
        return n;
}

/* --- the control connection ---------------------------------------------------------------------------------------- */

void machine_say(struct machine *machine, json_t *message)
{
        _cleanup_free_ char *text = json_text(message);
        json_decref(message);
        if (!machine->control)
                return;
        if (ws_queued(machine->control) > CONTROL_QUEUE_MAX)
                return; /* it reads nothing: its pings will end it */
        ws_send(machine->control, WS_TEXT, text, strlen(text));
}

static void drop_spares(struct machine *machine)
{
        list_for_each (link, &machine->calls) {
                struct call *call = list_entry(link, struct call, link);
                if (!call->session)
                        call_free(call);
        }
}

static void control_ended(struct machine *machine)
{
        machine->control = NULL;
        buf_deinit(&machine->message);
        if (machine->control_link)
                errand_run(machine->hub, agent_link_clear(machine->hostname, machine->control_link));
        free(STEAL(machine->control_link));
        drop_spares(machine); /* sessions that have their data connection go on without it */
        machine_settle(machine);
}

void machine_note_visitors(struct machine *machine)
{
        struct hub *hub = machine->hub;
        if (machine->control_link)
                errand_run(hub, agent_link_visitors(machine->hostname, machine->control_link,
                                                    hub_count(hub, machine->hostname, HUB_WATCHER),
                                                    hub_count(hub, machine->hostname, HUB_HELPER)));
}

void machine_end_sessions(struct machine *machine, enum hub_end end)
{
        for (struct list *link = machine->sessions.next, *next; link != &machine->sessions; link = next) {
                next = link->next;
                bool last = next == &machine->sessions; /* ending the last one may end the machine */
                session_end(list_entry(link, struct session, link), end);
                if (last)
                        return;
        }
}

void machine_hang_up(struct machine *machine)
{
        machine_end_sessions(machine, HUB_END_LOST);
        if (!machine->control)
                return;
        ws_close(STEAL(machine->control), 4004, "{\"code\":\"unknown-vm\"}");
        control_ended(machine);
}

static void refused(struct machine *machine, const json_t *refuse)
{
        const char *id = json_get_string(refuse, "id"), *why = json_get_string(refuse, "why");
        struct call *call = id ? call_find(machine, id) : NULL;
        if (!call || !call->session)
                return;
        log_debug("%s: its agent cannot reach the desktop: %.200s", machine->hostname, why ? why : "no reason given");
        session_end(call->session, HUB_END_NO_DESKTOP);
}

static void take_text(struct machine *machine)
{
        _cleanup_json_ json_t *message = json_read_max(buf_str(&machine->message), machine->message.len, 64, NULL);
        const json_t *refuse = json_object_get(message, "refuse");
        if (json_is_object(refuse))
                refused(machine, refuse);
}

/* Only what begins as a JPEG is kept; browsers are told that it is one and nothing else (nosniff). */
static void take_picture(struct machine *machine)
{
        static const uint8_t magic[] = {0xff, 0xd8, 0xff};
        uint8_t hash[16];
        char text[2 * sizeof hash + 1];
        if (machine->message.len < sizeof magic || memcmp(machine->message.data, magic, sizeof magic) != 0)
                return;
        buf_deinit(&machine->thumbnail);
        machine->thumbnail = machine->message;
        machine->message = BUF_NULL;
        crypto_generichash(hash, sizeof hash, (const uint8_t *)machine->thumbnail.data, machine->thumbnail.len, NULL,
                           0);
        sodium_bin2hex(text, sizeof text, hash, sizeof hash);
        snprintf(machine->etag, sizeof machine->etag, "\"%s\"", text);
}

static void control_data(struct ws *ws, const uint8_t *data, size_t len, bool text, bool end)
{
        struct machine *machine = ws_userdata(ws);
        if (machine->message.len + len > (text ? CONTROL_TEXT_MAX : THUMBNAIL_MAX)) {
                log_warning("%s: its agent sent a message that is too long", machine->hostname);
                ws_close(ws, WS_CODE_TOO_BIG, NULL);
                control_ended(machine);
                return;
        }
        buf_add(&machine->message, data, len);
        if (!end)
                return;
        if (text)
                take_text(machine);
        else
                take_picture(machine);
        if (machine->control == ws)
                buf_deinit(&machine->message);
}

static void control_closed(struct ws *ws, unsigned code, const char *reason _unused_)
{
        struct machine *machine = ws_userdata(ws);
        log_debug("%s: its agent's connection ended (%u)", machine->hostname, code);
        control_ended(machine);
}

static const struct ws_handler control_handler = {.data = control_data, .closed = control_closed};

void hub_control(struct hub *hub, const char *hostname, const char *link, const char *secret_hash, int fd,
                 const void *early, size_t early_len)
{
        if (hub->stopping) {
                close(fd);
                return;
        }
        struct machine *machine = machine_get(hub, hostname);
        struct ws *older = machine->control;
        struct ws_options options = {.loop = hub->options.loop,
                                     .fd = fd,
                                     .side = WS_SERVER,
                                     .handler = &control_handler,
                                     .userdata = machine,
                                     .message_max = THUMBNAIL_MAX,
                                     .ping_ms = PING_MS,
                                     .set = hub->options.websockets};
        machine->control = ws_new(&options, early, early_len);
        buf_deinit(&machine->message);
        str_replace(&machine->control_link, link);
        if (older)
                ws_close(older, 4001, "{\"code\":\"replaced\"}");
        drop_spares(machine);
        if (strcmp(machine->secret_hash, secret_hash) != 0)
                machine_end_sessions(machine,
                                     HUB_END_LOST); /* what passes through the older agent ends with its secret */
        snprintf(machine->secret_hash, sizeof machine->secret_hash, "%s", secret_hash);
        machine->asked = false;
        machine->told_ms = 0;
        machine_say(machine, json_pack("{s:{s:i, s:i}}", "hello", "ping", PING_MS / 1000, "spare", 1));
        call_want_spare(machine);
        machine_note_visitors(machine);
        guard_look_again(machine);
}

/* --- thumbnails ---------------------------------------------------------------------------------------------------- */

enum hub_picture hub_look(struct hub *hub, const char *hostname, struct hub_thumbnail *ret)
{
        struct machine *machine = machine_find(hub, hostname);
        int64_t now = clock_ms();
        if (!machine || !machine->control)
                return HUB_NO_AGENT;
        machine->looked_ms = now;
        if (!machine->told_ms || now - machine->told_ms >= LOOK_SECONDS * 1000 / 2) {
                machine->told_ms = now;
                machine_say(machine, json_pack("{s:{s:i, s:i}}", "thumbnails", "seconds", THUMBNAIL_SECONDS, "for",
                                               LOOK_SECONDS));
        }
        if (machine->thumbnail.len == 0)
                return HUB_NO_PICTURE_YET;
        *ret = (struct hub_thumbnail){(const uint8_t *)machine->thumbnail.data, machine->thumbnail.len, machine->etag};
        return HUB_PICTURE;
}

/* --- the hub ------------------------------------------------------------------------------------------------------- */

/* What has come too late. One a call, because ending it changes the lists. */
static struct call *late_call(struct machine *machine, int64_t now)
{
        list_for_each (link, &machine->calls) {
                struct call *call = list_entry(link, struct call, link);
                if (now >= call->until_ms)
                        return call;
        }
        return NULL;
}

static struct session *silent_session(struct machine *machine, int64_t now)
{
        list_for_each (link, &machine->sessions) {
                struct session *session = list_entry(link, struct session, link);
                if (session->data && !session->heard && now >= session->speak_until_ms)
                        return session;
        }
        return NULL;
}

static void tick_machine(struct machine *machine, int64_t now)
{
        struct call *call;
        struct session *session;
        if (machine->thumbnail.len && now - machine->looked_ms > LOOK_SECONDS * 1000)
                buf_deinit(&machine->thumbnail); /* nobody looks: the next one to look shall see no old picture */
        if (machine->control && now >= machine->spare_again_ms)
                call_want_spare(machine);
        if ((call = late_call(machine, now))) {
                if (call->session) {
                        session_end(call->session, HUB_END_NO_ANSWER);
                        return;
                }
                machine->spare_again_ms = now + SPARE_AGAIN_MS;
                call_free(call);
        }
        if ((session = silent_session(machine, now)))
                session_end(session, HUB_END_NO_ANSWER);
        else
                machine_settle(machine);
}

static void on_tick(uv_timer_t *timer)
{
        struct hub *hub = timer->data;
        int64_t now = clock_ms();
        list_for_each (link, &hub->machines)
                tick_machine(list_entry(link, struct machine, link), now);
}

struct hub *hub_new(const struct hub_options *options)
{
        struct hub *hub = xcalloc(1, sizeof *hub);
        hub->options = *options;
        token_random(hub->name);
        list_init(&hub->machines);
        list_init(&hub->errands);
        hub->tick = xcalloc(1, sizeof *hub->tick);
        hub->tick->data = hub;
        uv_timer_init(&options->loop->uv, hub->tick);
        uv_timer_start(hub->tick, on_tick, TICK_MS, TICK_MS);
        errand_run(hub, agent_links_forget(hub->name));
        return hub;
}

void hub_link(struct hub *hub, char *out, size_t size)
{
        snprintf(out, size, "%s:%llu", hub->name, (unsigned long long)++hub->links);
}

void hub_control_lost(struct hub *hub, const char *hostname, const char *link)
{
        errand_run(hub, agent_link_clear(hostname, link));
}

void hub_stop(struct hub *hub)
{
        hub->stopping = true;
        while (!list_empty(&hub->machines)) {
                struct machine *machine = list_entry(hub->machines.next, struct machine, link);
                if (machine->control) {
                        ws_close(STEAL(machine->control), WS_CODE_GOING_AWAY, "{\"code\":\"stopping\"}");
                        control_ended(machine);
                } else if (!list_empty(&machine->sessions)) {
                        session_end(list_entry(machine->sessions.next, struct session, link), HUB_END_STOPPING);
                } else if (!list_empty(&machine->calls)) {
                        call_free(list_entry(machine->calls.next, struct call, link));
                } else {
                        machine_settle(machine);
                }
        }
}

struct hub *hub_free(struct hub *hub)
{
        if (!hub)
                return NULL;
        hub_stop(hub);
        errands_end(hub);
        uv_close((uv_handle_t *)hub->tick, loop_free_handle);
        free(hub);
        return NULL;
}
