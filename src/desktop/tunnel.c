/*
 * Connects, reads what the allocator asks, connects again. The first try after a loss comes within a second, so that a
 * restart of the allocator is hardly seen; then the tries spread, so that a thousand VMs do not come back in one instant.
 */
#include "desktop/tunnel.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "desktop/channel.h"
#include "desktop/thumbnail.h"

#define MESSAGE_MAX 4096
#define PING_MS 25000
#define FIRST_MS 1000
#define MOST_MS 10000
#define UNKNOWN_MS 60000 /* after 401: somebody must do something first */

struct tunnel {
        struct tunnel_options options;
        struct dial_target target;
        struct channels channels;
        struct thumbnailer *thumbnailer;
        struct dial *dial;
        struct ws *control;
        struct ws_set set;
        struct buf message;
        uv_timer_t *timer;
        unsigned tries;
};

static void try_later(struct tunnel *t, unsigned status);

/* --- what the allocator asks --------------------------------------------------------------------------------------- */

static void refuse(void *userdata, const char *id, const char *why)
{
        struct tunnel *t = userdata;
        _cleanup_json_ json_t *message = json_pack("{s:{s:s, s:s}}", "refuse", "id", id, "why", why);
        _cleanup_free_ char *text = json_text(message);
        if (t->control)
                ws_send(t->control, WS_TEXT, text, strlen(text));
}

static void send_picture(void *userdata, const uint8_t *data, size_t len)
{
        struct tunnel *t = userdata;
        if (t->control && ws_idle(t->control))
                ws_send(t->control, WS_BINARY, data, len);
}

static void take_message(struct tunnel *t)
{
        _cleanup_json_ json_t *message = json_read_max(buf_str(&t->message), t->message.len, 64, NULL);
        const json_t *open = json_object_get(message, "open"), *spare = json_object_get(message, "spare");
        const json_t *thumbnails = json_object_get(message, "thumbnails");
        const char *id = json_get_string(json_is_object(open) ? open : spare, "id");
        if (json_is_object(open) && id)
                channel_open(&t->channels, id, json_get_string(open, "target"));
        else if (json_is_object(spare) && id)
                channel_spare(&t->channels, id);
        if (json_is_object(thumbnails))
                thumbnailer_look(t->thumbnailer, json_integer_value(json_object_get(thumbnails, "seconds")),
                                 json_integer_value(json_object_get(thumbnails, "for")));
}

static void control_data(struct ws *ws, const uint8_t *data, size_t len, bool text, bool end)
{
        struct tunnel *t = ws_userdata(ws);
        if (text)
                buf_add(&t->message, data, len);
        if (!end)
                return;
        if (text)
                take_message(t);
        buf_deinit(&t->message);
}

static void control_closed(struct ws *ws, unsigned code, const char *reason _unused_)
{
        struct tunnel *t = ws_userdata(ws);
        char text[64];
        t->control = NULL;
        snprintf(text, sizeof text, "the connection ended (%u)", code);
        t->options.news(t->options.userdata, false, text);
        buf_deinit(&t->message);
        try_later(t, 0);
}

static const struct ws_handler control_handler = {.data = control_data, .closed = control_closed};

/* --- connecting ---------------------------------------------------------------------------------------------------- */

static void dialled(void *userdata, const struct dial_result *result)
{
        struct tunnel *t = userdata;
        t->dial = NULL;
        t->control = result->ws;
        t->options.news(t->options.userdata, t->control != NULL, result->why);
        if (t->control)
                t->tries = 0;
        else
                try_later(t, result->status);
}

static void on_timer(uv_timer_t *timer)
{
        struct tunnel *t = timer->data;
        struct ws_options options = {.handler = &control_handler,
                                     .userdata = t,
                                     .message_max = MESSAGE_MAX,
                                     .ping_ms = PING_MS,
                                     .set = &t->set};
        t->dial = dial_start(t->options.loop, &t->target, "/api/agent/tunnel", &options, dialled, t);
}

/* Full jitter: anything up to a limit that doubles. */
static void try_later(struct tunnel *t, unsigned status)
{
        unsigned most = MIN((unsigned)FIRST_MS << MIN(t->tries, 6u), (unsigned)MOST_MS);
        uint64_t wait = randombytes_uniform(most);
        t->tries++;
        if (status == 401)
                wait = UNKNOWN_MS - randombytes_uniform(UNKNOWN_MS / 4);
        uv_timer_start(t->timer, on_timer, wait, 0);
}

struct tunnel *tunnel_new(const struct tunnel_options *options)
{
        struct tunnel *t = xcalloc(1, sizeof *t);
        t->options = *options;
        t->target = (struct dial_target){.url = options->url,
                                         .socket = options->socket,
                                         .ca_file = options->ca_file,
                                         .hostname = options->hostname,
                                         .token = options->token,
                                         .boot = options->boot};
        t->channels = (struct channels){.loop = options->loop,
                                        .allocator = &t->target,
                                        .set = &t->set,
                                        .desktop = options->desktop,
                                        .refuse = refuse,
                                        .userdata = t};
        list_init(&t->channels.open);
        t->thumbnailer = thumbnailer_new(options->loop, options->desktop, send_picture, t);
        t->timer = xcalloc(1, sizeof *t->timer);
        t->timer->data = t;
        uv_timer_init(&options->loop->uv, t->timer);
        uv_timer_start(t->timer, on_timer, 0, 0);
        return t;
}

struct tunnel *tunnel_free(struct tunnel *t)
{
        if (!t)
                return NULL;
        if (t->dial)
                dial_drop(t->dial);
        channels_end(&t->channels);
        thumbnailer_free(t->thumbnailer);
        if (t->control)
                ws_close(t->control, WS_CODE_GOING_AWAY, NULL);
        ws_set_drop(&t->set); /* nobody waits for the other side's last word */
        uv_close((uv_handle_t *)t->timer, loop_free_handle);
        buf_deinit(&t->message);
        free(t);
        return NULL;
}
