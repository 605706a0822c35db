/*
 * Each layer is unpacked, and the one around it let go, before the next is looked at: a function has little memory.
 */
#include "forwarder/event.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/text.h"
#include "forwarder/gunzip.h"

#define OUTER_VALUES_MAX 1000

void log_event_clear(struct log_event *event)
{
        json_decref(event->group);
        json_decref(event->stream);
        json_decref(event->messages);
        json_decref(event->ids);
        *event = (struct log_event){0};
}

static int unpack_base64(const json_t *data, struct buf *out, struct error *error)
{
        size_t len = json_string_length(data), taken = 0;
        buf_reserve(out, len / 4 * 3 + 3);
        if (sodium_base642bin((unsigned char *)out->data, len / 4 * 3 + 3, json_string_value(data), len, "\r\n", &taken,
                              NULL, sodium_base64_VARIANT_ORIGINAL) < 0)
                return error_set(error, -EINVAL, "awslogs.data is no base64");
        out->len = taken;
        return 0;
}

/* The bytes of the JSON inside. */
static int unpack(const char *data, size_t len, struct buf *out, struct error *error)
{
        _cleanup_buf_ struct buf packed = BUF_NULL;
        _cleanup_json_ json_t *outer = json_read_max(data, len, OUTER_VALUES_MAX, error);
        if (!outer)
                return error_wrap(error, "the event is no JSON");
        const json_t *inner = json_object_get(json_object_get(outer, "awslogs"), "data");
        if (!json_is_string(inner))
                return error_set(error, -EINVAL, "the event has no awslogs.data: it is not from CloudWatch Logs");
        int r = unpack_base64(inner, &packed, error);
        if (r < 0)
                return r;
        r = gunzip(packed.data, packed.len, EVENT_UNPACKED_MAX, out, error);
        return r < 0 ? error_wrap(error, "awslogs.data cannot be unpacked") : 0;
}

/* Halves of surrogate pairs, NULs and other bytes are no reason to lose a log: what JSON may not hold becomes U+FFFD. */
static json_t *read_mended(struct buf *text, struct error *error)
{
        json_t *value = json_read_max(buf_str(text), text->len, EVENT_VALUES_MAX, error);
        _cleanup_buf_ struct buf mended = BUF_NULL;
        if (value || json_mend(buf_str(text), text->len, 2 * (size_t)EVENT_UNPACKED_MAX, &mended) < 0)
                return value;
        buf_deinit(text);
        error_clear(error);
        return json_read_max(buf_str(&mended), mended.len, EVENT_VALUES_MAX, error);
}

static int take_one(const json_t *one, size_t index, struct log_event *ret, struct error *error)
{
        json_t *message = json_object_get(one, "message"), *id = json_object_get(one, "id");
        if (!json_is_string(message))
                return error_set(error, -EINVAL, "logEvents[%zu] has no message", index);
        json_array_append(ret->messages, message);
        if (!json_is_string(id) || json_string_length(id) == 0) {
                json_decref(ret->ids);
                ret->ids = NULL;
        }
        if (ret->ids)
                json_array_append(ret->ids, id);
        return 0;
}

static int take_events(const json_t *events, struct log_event *ret, struct error *error)
{
        size_t index;
        json_t *one;
        if (!json_is_array(events))
                return error_set(error, -EINVAL, "logEvents is missing or no list");
        ret->messages = json_array();
        ret->ids = json_array();
        json_array_foreach (events, index, one) {
                int r = take_one(one, index, ret, error);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int take(const json_t *content, struct log_event *ret, struct error *error)
{
        const char *type = json_get_string(content, "messageType");
        if (str_eq(type, "CONTROL_MESSAGE")) {
                ret->control = true;
                return 0;
        }
        if (json_object_get(content, "messageType") && !str_eq(type, "DATA_MESSAGE"))
                return error_set(error, -EINVAL, "messageType is neither DATA_MESSAGE nor CONTROL_MESSAGE");
        ret->group = json_incref(json_object_get(content, "logGroup"));
        ret->stream = json_incref(json_object_get(content, "logStream"));
        if (!json_is_string(ret->group) || !json_is_string(ret->stream))
                return error_set(error, -EINVAL, "logGroup or logStream is missing");
        return take_events(json_object_get(content, "logEvents"), ret, error);
}

int log_event_read(const char *data, size_t len, struct log_event *ret, struct error *error)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        *ret = (struct log_event){0};
        int r = unpack(data, len, &text, error);
        if (r < 0)
                return r;
        _cleanup_json_ json_t *content = read_mended(&text, error);
        buf_deinit(&text);
        if (!content)
                return error_wrap(error, "awslogs.data holds no JSON");
        return take(content, ret, error);
}
