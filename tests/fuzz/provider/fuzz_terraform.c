/*
 * What an engine and a module may say, whatever it is: as a state, as a plan, line by line as output. Nothing of it ends
 * the program, no line that is handed over holds a control sequence but colours in their one spelling, and no plan without
 * a "format_version" passes.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/ansi.h"
#include "base/text.h"
#include "provider/terraform/internal.h"

static void require(bool held)
{
        if (!held)
                abort();
}

static void on_line(_unused_ void *userdata, const char *text)
{
        size_t len = strlen(text);
        _cleanup_buf_ struct buf plain = BUF_NULL, again = BUF_NULL;
        ansi_strip(text, len, &plain);
        ansi_colours(text, len, &again);
        require(utf8_valid(text, len) && len < 32768 && strcmp(buf_str(&again), text) == 0);
        for (size_t i = 0; i < plain.len; i++)
                require((unsigned char)plain.data[i] >= 0x20 || plain.data[i] == '\t');
        require(!strstr(buf_str(&plain), "SECRETsecretSECRET"));
}

static void on_progress(_unused_ void *userdata, int done, int total)
{
        require(done >= 0 && done <= total);
}

static void on_created(_unused_ void *userdata, const char *hostname, _unused_ double started, _unused_ double ended)
{
        require(*hostname || true);
}

static void as_output(const char *data, size_t size)
{
        struct provider_sink sink = {.line = on_line, .progress = on_progress, .created = on_created};
        _cleanup_json_ json_t *tokens = json_pack("{s:s}", "vm", "SECRETsecretSECRET");
        _cleanup_stream_ struct tf_stream stream = {
                .sink = &sink, .environment = "dev", .total = 3, .tokens = tokens, .planning = size & 1};
        for (size_t start = 0; start <= size;) {
                const char *newline = memchr(data + start, '\n', size - start);
                size_t len = newline ? (size_t)(newline - data) - start : size - start;
                tf_stream_line(&stream, data + start, len, len % 7 == 6);
                start += len + 1;
        }
        tf_stream_end(&stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_free_ char *text = xstrndup((const char *)data, size);
        _cleanup_state_ struct tf_state state = {.last = -1};
        double started, ended;
        if (state_parse((const char *)data, size, "dev", &state, NULL) == 0)
                for (size_t i = 0; i < state.n; i++) {
                        require(state_find(&state, state.vm[i].hostname) != NULL);
                        state_output_of(&state, "vm_public_ips", state.vm[i].hostname);
                        state_times(&state, state.vm[i].hostname, &started, &ended);
                }
        _cleanup_json_ json_t *plan = json_loads(text, 0, NULL);
        if (plan_check(plan, "dev", size & 1 ? "x.lablink_vm[0]" : NULL, NULL) == 0)
                require(json_get_string(plan, "format_version") != NULL);
        as_output((const char *)data, size);
        return 0;
}
