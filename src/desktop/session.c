/*
 * A browser's socket and, once it has come, the data connection to the desktop. One rule moves the bytes: a side is read
 * only while the other side's queue is empty, so at most one buffer waits for whoever is slow.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "desktop/machine.h"

static const struct {
        unsigned code;
        const char *reason;
} ends[N_HUB_ENDS] = {
        [HUB_END_STOPPING] = {1001, "{\"code\":\"stopping\",\"retry\":500}"},
        [HUB_END_INTERNAL] = {1011, "{\"code\":\"internal\",\"retry\":2000}"},
        [HUB_END_PROTOCOL] = {1003, "{\"code\":\"protocol\"}"},
        [HUB_END_CLOSED] = {1000, "{\"code\":\"ended\",\"retry\":500}"},
        [HUB_END_NO_DESKTOP] = {1013, "{\"code\":\"no-desktop\",\"retry\":1000}"},
        [HUB_END_NO_ANSWER] = {1013, "{\"code\":\"no-answer\",\"retry\":1000}"},
        [HUB_END_ELSEWHERE] = {4001, "{\"code\":\"elsewhere\"}"},
        [HUB_END_SEAT] = {4003, "{\"code\":\"seat-ended\"}"},
        [HUB_END_NO_SEAT] = {4004, "{\"code\":\"no-seat\"}"},
        [HUB_END_FORBIDDEN] = {4005, "{\"code\":\"forbidden\"}"},
        [HUB_END_TOO_MANY] = {4008, "{\"code\":\"too-many\"}"},
        [HUB_END_NO_TUNNEL] = {4010, "{\"code\":\"no-tunnel\",\"retry\":1000}"},
        [HUB_END_LOST] = {4011, "{\"code\":\"lost\",\"retry\":500}"},
        [HUB_END_OTHER_ALLOCATOR] = {4012, "{\"code\":\"other-allocator\"}"},
};

/* --- the end ------------------------------------------------------------------------------------------------------- */

void session_end(struct session *s, enum hub_end end)
{
        struct machine *machine = s->machine;
        if (s->browser)
                ws_close(STEAL(s->browser), ends[end].code, ends[end].reason);
        if (s->data)
                ws_close(STEAL(s->data), WS_CODE_NORMAL, NULL);
        if (s->call)
                call_free(s->call);
        list_remove(&s->link);
        if (machine && s->visit.role != HUB_PARTICIPANT)
                machine_note_visitors(machine);
        buf_deinit(&s->filtered);
        free(s);
        if (machine)
                machine_settle(machine);
}

/* --- bytes --------------------------------------------------------------------------------------------------------- */

static void to_desktop(struct session *s, const void *data, size_t len)
{
        if (len == 0)
                return;
        ws_send(s->data, WS_BINARY, data, len);
        if (!ws_idle(s->data))
                ws_pause(s->browser, true);
}

static void browser_data(struct ws *ws, const uint8_t *data, size_t len, bool text, bool end _unused_)
{
        struct session *s = ws_userdata(ws);
        if (text || !s->data) {
                session_end(s, HUB_END_PROTOCOL);
                return;
        }
        if (s->visit.role != HUB_WATCHER) {
                to_desktop(s, data, len);
                return;
        }
        if (!rfb_filter_client(&s->filter, data, len, &s->filtered)) {
                session_end(s, HUB_END_PROTOCOL);
                return;
        }
        to_desktop(s, s->filtered.data, s->filtered.len);
        buf_deinit(&s->filtered);
}

static void browser_idle(struct ws *ws)
{
        struct session *s = ws_userdata(ws);
        if (s->data)
                ws_pause(s->data, false);
}

static void browser_closed(struct ws *ws, unsigned code, const char *reason _unused_)
{
        struct session *s = ws_userdata(ws);
        log_debug("%s: a browser left (%u)", s->visit.hostname, code);
        s->browser = NULL;
        session_end(s, HUB_END_NONE);
}

static const struct ws_handler browser_handler = {.data = browser_data, .idle = browser_idle, .closed = browser_closed};

