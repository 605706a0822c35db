/* Reaches the target first and dials then: what cannot be reached costs no connection. A spare does it the other way. */
#include "desktop/channel.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

#define CHANNELS_MAX 20
#define REACH_AGAIN_MS 20 /* a full backlog gives EAGAIN, not EINPROGRESS */
#define REACH_MS 3000
#define START_MAX 512
#define PING_MS 25000

struct channel {
        struct list link;
        struct channels *all;
        char *id;
        struct ws *data, *local;
        struct dial *dial;
        struct buf start; /* a spare's first message, as far as it has come */
        uv_timer_t *timer;
        int64_t reach_until_ms;
        bool spare;
};

static void end(struct channel *c, unsigned code, const char *reason)
{
        if (c->dial)
                dial_drop(c->dial);
        if (c->data)
                ws_close(c->data, code, reason);
        if (c->local)
                ws_close(c->local, code, NULL);
        uv_close((uv_handle_t *)c->timer, loop_free_handle);
        list_remove(&c->link);
        c->all->n--;
        buf_deinit(&c->start);
        free(c->id);
        free(c);
}

/* --- bytes: a side is read only while the other side's queue is empty ---------------------------------------------- */

static void local_data(struct ws *ws, const uint8_t *data, size_t len, bool text _unused_, bool last _unused_)
{
        struct channel *c = ws_userdata(ws);
        ws_send(c->data, WS_BINARY, data, len);
        if (!ws_idle(c->data))
                ws_pause(ws, true);
}

static void local_idle(struct ws *ws)
{
        ws_pause(((struct channel *)ws_userdata(ws))->data, false);
}

static void local_closed(struct ws *ws, unsigned code _unused_, const char *reason _unused_)
{
        struct channel *c = ws_userdata(ws);
        c->local = NULL;
        end(c, WS_CODE_NORMAL, NULL);
}

static const struct ws_handler local_handler = {.data = local_data, .idle = local_idle, .closed = local_closed};

static void data_data(struct ws *ws, const uint8_t *data, size_t len, bool text, bool last _unused_)
{
        struct channel *c = ws_userdata(ws);
        if (text) {
                end(c, WS_CODE_UNSUPPORTED, NULL);
                return;
        }
        ws_send(c->local, WS_BINARY, data, len);
        if (!ws_idle(c->local))
                ws_pause(ws, true);
}

static void data_idle(struct ws *ws)
{
        struct channel *c = ws_userdata(ws);
        if (c->local)
                ws_pause(c->local, false);
}

static void data_closed(struct ws *ws, unsigned code, const char *reason _unused_)
{
        struct channel *c = ws_userdata(ws);
        c->data = NULL;
        end(c, code, NULL);
}

static const struct ws_handler data_handler = {.data = data_data, .idle = data_idle, .closed = data_closed};

/* Both ends are there. */
static void join(struct channel *c)
{
        ws_handle(c->data, &data_handler, c);
        ws_pause(c->data, false);
        ws_pause(c->local, false);
}

/* --- the target ---------------------------------------------------------------------------------------------------- */

static int connect_unix(const char *path)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        if (snprintf(address.sun_path, sizeof address.sun_path, "%s", path) >= (int)sizeof address.sun_path)
                return -ENAMETOOLONG;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
                return fd;
        int r = -errno;
        close(fd);
        return r;
}

static void dialled(void *userdata, const struct dial_result *result);

static void call_allocator(struct channel *c)
{
        _cleanup_free_ char *path = xasprintf("/api/agent/data/%s", c->id);
        struct ws_options options = {.handler = &data_handler, .userdata = c, .ping_ms = PING_MS, .set = c->all->set};
        c->dial = dial_start(c->all->loop, c->all->allocator, path, &options, dialled, c);
}

static void cannot_reach(struct channel *c, const char *why)
{
        log_debug("the target of a session cannot be reached: %s", why);
        if (!c->data)
                c->all->refuse(c->all->userdata, c->id, why);
        end(c, WS_CODE_TRY_AGAIN, "the target cannot be reached");
}

static void reach(struct channel *c);

static void on_again(uv_timer_t *timer)
{
        reach(timer->data);
}

static void reach(struct channel *c)
{
        int fd = c->all->desktop ? connect_unix(c->all->desktop) : -ENOENT;
        if (fd == -EAGAIN && clock_ms() < c->reach_until_ms) {
                uv_timer_start(c->timer, on_again, REACH_AGAIN_MS, 0);
                return;
        }
        if (fd < 0) {
                cannot_reach(c, strerror(-fd));
                return;
        }
        struct ws_options options = {.loop = c->all->loop,
                                     .fd = fd,
                                     .side = WS_RAW,
                                     .handler = &local_handler,
                                     .userdata = c,
                                     .set = c->all->set};
        c->local = ws_new(&options, NULL, 0);
        ws_pause(c->local, true);
        if (c->data)
                join(c);
        else
                call_allocator(c);
}

static void find_target(struct channel *c, const char *target)
{
        c->reach_until_ms = clock_ms() + REACH_MS;
        if (target && strcmp(target, "desktop") == 0)
                reach(c);
        else
                cannot_reach(c, "no such target");
}

/* --- spares -------------------------------------------------------------------------------------------------------- */

static void spare_data(struct ws *ws, const uint8_t *data, size_t len, bool text, bool last)
{
        struct channel *c = ws_userdata(ws);
        if (!text || c->start.len + len > START_MAX) {
                end(c, WS_CODE_POLICY, NULL);
                return;
        }
        buf_add(&c->start, data, len);
        if (!last)
                return;
        _cleanup_json_ json_t *message = json_read_max(buf_str(&c->start), c->start.len, 16, NULL);
        _cleanup_free_ char *target = xstrdup(json_get_string(json_object_get(message, "start"), "target"));
        ws_pause(ws, true);
        ws_handle(ws, &data_handler, c);
        find_target(c, target);
}

static const struct ws_handler spare_handler = {.data = spare_data, .closed = data_closed};

static void dialled(void *userdata, const struct dial_result *result)
{
        struct channel *c = userdata;
        c->dial = NULL;
        c->data = result->ws;
        if (!c->data) {
                log_debug("a data connection: %s", result->why);
                if (!c->spare)
                        c->all->refuse(c->all->userdata, c->id, result->why); /* somebody waits for it */
                end(c, WS_CODE_NORMAL, NULL);
        } else if (c->spare) {
                ws_handle(c->data, &spare_handler, c);
        } else {
                join(c);
        }
}

/* --- the beginning and the end ------------------------------------------------------------------------------------- */

static struct channel *channel_new(struct channels *all, const char *id)
{
        if (all->n >= CHANNELS_MAX || strlen(id) > 64 ||
            strspn(id, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_") != strlen(id))
                return NULL;
        struct channel *c = xcalloc(1, sizeof *c);
        c->all = all;
        c->id = xstrdup(id);
        c->timer = xcalloc(1, sizeof *c->timer);
        c->timer->data = c;
        uv_timer_init(&all->loop->uv, c->timer);
        list_append(&all->open, &c->link);
        all->n++;
        return c;
}

void channel_open(struct channels *all, const char *id, const char *target)
{
        struct channel *c = channel_new(all, id);
        if (c)
                find_target(c, target);
}

void channel_spare(struct channels *all, const char *id)
{
        struct channel *c = channel_new(all, id);
        if (!c)
                return;
        c->spare = true;
        call_allocator(c);
}

void channels_end(struct channels *all)
{
        while (!list_empty(&all->open))
                end(list_entry(all->open.next, struct channel, link), WS_CODE_GOING_AWAY, NULL);
}
