/* Server-sent events, however their bytes arrive (WHATWG HTML 9.2.6). */
#include "cli/sse.h"

#include "unit.h"

static void take(void *userdata, const char *event, const char *id, const char *data)
{
        buf_addf(userdata, "%s|%s|%s;", event, id, data);
}

/* Fed in pieces of `step` bytes. Owned by the caller. */
static char *events(const char *stream, size_t step)
{
        struct buf out = BUF_NULL;
        struct sse sse = {.take = take, .userdata = &out};
        size_t len = strlen(stream);
        for (size_t at = 0; at < len; at += step)
                assert_int_equal(sse_feed(&sse, stream + at, MIN(step, len - at), NULL), 0);
        sse_deinit(&sse);
        return buf_steal(&out);
}

static const struct {
        const char *stream, *expected;
} cases[] = {
        {"data: a\n\n", "message||a;"},
        {"event: line\nid: 7\ndata: text\n\n", "line|7|text;"},
        {"data:a\ndata: b\ndata\n\n", "message||a\nb\n;"},
        {"data:  two blanks\n\n", "message|| two blanks;"},
        {": comment\n\ndata: a\n\n", "message||a;"},
        {"retry: 2000\n\n", ""},
        {"event: end\ndata:\n\n", "end||;"},
        {"event: lost\n\ndata: a\n\n", "message||a;"},
        {"id: 1\ndata: a\n\ndata: b\n\n", "message|1|a;message|1|b;"},
        {"data: a\r\n\r\ndata: b\r\rdata: c\n\r\n", "message||a;message||b;message||c;"},
        {"data: never ended", ""},
        {"data: a\n", ""},
        {"dat: a\nunknown: b\ndata: c\n\n", "message||c;"},
        {"event: a name that is longer than anything we know\ndata: a\n\n", "a name that is longer than anyt||a;"},
};

static void takes_any_pieces(void **state _unused_)
{
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                for (size_t step = 1; step <= 64; step += step < 8 ? 1 : 56) {
                        _cleanup_free_ char *said = events(cases[i].stream, step);
                        assert_string_equal(said, cases[i].expected);
                }
}

static void an_event_has_a_limit(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL, line = BUF_NULL;
        _cleanup_error_ struct error error = ERROR_NULL;
        struct sse sse = {.take = take, .userdata = &out};
        for (int i = 0; i < 1000; i++)
                buf_addc(&line, 'x');
        int r = 0;
        for (int i = 0; r == 0 && i < 2000; i++)
                r = sse_feed(&sse, line.data, line.len, &error);
        assert_int_equal(r, -EFBIG);
        assert_contains(error_text(&error), "larger than");
        sse_deinit(&sse);
        sse = (struct sse){.take = take, .userdata = &out};
        for (r = 0; r == 0;) /* many short lines are no way around it */
                r = sse_feed(&sse, "data: 0123456789\n", 17, &error);
        assert_int_equal(r, -EFBIG);
        sse_deinit(&sse);
}

static void nul_does_not_shorten_a_line(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        struct sse sse = {.take = take, .userdata = &out};
        assert_int_equal(sse_feed(&sse, "data: a\0b\n\n", 11, NULL), 0);
        assert_string_equal(buf_str(&out), "message||a b;");
        sse_deinit(&sse);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(takes_any_pieces),
                cmocka_unit_test(an_event_has_a_limit),
                cmocka_unit_test(nul_does_not_shorten_a_line),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
