/*
 * A template of any content over a model that has one of everything: it renders, or is refused with its name and line.
 * What a model holds never becomes a tag or markup: the model's text is full of both. The input may call itself.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "http/http.h"
#include "http/template.h"

static const char model_text[] =
        "{\"a\": \"<{{b}}>\", \"b\": [1, 2], \"c\": {\"d\": {\"e\": \"x\"}}, \"t\": true, \"f\": false, \"n\": null,"
        " \"list\": [{\"a\": \"&\"}, {\"g\": []}], \"zero\": 0}";

static void require(bool held)
{
        if (!held)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_buf_ struct buf out = BUF_NULL;
        if (size > 1024)
                return 0;
        _cleanup_free_ char *text = xstrndup((const char *)data, size);
        _cleanup_json_ json_t *model = json_loads(model_text, 0, NULL);
        const struct http_template templates[] = {{"page", text}, {"p", "[{{a}}]"}, {0}};
        int r = template_render(templates, "page", model, &out, &error);
        require(r == error.code && (r == 0 || strstr(error_text(&error), "template")));
        if (r == 0 && !strstr(text, "{{"))
                require(strcmp(buf_str(&out), text) == 0);
        return 0;
}
