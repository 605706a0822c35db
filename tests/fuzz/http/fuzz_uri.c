/*
 * A target of any content: its path is refused, or no segment holds a slash, is a dot or two, or is no UTF-8; its query
 * is refused, or becomes whole pairs. Headers with weights never give more than 1000.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"
#include "http/internal.h"

static void require(bool held)
{
        if (!held)
                abort();
}

static void try_path(const char *path)
{
        struct segments segments;
        if (segments_split(path, &segments) == 0) {
                for (unsigned i = 0; i < segments.n; i++) {
                        const char *text = segment(&segments, i);
                        require(!strchr(text, '/') && !str_eq(text, "..") && !str_eq(text, "."));
                        require(utf8_valid(text, strlen(text)));
                }
        }
        buf_deinit(&segments.text);
}

static void try_query(const char *query)
{
        _cleanup_buf_ struct buf pairs = BUF_NULL;
        unsigned texts = 0;
        if (query_parse(query, &pairs) < 0)
                return;
        for (size_t at = 0; at < pairs.len; texts++)
                at += strlen(pairs.data + at) + 1;
        require(texts % 2 == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_free_ char *target = xstrndup((const char *)data, size);
        char *question = strchr(target, '?');
        require(accept_weight(target, "text/html") <= 1000);
        if (question) {
                *question = '\0';
                try_query(question + 1);
        }
        try_path(target);
        return 0;
}
