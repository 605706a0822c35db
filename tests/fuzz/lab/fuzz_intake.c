/*
 * What VMs post, of any content: metrics and batches of log lines become items that the database takes (no NUL, valid
 * UTF-8, within the limits, log lines without control sequences), or are refused with a sentence.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "lab/logs.h"
#include "lab/report.h"

static void require(bool held)
{
        if (!held)
                abort();
}

static void check_metrics(const json_t *body)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_json_ json_t *metrics = NULL, *again = NULL;
        int r = metrics_check(body, &metrics, &error);
        require((r == 0) == (metrics != NULL) && (r == 0 || *error_text(&error)));
        if (r < 0)
                return;
        require(json_is_object(metrics));
        /* Times have become texts: read again they are the same. */
        require(metrics_check(metrics, &again, NULL) == 0 && json_equal(metrics, again));
}

static void check_logs(const json_t *messages)
{
        _cleanup_json_ json_t *item = logs_item("vm-1", messages, NULL);
        const json_t *lines = json_object_get(item, "messages");
        size_t index;
        json_t *line;
        json_array_foreach (lines, index, line) {
                const char *text = json_string_value(line);
                size_t len = json_string_length(line);
                require(text && strlen(text) == len && utf8_valid(text, len) && len <= 3 * LOG_LINE_MAX + 64);
                for (const char *c = text; *c; c++)
                        require((unsigned char)*c >= 0x20 || *c == '\t' || *c == '\n');
        }
}

static bool all_texts(const json_t *array)
{
        size_t index;
        const json_t *member;
        bool texts = json_is_array(array);
        json_array_foreach (array, index, member)
                texts &= json_is_string(member);
        return texts;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_buf_ struct buf mended = BUF_NULL;
        (void)json_mend((const char *)data, size, 1 << 20, &mended);
        require(utf8_valid(buf_str(&mended), mended.len));
        _cleanup_json_ json_t *value = json_read_max(buf_str(&mended), mended.len, 32768, NULL);
        if (json_is_object(value))
                check_metrics(value);
        if (all_texts(json_object_get(value, "messages")))
                check_logs(json_object_get(value, "messages"));
        return 0;
}
