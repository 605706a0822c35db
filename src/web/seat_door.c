/*
 * The return code is eight letters and digits without look-alikes, to be written down; typed back in any case, with or
 * without its dash. Guessing is limited by e-mail and by address (web/claim.c), so 39 bits are far more than enough.
 */
#include "web/seat_door.h"

#include <ctype.h>
#include <sodium.h>
#include <string.h>

#include "base/text.h"

#define COOKIE "lablink_seat"
#define CODE_COOKIE "lablink_return"
#define KEPT_SECONDS "2592000" /* 30 days; a seat that is released before ends its cookies */
#define GROUP 4

static const char alphabet[] = "23456789ABCDEFGHJKMNPQRSTUVWXYZ";

void return_code_make(char out[RETURN_CODE_SIZE])
{
        for (int i = 0; i < RETURN_CODE_SIZE - 1; i++)
                out[i] = i == GROUP ? '-' : alphabet[randombytes_uniform(sizeof alphabet - 1)];
        out[RETURN_CODE_SIZE - 1] = '\0';
}

bool return_code_read(const char *typed, char out[RETURN_CODE_SIZE])
{
        int n = 0;
        for (; *typed; typed++) {
                char c = (char)toupper((unsigned char)*typed);
                if (isspace((unsigned char)c) || c == '-')
                        continue;
                if (n == RETURN_CODE_SIZE - 1 || !strchr(alphabet, c))
                        return false;
                if (n == GROUP)
                        out[n++] = '-';
                out[n++] = c;
        }
        out[n] = '\0';
        return n == RETURN_CODE_SIZE - 1;
}

bool seat_cookie_hash(struct task *t, char out[TOKEN_HASH_LENGTH + 1])
{
        const char *cookie = request_cookie(t, COOKIE);
        if (!cookie || strlen(cookie) != TOKEN_LENGTH)
                return false;
        token_hash(cookie, out);
        return true;
}

static void set(struct task *t, const char *name, const char *value, const char *path, const char *same_site)
{
        bool secure = str_starts(web_of(t)->public_url, "https:");
        _cleanup_free_ char *header = xasprintf("%s=%s; Path=%s; Max-Age=%s; HttpOnly; SameSite=%s%s", name,
                                                value ? value : "", path, value ? KEPT_SECONDS : "0", same_site,
                                                secure ? "; Secure" : "");
        reply_header(t, "Set-Cookie", header);
}

void seat_code_set(struct task *t, const char *code)
{
        set(t, CODE_COOKIE, code, "/desktop", "Strict");
}

void seat_cookie_set(struct task *t, const char *cookie)
{
        set(t, COOKIE, cookie, "/", "Lax");
        if (!cookie)
                seat_code_set(t, NULL);
}

bool seat_code_kept(struct task *t, char out[RETURN_CODE_SIZE])
{
        const char *code = request_cookie(t, CODE_COOKIE);
        return code && return_code_read(code, out);
}
