/* Bytes become lines, lines become fields, an empty line ends an event. */
#include "cli/sse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static void end_event(struct sse *sse)
{
        if (sse->data.len) {
                buf_truncate(&sse->data, sse->data.len - 1); /* the last line's newline */
                sse->take(sse->userdata, *sse->event ? sse->event : "message", sse->id, buf_str(&sse->data));
        }
        buf_truncate(&sse->data, 0);
        sse->event[0] = '\0';
}

static void take_field(struct sse *sse, const char *name, const char *value)
{
        if (str_eq(name, "data")) {
                buf_adds(&sse->data, value);
                buf_addc(&sse->data, '\n');
        } else if (str_eq(name, "event")) {
                snprintf(sse->event, sizeof(sse->event), "%s", value);
        } else if (str_eq(name, "id")) {
                snprintf(sse->id, sizeof(sse->id), "%s", value);
        }
}

static void take_line(struct sse *sse)
{
        char *line = sse->line.data;
        if (!sse->line.len) {
                end_event(sse);
                return;
        }
        char *colon = strchr(line, ':');
        if (colon == line)
                return;
        const char *value = "";
        if (colon) {
                *colon = '\0';
                value = colon + 1 + (colon[1] == ' ');
        }
        take_field(sse, line, value);
}

int sse_feed(struct sse *sse, const char *bytes, size_t len, struct error *error)
{
        for (size_t i = 0; i < len; i++) {
                char c = bytes[i];
                bool second = c == '\n' && sse->after_cr;
                sse->after_cr = c == '\r';
                if (second)
                        continue;
                if (c != '\n' && c != '\r') {
                        buf_addc(&sse->line, c ? c : ' ');
                        if (sse->line.len + sse->data.len > SSE_EVENT_MAX)
                                return error_set(error, -EFBIG, "an event of the stream is larger than %d bytes",
                                                 SSE_EVENT_MAX);
                        continue;
                }
                take_line(sse);
                buf_truncate(&sse->line, 0);
        }
        return 0;
}

void sse_deinit(struct sse *sse)
{
        buf_deinit(&sse->line);
        buf_deinit(&sse->data);
}
