/* Looks while somebody looks: connects, asks for changes at the given pace, lets everything go when the time is over. */
#include "desktop/thumbnail.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "desktop/jpeg.h"
#include "desktop/screen.h"
#include "http/websocket.h"

#define PICTURE_MAX 32768
#define LOOK_MAX 300

struct thumbnailer {
        struct loop *loop;
        const char *desktop;
        void (*picture)(void *userdata, const uint8_t *data, size_t len);
        void *userdata;
        struct ws *ws;
        struct screen screen;
        uv_timer_t *timer;
        int64_t until_ms, every_ms;
        bool fresh; /* nothing was sent yet: the first pixels go at once */
};

static void say(struct thumbnailer *t, struct buf *out)
{
        if (t->ws && out->len)
                ws_send(t->ws, WS_BINARY, out->data, out->len);
}

static void disconnect(struct thumbnailer *t)
{
        if (t->ws)
                ws_drop(STEAL(t->ws));
        screen_deinit(&t->screen);
}

static void send_picture(struct thumbnailer *t)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        t->screen.changed = false;
        if (jpeg_thumbnail(t->screen.data, t->screen.screen_width, t->screen.screen_height, THUMBNAIL_WIDTH, &out) ==
                    0 &&
            out.len <= PICTURE_MAX)
                t->picture(t->userdata, (const uint8_t *)out.data, out.len);
}

/* The first update may hold nothing but a size: a picture is made of pixels only. */
static void on_data(struct ws *ws, const uint8_t *data, size_t len, bool text _unused_, bool end _unused_)
{
        struct thumbnailer *t = ws_userdata(ws);
        _cleanup_buf_ struct buf out = BUF_NULL;
        if (!screen_feed(&t->screen, data, len, &out)) {
                disconnect(t);
                return;
        }
        if (t->screen.data && !t->screen.asked)
                screen_ask(&t->screen, &out);
        say(t, &out);
        if (t->fresh && t->screen.complete && t->screen.rects == 0) {
                t->fresh = false;
                send_picture(t);
        }
}

static void on_closed(struct ws *ws, unsigned code _unused_, const char *reason _unused_)
{
        struct thumbnailer *t = ws_userdata(ws);
        t->ws = NULL;
        screen_deinit(&t->screen);
}

static const struct ws_handler handler = {.data = on_data, .closed = on_closed};

static void connect_desktop(struct thumbnailer *t)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        if (snprintf(address.sun_path, sizeof address.sun_path, "%s", t->desktop) >= (int)sizeof address.sun_path)
                return;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return;
        if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
                close(fd);
                return;
        }
        struct ws_options options = {.loop = t->loop, .fd = fd, .side = WS_RAW, .handler = &handler, .userdata = t};
        t->fresh = true;
        t->ws = ws_new(&options, NULL, 0);
}

static void on_timer(uv_timer_t *timer)
{
        struct thumbnailer *t = timer->data;
        _cleanup_buf_ struct buf out = BUF_NULL;
        if (clock_ms() >= t->until_ms) {
                uv_timer_stop(timer);
                disconnect(t);
                return;
        }
        if (!t->ws) {
                connect_desktop(t);
                return;
        }
        if (t->screen.changed && t->screen.rects == 0 && !t->screen.pixels)
                send_picture(t);
        screen_ask(&t->screen, &out);
        say(t, &out);
}

void thumbnailer_look(struct thumbnailer *t, int64_t seconds, int64_t look_for)
{
        bool looked = clock_ms() < t->until_ms;
        t->every_ms = MIN(MAX(seconds, (int64_t)1), (int64_t)60) * 1000;
        t->until_ms = clock_ms() + MIN(MAX(look_for, (int64_t)0), (int64_t)LOOK_MAX) * 1000;
        if (!looked && t->desktop)
                uv_timer_start(t->timer, on_timer, 0, (uint64_t)t->every_ms);
}

struct thumbnailer *thumbnailer_new(struct loop *loop, const char *desktop,
                                    void (*picture)(void *userdata, const uint8_t *data, size_t len), void *userdata)
{
        struct thumbnailer *t = xcalloc(1, sizeof *t);
        *t = (struct thumbnailer){.loop = loop, .desktop = desktop, .picture = picture, .userdata = userdata};
        t->timer = xcalloc(1, sizeof *t->timer);
        t->timer->data = t;
        uv_timer_init(&loop->uv, t->timer);
        return t;
}

struct thumbnailer *thumbnailer_free(struct thumbnailer *t)
{
        if (!t)
                return NULL;
        disconnect(t);
        uv_close((uv_handle_t *)t->timer, loop_free_handle);
        free(t);
        return NULL;
}
