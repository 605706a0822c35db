/*
 * The administrator's password. bcrypt is slow on purpose, so a good check is remembered by a keyed hash of the header
 * and by a cookie; at most two checks run at once on helper threads, and failed log-ins slow their address down. The key
 * lives as long as the process: after a restart browsers send the password again by themselves.
 */
#include <crypt.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/text.h"
#include "base/token.h"
#include "web/principal.h"

#define COOKIE "lablink_admin"
#define COOKIE_SECONDS 43200
#define CHECKS_AT_ONCE 2
#define WAIT_MS 50 /* for a free thread, before looking again */
#define FAILURES_A_MINUTE 10
#define PENALTY_MAX_MS 300000

struct login {
        char *user, *hash;
        unsigned char key[crypto_auth_KEYBYTES];
        unsigned char good[crypto_auth_BYTES]; /* keyed hash of the header that was right */
        bool has_good;
        int running;
        struct limiter *failures;
};

struct login *login_new(const char *user, const char *bcrypt_hash)
{
        struct login *login = xcalloc(1, sizeof *login);
        login->user = xstrdup(user);
        login->hash = xstrdup(bcrypt_hash);
        crypto_auth_keygen(login->key);
        login->failures = limiter_new(FAILURES_A_MINUTE, 60000, PENALTY_MAX_MS);
        return login;
}

struct login *login_free(struct login *login)
{
        if (!login)
                return NULL;
        limiter_free(login->failures);
        sodium_memzero(login->key, sizeof login->key);
        free(login->user);
        free(login->hash);
        free(login);
        return NULL;
}

/* --- cookie: "EXPIRY.MAC" ------------------------------------------------------------------------------------------ */

static void cookie_mac(const struct login *login, const char *expiry, char out[crypto_auth_BYTES * 2 + 1])
{
        unsigned char mac[crypto_auth_BYTES];
        _cleanup_free_ char *message = xasprintf("admin-cookie:%s", expiry);
        crypto_auth(mac, (const unsigned char *)message, strlen(message), login->key);
        sodium_bin2hex(out, crypto_auth_BYTES * 2 + 1, mac, sizeof mac);
}

static bool cookie_good(const struct login *login, const char *cookie)
{
        char expiry[32], mac[crypto_auth_BYTES * 2 + 1];
        int64_t until;
        const char *dot = cookie ? strchr(cookie, '.') : NULL;
        if (!dot || dot - cookie >= (ptrdiff_t)sizeof expiry)
                return false;
        snprintf(expiry, sizeof expiry, "%.*s", (int)(dot - cookie), cookie);
        if (parse_int(expiry, 0, INT64_MAX, &until) < 0 || until < (int64_t)time(NULL))
                return false;
        cookie_mac(login, expiry, mac);
        return token_equal(mac, dot + 1);
}

static void set_cookie(struct login *login, struct task *t)
{
        char expiry[32], mac[crypto_auth_BYTES * 2 + 1];
        snprintf(expiry, sizeof expiry, "%lld", (long long)time(NULL) + COOKIE_SECONDS);
        cookie_mac(login, expiry, mac);
        bool secure = str_starts(web_of(t)->public_url, "https:");
        _cleanup_free_ char *value = xasprintf(COOKIE "=%s.%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Strict%s", expiry,
                                               mac, COOKIE_SECONDS, secure ? "; Secure" : "");
        reply_header(t, "Set-Cookie", value);
}

/* --- password ------------------------------------------------------------------------------------------------------ */

static void header_mac(const struct login *login, const char *header, unsigned char out[crypto_auth_BYTES])
{
        crypto_auth(out, (const unsigned char *)header, strlen(header), login->key);
}

bool login_known(struct login *login, struct task *t)
{
        const char *header = request_header(t, "Authorization");
        unsigned char mac[crypto_auth_BYTES];
        if (cookie_good(login, request_cookie(t, COOKIE)))
                return true;
        if (!header || !login->has_good)
                return false;
        header_mac(login, header, mac);
        if (sodium_memcmp(mac, login->good, sizeof mac) != 0)
                return false;
        set_cookie(login, t); /* a page's socket carries no password, only the cookie */
        return true;
}

