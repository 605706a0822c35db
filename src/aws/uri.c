/* Sorting is done on the encoded texts, as the signature's rules say. */
#include "aws/uri.h"

#include <string.h>

void aws_uri_encode(const char *text, bool keep_slash, struct buf *out)
{
        static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
        for (; *text; text++) {
                if (strchr(plain, *text) || (keep_slash && *text == '/'))
                        buf_addc(out, *text);
                else
                        buf_addf(out, "%%%02X", (unsigned)(unsigned char)*text);
        }
}

struct encoded {
        char *name, *value;
};

static int compare(const void *a, const void *b)
{
        const struct encoded *left = a, *right = b;
        int r = strcmp(left->name, right->name);
        return r ? r : strcmp(left->value, right->value);
}

static char *encode(const char *text)
{
        struct buf out = BUF_NULL;
        aws_uri_encode(text, false, &out);
        return buf_steal(&out);
}

char *aws_query(const struct aws_pair *pairs, size_t n)
{
        struct buf out = BUF_NULL;
        _cleanup_free_ struct encoded *list = xcalloc(n + 1, sizeof *list);
        for (size_t i = 0; i < n; i++)
                list[i] = (struct encoded){.name = encode(pairs[i].name), .value = encode(pairs[i].value)};
        qsort(list, n, sizeof *list, compare);
        for (size_t i = 0; i < n; i++) {
                buf_addf(&out, "%s%s=%s", i ? "&" : "", list[i].name, list[i].value);
                free(list[i].name);
                free(list[i].value);
        }
        return buf_steal(&out);
}
