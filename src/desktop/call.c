/* Data connections that the agent was asked to dial: for a session, or to wait as a spare. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/token.h"
#include "desktop/machine.h"

struct call *call_new(struct machine *machine, struct session *session)
{
        struct call *call = xcalloc(1, sizeof *call);
        call->machine = machine;
        call->session = session;
        call->until_ms = clock_ms() + ARRIVAL_MS;
        token_random(call->id);
        list_append(&machine->calls, &call->link);
        if (session)
                machine_say(machine, json_pack("{s:{s:s, s:s}}", "open", "id", call->id, "target", "desktop"));
        else
                machine_say(machine, json_pack("{s:{s:s}}", "spare", "id", call->id));
        return call;
}

struct call *call_find(struct machine *machine, const char *id)
{
        list_for_each (link, &machine->calls) {
                struct call *call = list_entry(link, struct call, link);
                if (token_equal(call->id, id))
                        return call;
        }
        return NULL;
}

void call_free(struct call *call)
{
        list_remove(&call->link);
        if (call->session)
                call->session->call = NULL;
        if (call->ws)
                ws_close(call->ws, WS_CODE_NORMAL, NULL);
        free(call);
}

/* --- spares -------------------------------------------------------------------------------------------------------- */

static void spare_lost(struct call *call)
{
        struct machine *machine = call->machine;
        machine->spare_again_ms = clock_ms() + SPARE_AGAIN_MS;
        call_free(call);
        machine_settle(machine);
}

static void spare_data(struct ws *ws, const uint8_t *data _unused_, size_t len _unused_, bool text _unused_,
                       bool end _unused_)
{
        spare_lost(ws_userdata(ws)); /* nobody has asked it anything */
}

static void spare_closed(struct ws *ws, unsigned code _unused_, const char *reason _unused_)
{
        struct call *call = ws_userdata(ws);
        call->ws = NULL;
        spare_lost(call);
}

static const struct ws_handler spare_handler = {.data = spare_data, .closed = spare_closed};

void call_want_spare(struct machine *machine)
{
        list_for_each (link, &machine->calls)
                if (!list_entry(link, struct call, link)->session)
                        return;
        if (machine->control && machine_data_count(machine) < DATA_MAX)
                call_new(machine, NULL);
}

struct ws *call_take_spare(struct machine *machine)
{
        static const char start[] = "{\"start\":{\"target\":\"desktop\"}}";
        list_for_each (link, &machine->calls) {
                struct call *call = list_entry(link, struct call, link);
                if (!call->ws)
                        continue;
                struct ws *ws = STEAL(call->ws);
                call_free(call);
                ws_send(ws, WS_TEXT, start, sizeof start - 1);
                call_want_spare(machine);
                return ws;
        }
        return NULL;
}

/* --- arrivals ------------------------------------------------------------------------------------------------------ */

bool hub_expects(struct hub *hub, const char *hostname, const char *id)
{
        struct machine *machine = machine_find(hub, hostname);
        struct call *call = machine ? call_find(machine, id) : NULL;
        if (!call || call->arriving || hub->stopping)
                return false;
        call->arriving = true;
        call->until_ms = clock_ms() + ARRIVAL_MS;
        return true;
}

void hub_data(struct hub *hub, const char *hostname, const char *id, int fd, const void *early, size_t early_len)
{
        struct machine *machine = machine_find(hub, hostname);
        struct call *call = machine ? call_find(machine, id) : NULL;
        struct ws_options options = {.loop = hub->options.loop,
                                     .fd = fd,
                                     .side = WS_SERVER,
                                     .handler = &spare_handler,
                                     .userdata = call,
                                     .ping_ms = PING_MS,
                                     .set = hub->options.websockets};
        if (!call || call->ws) {
                close(fd); /* who asked for it has left meanwhile */
                return;
        }
        struct ws *ws = ws_new(&options, early, early_len);
        if (!call->session) {
                call->ws = ws;
                call->until_ms = INT64_MAX;
                return;
        }
        struct session *session = call->session;
        call_free(call);
        session_join(session, ws);
}

static void end_call(struct call *call, enum hub_end end)
{
        if (call->session)
                session_end(call->session, end);
        else
                spare_lost(call);
}

void hub_data_lost(struct hub *hub, const char *hostname, const char *id)
{
        struct machine *machine = machine_find(hub, hostname);
        struct call *call = machine ? call_find(machine, id) : NULL;
        if (call && !call->ws)
                end_call(call, HUB_END_NO_ANSWER);
}
