/*
 * Any bytes, stripped for a terminal: what is left is valid UTF-8 without a control character, and stripping it again
 * changes nothing.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/ansi.h"
#include "base/text.h"

static void require(bool held)
{
        if (!held)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_buf_ struct buf once = BUF_NULL, twice = BUF_NULL;
        ansi_strip((const char *)data, size, &once);
        const char *text = buf_str(&once);
        require(utf8_valid(text, once.len));
        for (size_t i = 0; i < once.len; i++) {
                unsigned char c = (unsigned char)text[i], next = i + 1 < once.len ? (unsigned char)text[i + 1] : 0;
                require(c >= 0x20 && c != 0x7f);
                require(c != 0xc2 || next >= 0xa0);
        }
        ansi_strip(text, once.len, &twice);
        require(twice.len == once.len && memcmp(buf_str(&twice), text, once.len) == 0);
        return 0;
}