struct check {
        char user[256], password[1024];
        char *hash;
        struct login *login;
        bool good;
};

static void check_free(struct check *check)
{
        sodium_memzero(check->password, sizeof check->password);
        free(check->hash);
        free(check);
}

/* On a helper thread. */
static void check_work(void *argument)
{
        struct check *check = argument;
        struct crypt_data *data = xcalloc(1, sizeof *data);
        const char *made = crypt_r(check->password, check->hash, data);
        check->good = made && token_equal(made, check->hash);
        sodium_memzero(data, sizeof *data);
        free(data);
}

/* "Basic base64(user:password)" (RFC 7617). */
static bool read_basic(const char *header, struct check *check)
{
        unsigned char text[1280];
        size_t len;
        if (!header || strncasecmp(header, "Basic ", 6) != 0)
                return false;
        const char *encoded = header + 6 + strspn(header + 6, " ");
        if (sodium_base642bin(text, sizeof text - 1, encoded, strlen(encoded), NULL, &len, NULL,
                              sodium_base64_VARIANT_ORIGINAL) < 0)
                return false;
        text[len] = '\0';
        char *colon = memchr(text, ':', len);
        if (!colon || strlen((char *)text) != len || colon - (char *)text >= (ptrdiff_t)sizeof check->user)
                return false;
        *colon = '\0';
        snprintf(check->user, sizeof check->user, "%s", (char *)text);
        snprintf(check->password, sizeof check->password, "%s", colon + 1);
        sodium_memzero(text, sizeof text);
        return strlen(check->password) < sizeof check->password - 1;
}

static int ask(struct task *t)
{
        reply_header(t, "WWW-Authenticate", "Basic realm=\"LabLink administration\", charset=\"UTF-8\"");
        return reply_error(t, 401, "log-in",
                           "Please log in as the administrator. `lablink admin password` shows the password.");
}

/* The client went away meanwhile. */
static void discard(void *argument)
{
        struct check *check = argument;
        check->login->running--;
        check_free(check);
}

static int checked(struct task *t);

static int blocked(struct task *t, int64_t wait_ms)
{
        char seconds[24];
        snprintf(seconds, sizeof seconds, "%lld", (long long)(wait_ms / 1000 + 1));
        reply_header(t, "Retry-After", seconds);
        return reply_error(t, 429, "too-many-log-ins",
                           "Too many failed log-ins from this address. Please wait %s seconds.", seconds);
}

/* A check belongs to the request while it waits for a free thread, and to the thread while it runs. Whoever waited is
 * looked at again: others of its address may have used up its tries, or have shown that the password is right. */
static int check_start(struct task *t)
{
        struct login *login = web_of(t)->login;
        int64_t wait = limiter_blocked(login->failures, request_address(t));
        if (login_known(login, t)) {
                web_become_admin(t);
                return http_proceed(t);
        }
        if (wait > 0)
                return blocked(t, wait);
        if (login->running >= CHECKS_AT_ONCE)
                return sleep_await(t, WAIT_MS, check_start);
        struct check *check = xcalloc(1, sizeof *check);
        if (!read_basic(request_header(t, "Authorization"), check) || !token_equal(check->user, login->user)) {
                check_free(check);
                limiter_count(login->failures, request_address(t));
                return ask(t);
        }
        check->hash = xstrdup(login->hash);
        check->login = login;
        login->running++;
        principal_of(t)->check = check;
        return work_await(t, check_work, check, discard, checked);
}

static int checked(struct task *t)
{
        struct login *login = web_of(t)->login;
        struct check *check = principal_of(t)->check;
        bool good = check->good;
        login->running--;
        check_free(check);
        if (!good) {
                limiter_count(login->failures, request_address(t));
                return ask(t);
        }
        limiter_forget(login->failures, request_address(t));
        header_mac(login, request_header(t, "Authorization"), login->good);
        login->has_good = true;
        set_cookie(login, t);
        web_become_admin(t);
        return http_proceed(t);
}

int login_check(struct task *t)
{
        const char *header = request_header(t, "Authorization");
        if (!header || strncasecmp(header, "Basic ", 6) != 0)
                return ask(t);
        return check_start(t);
}
