/*
 * JSON from strangers: refused with a sentence, or within the limits and the same after it was printed and read again.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

static void require(bool held)
{
        if (!held)
                abort();
}

static int depth_of(json_t *value)
{
        int deepest = 0;
        size_t index;
        const char *key;
        json_t *member;
        json_array_foreach (value, index, member)
                deepest = MAX(deepest, depth_of(member));
        json_object_foreach (value, key, member)
                deepest = MAX(deepest, depth_of(member));
        return json_is_array(value) || json_is_object(value) ? deepest + 1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_free_ char *copy = xmemdup(data, size);
        _cleanup_json_ json_t *value = json_read(copy, size, &error), *again = NULL;
        require((value == NULL) == (error.code < 0) && (value || *error_text(&error)));
        if (!value)
                return 0;
        require(depth_of(value) <= JSON_DEPTH_MAX);
        _cleanup_free_ char *text = json_text(value);
        require(utf8_valid(text, strlen(text)));
        again = json_read(text, strlen(text), NULL);
        require(again && json_equal(value, again));
        return 0;
}
