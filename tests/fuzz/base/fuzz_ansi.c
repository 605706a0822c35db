/*
 * Any bytes, made harmless for a terminal. What is left is valid UTF-8 without a control character but tabs and, where
 * colours stay, sequences of the one spelling; doing it again changes nothing; both ways leave the same text, and so do
 * the pieces.
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

static void require_same(const struct buf *a, const struct buf *b)
{
        require(a->len == b->len && memcmp(buf_str(a), buf_str(b), a->len) == 0);
}

static void require_harmless(const char *text, size_t len)
{
        require(utf8_valid(text, len));
        for (size_t i = 0; i < len; i++) {
                unsigned char c = (unsigned char)text[i], next = i + 1 < len ? (unsigned char)text[i + 1] : 0;
                require((c >= 0x20 && c != 0x7f) || c == '\t');
                require(c != 0xc2 || next >= 0xa0);
        }
}

static void check_pieces(const char *at, const struct buf *plain)
{
        _cleanup_buf_ struct buf whole = BUF_NULL;
        struct ansi_piece piece = {0};
        size_t n = 0;
        while (ansi_next(&at, &piece)) {
                require_harmless(piece.text, piece.len);
                buf_add(&whole, piece.text, piece.len);
                require(piece.codes_len <= strlen("1;4;107;107"));
                n++;
        }
        require(!*at && piece.codes_len == 0 && n <= ANSI_CHANGES_MAX + 2);
        require_same(&whole, plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_buf_ struct buf plain = BUF_NULL, coloured = BUF_NULL, again = BUF_NULL, stripped = BUF_NULL,
                                 twice = BUF_NULL;
        ansi_strip((const char *)data, size, &plain);
        require_harmless(buf_str(&plain), plain.len);
        ansi_strip(buf_str(&plain), plain.len, &again);
        require_same(&plain, &again);

        ansi_colours((const char *)data, size, &coloured);
        ansi_strip(buf_str(&coloured), coloured.len, &stripped);
        require_same(&plain, &stripped);
        ansi_colours(buf_str(&coloured), coloured.len, &twice);
        require_same(&coloured, &twice);
        check_pieces(buf_str(&coloured), &plain);
        return 0;
}