static void desktop_data(struct ws *ws, const uint8_t *data, size_t len, bool text, bool end _unused_)
{
        struct session *s = ws_userdata(ws);
        if (text) {
                session_end(s, HUB_END_LOST);
                return;
        }
        s->heard |= len > 0;
        if (len == 0)
                return;
        ws_send(s->browser, WS_BINARY, data, len);
        if (!ws_idle(s->browser))
                ws_pause(ws, true);
}

static void desktop_idle(struct ws *ws)
{
        struct session *s = ws_userdata(ws);
        ws_pause(s->browser, false);
}

static void desktop_closed(struct ws *ws, unsigned code, const char *reason _unused_)
{
        struct session *s = ws_userdata(ws);
        s->data = NULL;
        log_debug("%s: a data connection ended (%u)", s->visit.hostname, code);
        session_end(s, code == WS_CODE_TRY_AGAIN ? HUB_END_NO_DESKTOP
                       : code == WS_CODE_NORMAL  ? HUB_END_CLOSED
                                                 : HUB_END_LOST);
}

static const struct ws_handler desktop_handler = {.data = desktop_data, .idle = desktop_idle, .closed = desktop_closed};

void session_join(struct session *s, struct ws *data)
{
        s->data = data;
        s->speak_until_ms = clock_ms() + SPEAK_MS;
        ws_handle(data, &desktop_handler, s);
        ws_pause(data, false);
        ws_pause(s->browser, false);
}

/* --- the beginning ------------------------------------------------------------------------------------------------- */

static unsigned count(const struct machine *machine, bool participants)
{
        unsigned n = 0;
        list_for_each (link, &machine->sessions)
                n += (list_entry(link, struct session, link)->visit.role == HUB_PARTICIPANT) == participants;
        return n;
}

static enum hub_end admit(const struct hub *hub, const struct hub_visit *visit, const struct machine *machine)
{
        bool participant = visit->role == HUB_PARTICIPANT;
        if (hub->stopping)
                return HUB_END_STOPPING;
        if (visit->refused != HUB_END_NONE)
                return visit->refused;
        if (!machine || !machine->control)
                return visit->other_allocator ? HUB_END_OTHER_ALLOCATOR : HUB_END_NO_TUNNEL;
        if (count(machine, participant) >= (participant ? VIEWERS_MAX : VISITORS_MAX) ||
            machine_data_count(machine) >= DATA_MAX)
                return HUB_END_TOO_MANY;
        return HUB_END_NONE;
}

void hub_browser(struct hub *hub, const struct hub_visit *visit, int fd, const void *early, size_t early_len)
{
        struct machine *machine = machine_find(hub, visit->hostname);
        struct session *s = xcalloc(1, sizeof *s);
        struct ws_options options = {.loop = hub->options.loop,
                                     .fd = fd,
                                     .side = WS_SERVER,
                                     .handler = &browser_handler,
                                     .userdata = s,
                                     .ping_ms = PING_MS,
                                     .set = hub->options.websockets};
        s->visit = *visit;
        s->browser = ws_new(&options, early, early_len);
        enum hub_end end = admit(hub, visit, machine);
        if (end != HUB_END_NONE) {
                session_end(s, end);
                return;
        }
        ws_pause(s->browser, true); /* the desktop speaks first */
        s->machine = machine;
        list_append(&machine->sessions, &s->link);
        struct ws *spare = call_take_spare(machine);
        if (spare)
                session_join(s, spare);
        else
                s->call = call_new(machine, s);
        if (visit->role != HUB_PARTICIPANT)
                machine_note_visitors(machine);
        guard_look_again(machine);
}

unsigned hub_count(struct hub *hub, const char *hostname, enum hub_role role)
{
        struct machine *machine = machine_find(hub, hostname);
        unsigned n = 0;
        if (machine)
                list_for_each (link, &machine->sessions)
                        n += list_entry(link, struct session, link)->visit.role == role;
        return n;
}

void hub_audit(struct hub *hub, const char *who, const char *action, const char *hostname)
{
        errand_run(hub, desktop_audit(who, action, hostname));
}

void hub_seat_ended(struct hub *hub, const char *hostname)
{
        struct machine *machine = machine_find(hub, hostname);
        if (machine)
                machine_end_sessions(machine, HUB_END_SEAT);
}
