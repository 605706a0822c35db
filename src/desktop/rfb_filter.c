/* The list of messages, and a reader that holds at most one head. */
#include "desktop/rfb_filter.h"

#include <string.h>

#define VERSION_LENGTH 12
#define SECURITY_NONE 1
#define ENCODINGS_MAX 1024
#define ENCODING_LENGTH 4

enum phase { PHASE_VERSION, PHASE_SECURITY, PHASE_INIT, PHASE_MESSAGES };

enum rule { PASS, DROP };

/* A message: its fixed part, and how the length of the rest is told in it. */
static const struct message {
        uint8_t type, head;
        enum rule rule;
        enum { NOTHING, ENCODINGS, TEXT, FENCE, SCREENS } rest;
} messages[] = {
        {0, 20, PASS, NOTHING},   /* SetPixelFormat */
        {2, 4, PASS, ENCODINGS},  /* SetEncodings */
        {3, 10, PASS, NOTHING},   /* FramebufferUpdateRequest */
        {4, 8, DROP, NOTHING},    /* KeyEvent */
        {5, 6, DROP, NOTHING},    /* PointerEvent */
        {6, 8, DROP, TEXT},       /* ClientCutText, the extended one too */
        {150, 10, PASS, NOTHING}, /* EnableContinuousUpdates */
        {248, 9, PASS, FENCE},    /* ClientFence */
        {250, 4, DROP, NOTHING},  /* xvp: shut down, reboot */
        {251, 8, DROP, SCREENS},  /* SetDesktopSize */
        {255, 12, DROP, NOTHING}, /* QEMU's key events */
};

static const struct message *find(uint8_t type)
{
        for (size_t i = 0; i < ARRAY_SIZE(messages); i++)
                if (messages[i].type == type)
                        return &messages[i];
        return NULL;
}

static uint32_t be32(const uint8_t *at)
{
        return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Bytes behind a whole head, or -1. */
static int64_t rest_of(const struct message *message, const uint8_t *head)
{
        int64_t n;
        switch (message->rest) {
        case ENCODINGS:
                n = head[2] << 8 | head[3];
                return n <= ENCODINGS_MAX ? n * ENCODING_LENGTH : -1;
        case TEXT:
                n = (int32_t)be32(head + 4);
                return n < 0 ? -n : n; /* negative: the extended clipboard */
        case FENCE:
                return head[8] <= 64 ? head[8] : -1;
        case SCREENS:
                return (int64_t)head[6] * 16;
        case NOTHING:
                break;
        }
        return message->type == 255 && head[1] != 0 ? -1 : 0;
}

static bool take_start(struct rfb_filter *f, struct buf *out)
{
        static const uint8_t shared = 1;
        switch ((enum phase)f->phase) {
        case PHASE_VERSION:
                if (memcmp(f->head, "RFB 003.007\n", VERSION_LENGTH) != 0 &&
                    memcmp(f->head, "RFB 003.008\n", VERSION_LENGTH) != 0)
                        return false;
                buf_add(out, f->head, VERSION_LENGTH);
                break;
        case PHASE_SECURITY:
                if (f->head[0] != SECURITY_NONE)
                        return false;
                buf_add(out, f->head, 1);
                break;
        case PHASE_INIT:
        case PHASE_MESSAGES:
                buf_add(out, &shared, 1); /* who watches never puts the participant out */
                break;
        }
        f->phase++;
        f->have = 0;
        return true;
}

static bool take_message(struct rfb_filter *f, const struct message *message, struct buf *out)
{
        int64_t rest = rest_of(message, f->head);
        if (rest < 0)
                return false;
        f->left = (uint64_t)rest;
        f->pass = message->rule == PASS;
        f->encodings = message->rest == ENCODINGS;
        if (f->pass)
                buf_add(out, f->head, message->head);
        f->have = 0;
        return true;
}

/* An encoding with which pointer events would get another length is asked for as Raw, which is always understood. */
static void pass_encoding(struct rfb_filter *f, uint8_t byte, struct buf *out)
{
        static const uint8_t raw[ENCODING_LENGTH] = {0};
        f->head[f->have++] = byte;
        if (f->have < ENCODING_LENGTH)
                return;
        buf_add(out, (int32_t)be32(f->head) == -316 ? raw : f->head, ENCODING_LENGTH);
        f->have = 0;
}

static size_t take_rest(struct rfb_filter *f, const uint8_t *data, size_t len, struct buf *out)
{
        size_t n = (size_t)MIN((uint64_t)len, f->left);
        for (size_t i = 0; f->encodings && i < n; i++)
                pass_encoding(f, data[i], out);
        if (f->pass && !f->encodings)
                buf_add(out, data, n);
        f->left -= n;
        return n;
}

bool rfb_filter_client(struct rfb_filter *f, const uint8_t *data, size_t len, struct buf *out)
{
        while (len > 0) {
                if (f->left > 0) {
                        size_t n = take_rest(f, data, len, out);
                        data += n;
                        len -= n;
                        continue;
                }
                f->head[f->have++] = *data++;
                len--;
                if (f->phase < PHASE_MESSAGES) {
                        if (f->have == (f->phase == PHASE_VERSION ? VERSION_LENGTH : 1) && !take_start(f, out))
                                return false;
                        continue;
                }
                const struct message *message = find(f->head[0]);
                if (!message || (f->have == message->head && !take_message(f, message, out)))
                        return false;
        }
        return true;
}
