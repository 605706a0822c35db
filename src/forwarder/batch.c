/*
 * Sizes are those of the JSON that will be written, counted without writing it.
 */
#include "forwarder/batch.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* A line as it is posted: what the allocator would throw away is not carried there. */
static json_t *posted_line(const json_t *message)
{
        const char *text = json_string_value(message);
        size_t len = json_string_length(message);
        if (len <= BATCH_LINE_BYTES)
                return json_incref((json_t *)(uintptr_t)message);
        _cleanup_buf_ struct buf line = BUF_NULL;
        buf_add(&line, text, utf8_cut(text, len, BATCH_LINE_BYTES));
        buf_addf(&line, " ... (%zu bytes cut)", len - line.len);
        return json_stringn(line.data, line.len);
}

/* At most so many bytes does a line take in JSON, with quotes and comma. */
static size_t written_size(const json_t *message)
{
        const char *text = json_string_value(message);
        size_t len = MIN(json_string_length(message), (size_t)BATCH_LINE_BYTES), size = 64;
        for (size_t i = 0; i < len; i++) {
                unsigned char c = (unsigned char)text[i];
                size += c < 0x20 || c == 0x7f ? 6 : c == '"' || c == '\\' ? 2 : 1;
        }
        return size;
}

size_t batch_end(const struct log_event *event, size_t first)
{
        size_t end = first, bytes = 0;
        for (; end < json_array_size(event->messages) && end - first < BATCH_LINES; end++) {
                bytes += written_size(json_array_get(event->messages, end));
                if (bytes > BATCH_BYTES && end > first)
                        break;
        }
        return end;
}

/* Length first: no two lists of texts look the same to the hash. */
static void hash_text(crypto_generichash_state *state, const char *text, size_t len)
{
        uint64_t size = len;
        unsigned char prefix[8];
        for (size_t i = 0; i < sizeof prefix; i++)
                prefix[i] = (unsigned char)(size >> 8 * i);
        crypto_generichash_update(state, prefix, sizeof prefix);
        crypto_generichash_update(state, (const unsigned char *)text, len);
}

static void hash_json(crypto_generichash_state *state, const json_t *text)
{
        hash_text(state, json_string_value(text), json_string_length(text));
}

static void batch_id(const struct log_event *event, size_t first, size_t end, const char *invocation,
                     char out[BATCH_ID_LENGTH + 1])
{
        crypto_generichash_state state;
        unsigned char hash[BATCH_ID_LENGTH / 2];
        crypto_generichash_init(&state, NULL, 0, sizeof hash);
        hash_json(&state, event->group);
        hash_json(&state, event->stream);
        for (size_t i = first; event->ids && i < end; i++)
                hash_json(&state, json_array_get(event->ids, i));
        if (!event->ids) {
                char place[64];
                snprintf(place, sizeof place, "%zu-%zu", first, end);
                hash_text(&state, invocation, strlen(invocation));
                hash_text(&state, place, strlen(place));
        }
        crypto_generichash_final(&state, hash, sizeof hash);
        sodium_bin2hex(out, BATCH_ID_LENGTH + 1, hash, sizeof hash);
}

void batch_body(const struct log_event *event, size_t first, size_t end, const char *invocation, struct buf *out)
{
        char id[BATCH_ID_LENGTH + 1];
        json_t *lines = json_array();
        for (size_t i = first; i < end; i++)
                json_array_append_new(lines, posted_line(json_array_get(event->messages, i)));
        batch_id(event, first, end, invocation, id);
        _cleanup_json_ json_t *body = json_pack("{s:O, s:O, s:s, s:o}", "log_group", event->group, "log_stream",
                                                event->stream, "batch_id", id, "messages", lines);
        json_write(body, out);
}
