/* The agent's own viewer: a whole session byte by byte, changes of size, and servers that lie; and the small picture. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "desktop/jpeg.h"
#include "desktop/screen.h"

#define HELLO \
        "RFB 003.008\n" \
        "\2\5\1" \
        "\0\0\0\0"
#define INIT(w, h) \
        "\0" w "\0" h "0123456789abcdef" \
        "\0\0\0\4name"

static bool feed(struct screen *screen, const char *data, size_t len, size_t step, struct buf *out)
{
        for (size_t at = 0; at < len; at += step)
                if (!screen_feed(screen, (const uint8_t *)data + at, MIN(step, len - at), out))
                        return false;
        return true;
}

static const char session[] = HELLO INIT("\2", "\2") "\2"                  /* a bell */
                                                     "\3\0\0\0\0\0\0\3abc" /* a clipboard */
                                                     "\1\0\0\0\0\1rrggbb"  /* colours */
                                                     "\0\0\0\2"
                                                     "\0\0\0\0\0\2\0\1\0\0\0\0"
                                                     "aaaabbbb"
                                                     "\0\0\0\1\0\2\0\1\0\0\0\0"
                                                     "ccccdddd";

static void a_session(void **state _unused_)
{
        for (size_t step = 1; step < sizeof session; step = step < 8 ? step + 1 : step * 2) {
                struct screen screen = {0};
                _cleanup_buf_ struct buf out = BUF_NULL;
                assert_true(feed(&screen, session, sizeof session - 1, step, &out));
                assert_true(screen.complete && screen.changed);
                assert_int_equal(screen.screen_width * 10 + screen.screen_height, 22);
                assert_memory_equal(screen.data, "aaaabbbbccccdddd", 16);
                assert_memory_equal(out.data, "RFB 003.008\n\1\1\0", 15);
                assert_int_equal(out.len, 12 + 1 + 1 + 20 + 12);
                buf_truncate(&out, 0);
                screen_ask(&screen, &out);
                assert_memory_equal(out.data, "\3\0\0\0\0\0\0\2\0\2", 10);
                screen_ask(&screen, &out); /* an answer is owed */
                assert_int_equal(out.len, 10);
                screen_deinit(&screen);
        }
}

/* The first update may hold nothing but a size: that is no picture. */
static void a_change_of_size(void **state _unused_)
{
        struct screen screen = {0};
        _cleanup_buf_ struct buf out = BUF_NULL;
        assert_true(feed(&screen, session, sizeof session - 1, 1000, &out));
        assert_true(feed(&screen, "\0\0\0\1\0\0\0\0\0\3\0\1\xff\xff\xff\x21", 16, 1, &out));
        assert_false(screen.complete || screen.asked);
        assert_int_equal(screen.screen_width * 10 + screen.screen_height, 31);
        assert_true(feed(&screen, "\0\0\0\1\0\0\0\0\0\3\0\1\0\0\0\0xxxxyyyyzzzz", 28, 5, &out));
        assert_true(screen.complete);
        assert_memory_equal(screen.data, "xxxxyyyyzzzz", 12);
        screen_deinit(&screen);
}

static void refuses(const char *data, size_t len)
{
        struct screen screen = {0};
        struct buf out = BUF_NULL;
        assert_false(feed(&screen, data, len, 3, &out));
        screen_deinit(&screen);
        buf_deinit(&out);
}

static void servers_that_lie(void **state _unused_)
{
#define lie(bytes) refuses(bytes, sizeof(bytes) - 1)
        lie("HTTP/1.1 400");
        lie("RFB 003.008\n\0");           /* no security type at all */
        lie("RFB 003.008\n\1\2");         /* a password is wanted */
        lie("RFB 003.008\n\1\1\0\0\0\1"); /* refused */
        lie(HELLO INIT("\0", "\0"));      /* no size */
        lie(HELLO "\xff\xff\xff\xff"
                  "0123456789abcdef"
                  "\0\0\0\0"); /* too large */
        lie(HELLO "\0\2\0\2"
                  "0123456789abcdef"
                  "\x7f\xff\xff\xff");                                  /* a name of 2 GB */
        lie(HELLO INIT("\2", "\2") "\4");                               /* no such message */
        lie(HELLO INIT("\2", "\2") "\3\0\0\0\x7f\xff\xff\xff");         /* a clipboard of 2 GB */
        lie(HELLO INIT("\2", "\2") "\0\0\0\1\0\1\0\0\0\2\0\2\0\0\0\0"); /* outside of the screen */
        lie(HELLO INIT("\2", "\2") "\0\0\0\1\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0");
        lie(HELLO INIT("\2", "\2") "\0\0\0\1\0\0\0\0\0\2\0\2\0\0\0\7"); /* an encoding that was not asked for */
}

static void the_small_picture(void **state _unused_)
{
        enum { WIDTH = 1280, HEIGHT = 720 };
        _cleanup_free_ uint8_t *pixels = xcalloc((size_t)WIDTH * HEIGHT, 4);
        _cleanup_buf_ struct buf out = BUF_NULL, noise = BUF_NULL, tiny = BUF_NULL;
        assert_int_equal(jpeg_thumbnail(pixels, WIDTH, HEIGHT, 320, &out), 0);
        assert_in_range(out.len, 100, 32768);
        assert_memory_equal(out.data, "\xff\xd8\xff", 3);
        for (size_t i = 0, x = 1; i < (size_t)WIDTH * HEIGHT * 4; i++, x = x * 1103515245 + 12345)
                pixels[i] = (uint8_t)(x >> 24);
        assert_int_equal(jpeg_thumbnail(pixels, WIDTH, HEIGHT, 320, &noise), 0);
        assert_in_range(noise.len, 100, 32768);
        assert_int_equal(jpeg_thumbnail(pixels, 1, 1, 320, &tiny), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_session),
                cmocka_unit_test(a_change_of_size),
                cmocka_unit_test(servers_that_lie),
                cmocka_unit_test(the_small_picture),
        };
        return cmocka_run_group_tests_name("screen", tests, NULL, NULL);
}
