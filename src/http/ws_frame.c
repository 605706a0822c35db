/*
 * The format of RFC 6455, section 5. The parser takes what came and gives events; a payload passes through in the pieces
 * in which it came, unmasked in place. Whatever the RFC lets a peer not send fails the connection, with its code.
 */
#include <endian.h>
#include <string.h>

#include <sodium.h>

#include "base/text.h"
#include "http/sha1.h"
#include "http/websocket.h"

bool utf8_feed(struct utf8_state *state, const uint8_t *data, size_t len)
{
        for (size_t i = 0; i < len; i++) {
                uint8_t c = data[i];
                if (state->rest) {
                        if (c < state->low || c > state->up)
                                return false;
                        *state = (struct utf8_state){state->rest - 1, 0x80, 0xbf};
                } else if (c < 0x80) {
                        continue;
                } else if (c < 0xc2 || c > 0xf4) {
                        return false;
                } else {
                        /* no overlong form, no surrogate, nothing above U+10FFFF (RFC 3629, 4) */
                        uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
                        uint8_t up = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
                        *state = (struct utf8_state){c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1, low, up};
                }
        }
        return true;
}

bool ws_code_valid(unsigned code)
{
        return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
               (code >= 3000 && code <= 4999);
}

void ws_accept(const char *key, char out[WS_ACCEPT_LENGTH + 1])
{
        uint8_t digest[SHA1_LENGTH];
        _cleanup_free_ char *text = xasprintf("%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
        sha1(text, strlen(text), digest);
        sodium_bin2base64(out, WS_ACCEPT_LENGTH + 1, digest, sizeof digest, sodium_base64_VARIANT_ORIGINAL);
}

/* --- reading ------------------------------------------------------------------------------------------------------- */

static bool is_control(uint8_t opcode)
{
        return opcode >= WS_CLOSE;
}

static size_t header_length(const struct ws_parser *p)
{
        if (p->have < 2)
                return 2;
        uint8_t short_len = p->header[1] & 0x7f;
        return 2u + (short_len == 126 ? 2 : short_len == 127 ? 8 : 0) + (p->header[1] & 0x80 ? 4 : 0);
}

/* What the first two bytes alone forbid, told before more is read. */
static int check_start(const struct ws_parser *p)
{
        uint8_t opcode = p->header[0] & 0x0f, short_len = p->header[1] & 0x7f;
        bool fin = p->header[0] & 0x80;
        if (p->header[0] & 0x70 || (opcode > WS_BINARY && opcode < WS_CLOSE) || opcode > WS_PONG)
                return -WS_CODE_PROTOCOL;
        if (!!(p->header[1] & 0x80) != p->masked)
                return -WS_CODE_PROTOCOL;
        if (is_control(opcode))
                return fin && short_len <= WS_CONTROL_MAX ? 0 : -WS_CODE_PROTOCOL;
        return (opcode == WS_CONTINUATION) == (p->message != 0) ? 0 : -WS_CODE_PROTOCOL;
}

/* The header is whole: its length, which must be the shortest form and fit into 63 bits, and its key. */
static int take_header(struct ws_parser *p)
{
        uint8_t short_len = p->header[1] & 0x7f;
        const uint8_t *at = p->header + 2;
        uint64_t len = short_len;
        if (short_len == 126) {
                uint16_t net;
                memcpy(&net, at, sizeof net);
                at += sizeof net;
                len = be16toh(net);
                if (len < 126)
                        return -WS_CODE_PROTOCOL;
        } else if (short_len == 127) {
                uint64_t net;
                memcpy(&net, at, sizeof net);
                at += sizeof net;
                len = be64toh(net);
                if (len < 65536 || len >> 63)
                        return -WS_CODE_PROTOCOL;
        }
        memset(p->key, 0, sizeof p->key);
        if (p->header[1] & 0x80)
                memcpy(p->key, at, sizeof p->key);
        p->opcode = p->header[0] & 0x0f;
        p->fin = p->header[0] & 0x80;
        p->left = len;
        p->mask_at = 0;
        p->in_frame = true;
        p->control_len = 0;
        if (is_control(p->opcode))
                return 0;
        if (p->opcode != WS_CONTINUATION) {
                p->message = p->opcode;
                p->message_len = 0;
                p->utf8 = (struct utf8_state){0};
        }
        if (p->message_max && (len > p->message_max || p->message_len + len > p->message_max))
                return -WS_CODE_TOO_BIG;
        p->message_len += p->message_max ? len : 0;
        return 0;
}

static void unmask(struct ws_parser *p, uint8_t *data, size_t len)
{
        uint8_t key[8];
        uint64_t wide, word;
        if (!(p->key[0] | p->key[1] | p->key[2] | p->key[3]))
                return;
        for (unsigned i = 0; i < sizeof key; i++)
                key[i] = p->key[(p->mask_at + i) & 3];
        memcpy(&wide, key, sizeof wide);
        size_t i = 0;
        for (; i + sizeof word <= len; i += sizeof word) {
                memcpy(&word, data + i, sizeof word);
                word ^= wide;
                memcpy(data + i, &word, sizeof word);
        }
        for (; i < len; i++)
                data[i] ^= key[i & 7];
        p->mask_at = (uint8_t)((p->mask_at + len) & 3);
}

static int end_control(struct ws_parser *p, struct ws_event *event)
{
        *event = (struct ws_event){.kind = p->opcode == WS_PING ? WS_EVENT_PING : WS_EVENT_PONG,
                                   .data = p->control,
                                   .len = p->control_len};
        if (p->opcode != WS_CLOSE)
                return 0;
        *event = (struct ws_event){.kind = WS_EVENT_CLOSE, .code = WS_CODE_NONE};
        p->closed = true;
        if (p->control_len == 0)
                return 0;
        struct utf8_state utf8 = {0};
        unsigned code = p->control_len >= 2 ? (unsigned)p->control[0] << 8 | p->control[1] : 0;
        if (!ws_code_valid(code))
                return -WS_CODE_PROTOCOL;
        event->code = code;
        event->data = p->control + 2;
        event->len = p->control_len - 2u;
        return utf8_feed(&utf8, event->data, event->len) && !utf8.rest ? 0 : -WS_CODE_NOT_UTF8;
}

static int take_control(struct ws_parser *p, const uint8_t *data, size_t len, struct ws_event *event)
{
        memcpy(p->control + p->control_len, data, len);
        p->control_len = (uint8_t)(p->control_len + len);
        if (p->left > 0)
                return 0;
        p->in_frame = false;
        p->have = 0;
        return end_control(p, event);
}

static int take_data(struct ws_parser *p, const uint8_t *data, size_t len, struct ws_event *event)
{
        bool end = p->left == 0 && p->fin;
        *event = (struct ws_event){
                .kind = WS_EVENT_DATA, .data = data, .len = len, .text = p->message == WS_TEXT, .end = end};
        if (event->text && (!utf8_feed(&p->utf8, data, len) || (end && p->utf8.rest)))
                return -WS_CODE_NOT_UTF8;
        if (p->left == 0) {
                p->in_frame = false;
                p->have = 0;
        }
        if (end)
                p->message = 0;
        return 0;
}

ssize_t ws_parse(struct ws_parser *p, uint8_t *data, size_t len, struct ws_event *event)
{
        size_t taken = 0;
        *event = (struct ws_event){0};
        if (p->closed)
                return (ssize_t)len; /* nothing counts after a close frame */
        while (!p->in_frame && taken < len) {
                p->header[p->have++] = data[taken++];
                int r = p->have == 2 ? check_start(p) : 0;
                if (r == 0 && p->have >= 2 && p->have == header_length(p))
                        r = take_header(p);
                if (r < 0)
                        return r;
        }
        if (!p->in_frame)
                return (ssize_t)taken;
        size_t piece = (size_t)MIN(p->left, (uint64_t)(len - taken));
        if (piece == 0 && p->left > 0)
                return (ssize_t)taken;
        unmask(p, data + taken, piece);
        p->left -= piece;
        int r = is_control(p->opcode) ? take_control(p, data + taken, piece, event)
                                      : take_data(p, data + taken, piece, event);
        return r < 0 ? r : (ssize_t)(taken + piece);
}

/* --- writing ------------------------------------------------------------------------------------------------------- */

size_t ws_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, size_t len, bool masked)
{
        uint8_t mask_bit = masked ? 0x80 : 0;
        size_t n = 2;
        out[0] = (uint8_t)(0x80 | opcode);
        if (len < 126) {
                out[1] = (uint8_t)(mask_bit | len);
        } else if (len < 65536) {
                uint16_t net = htobe16((uint16_t)len);
                out[1] = mask_bit | 126;
                memcpy(out + n, &net, sizeof net);
                n += sizeof net;
        } else {
                uint64_t net = htobe64(len);
                out[1] = mask_bit | 127;
                memcpy(out + n, &net, sizeof net);
                n += sizeof net;
        }
        if (masked) {
                memset(out + n, 0, 4);
                n += 4;
        }
        return n;
}
