/* An event of any size becomes batches that the allocator takes, always the same ones under the same names. */
#include "pack.h"

#include <string.h>

#include "forwarder/batch.h"

static struct log_event event_of(size_t lines, const char *line, size_t len, bool ids)
{
        struct log_event event = {.group = json_string("g"), .stream = json_string("vm-1"), .messages = json_array()};
        event.ids = ids ? json_array() : NULL;
        for (size_t i = 0; i < lines; i++) {
                json_array_append_new(event.messages, json_stringn(line, len));
                if (ids)
                        json_array_append_new(event.ids, json_sprintf("%056zu", i));
        }
        return event;
}

static json_t *body_of(const struct log_event *event, size_t first, size_t end, const char *invocation)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        batch_body(event, first, end, invocation, &out);
        assert_true(out.len < 1 << 20);
        return json_read(buf_str(&out), out.len, NULL);
}

static char *id_of(const struct log_event *event, size_t first, size_t end, const char *invocation)
{
        _cleanup_json_ json_t *body = body_of(event, first, end, invocation);
        return xstrdup(json_get_string(body, "batch_id"));
}

static size_t count_batches(const struct log_event *event)
{
        size_t n = 0, all = json_array_size(event->messages), lines = 0;
        for (size_t first = 0, end; first < all; first = end, n++) {
                end = batch_end(event, first);
                assert_true(end > first && end <= all && end - first <= BATCH_LINES);
                _cleanup_json_ json_t *body = body_of(event, first, end, "i");
                lines += json_array_size(json_object_get(body, "messages"));
        }
        assert_int_equal(lines, all);
        return n;
}

static void test_sizes(void **state _unused_)
{
        _cleanup_free_ char *large = xcalloc(1, 1 << 20), *quotes = xmalloc(1 << 20);
        memset(large, 'x', 1 << 20);
        memset(quotes, '"', 1 << 20);
        _cleanup_log_event_ struct log_event none = event_of(0, "", 0, true), few = event_of(3, "x", 1, true),
                                             many = event_of(12000, "x", 1, true),
                                             wide = event_of(200, large, 1 << 20, true),
                                             escaped = event_of(200, quotes, 1 << 20, true);
        assert_int_equal(batch_end(&none, 0), 0);
        assert_int_equal(count_batches(&none), 0);
        assert_int_equal(count_batches(&few), 1);
        assert_int_equal(count_batches(&many), 3);
        assert_int_equal(count_batches(&wide), 4);
        assert_int_equal(count_batches(&escaped), 8);
}

static void test_controls(void **state _unused_)
{
        char controls[BATCH_LINE_BYTES];
        memset(controls, 1, sizeof controls);
        _cleanup_log_event_ struct log_event event = event_of(100, controls, sizeof controls, true);
        assert_int_equal(count_batches(&event), 12);
}

static void test_body(void **state _unused_)
{
        static const char line[] = "a\n\"b\" \xc3\xa9";
        _cleanup_log_event_ struct log_event event = event_of(3, line, strlen(line), true);
        _cleanup_json_ json_t *body = body_of(&event, 1, 3, "i");
        assert_string_equal(json_get_string(body, "log_group"), "g");
        assert_string_equal(json_get_string(body, "log_stream"), "vm-1");
        assert_int_equal(json_array_size(json_object_get(body, "messages")), 2);
        assert_string_equal(json_string_value(json_array_get(json_object_get(body, "messages"), 0)), line);
        assert_int_equal(strlen(json_get_string(body, "batch_id")), BATCH_ID_LENGTH);
}

static void test_long_line(void **state _unused_)
{
        char line[BATCH_LINE_BYTES + 3];
        memset(line, 'x', sizeof line);
        line[BATCH_LINE_BYTES - 1] = '\xc3';
        line[BATCH_LINE_BYTES] = '\xa9';
        _cleanup_log_event_ struct log_event event = event_of(1, line, sizeof line, true);
        _cleanup_json_ json_t *body = body_of(&event, 0, 1, "i");
        const char *kept = json_string_value(json_array_get(json_object_get(body, "messages"), 0));
        assert_string_equal(kept + BATCH_LINE_BYTES - 1, " ... (4 bytes cut)");
}

static void test_names(void **state _unused_)
{
        _cleanup_log_event_ struct log_event event = event_of(4, "x", 1, true), same = event_of(4, "y", 1, true);
        _cleanup_free_ char *a = id_of(&event, 0, 2, "i"), *again = id_of(&same, 0, 2, "j"),
                            *rest = id_of(&event, 2, 4, "i"), *shorter = id_of(&event, 0, 1, "i");
        assert_string_equal(a, again);
        assert_string_not_equal(a, rest);
        assert_string_not_equal(a, shorter);
        json_decref(same.stream);
        same.stream = json_string("vm-2");
        _cleanup_free_ char *other = id_of(&same, 0, 2, "i");
        assert_string_not_equal(a, other);
}

static void test_names_without_ids(void **state _unused_)
{
        _cleanup_log_event_ struct log_event event = event_of(4, "x", 1, false);
        _cleanup_free_ char *a = id_of(&event, 0, 2, "i"), *again = id_of(&event, 0, 2, "i"),
                            *rest = id_of(&event, 2, 4, "i"), *other = id_of(&event, 0, 2, "j");
        assert_string_equal(a, again);
        assert_string_not_equal(a, rest);
        assert_string_not_equal(a, other);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sizes), cmocka_unit_test(test_controls),
                cmocka_unit_test(test_body),  cmocka_unit_test(test_long_line),
                cmocka_unit_test(test_names), cmocka_unit_test(test_names_without_ids),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
