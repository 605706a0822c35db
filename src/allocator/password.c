/*
 * The administrator's password: the configuration's, or one that is made once. The web process gets its bcrypt hash
 * alone. bcrypt is slow on purpose, so the hash is kept from one start to the next, beside a second hash of another kind
 * that is quick to check and still costly to guess from (argon2id): when the password is another, that one says so.
 */
#include <crypt.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "allocator/supervisor.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "base/token.h"

#define BCRYPT_SETTING "$2b$"
#define BCRYPT_COST 12
#define BCRYPT_LENGTH 60
#define CHECK_PASSES 1U
#define CHECK_BYTES ((size_t)8 << 20)

static int hash_password(const char *password, char **ret, struct error *error)
{
        char setting[CRYPT_GENSALT_OUTPUT_SIZE];
        struct crypt_data *data = xcalloc(1, sizeof *data);
        if (!crypt_gensalt_rn(BCRYPT_SETTING, BCRYPT_COST, NULL, 0, setting, sizeof setting)) {
                free(data);
                return error_errno(error, errno, "cannot hash the administrator's password");
        }
        const char *hash = crypt_r(password, setting, data);
        int r = hash && hash[0] == '$' ? 0 : error_set(error, -EINVAL, "cannot hash the administrator's password");
        if (r == 0)
                *ret = xstrdup(hash);
        explicit_bzero(data, sizeof *data);
        free(data);
        return r;
}

/* The hash of the last start, when it is of this password. */
static char *kept_hash(const char *path, const char *password)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        if (file_read(path, 1024, &text, NULL) < 0)
                return NULL;
        char *hash = text.data, *check = strchr(buf_str(&text), '\n');
        if (!check)
                return NULL;
        *check++ = '\0';
        str_trim(check);
        bool good = strlen(hash) == BCRYPT_LENGTH && str_starts(hash, BCRYPT_SETTING) &&
                    strlen(check) < crypto_pwhash_STRBYTES &&
                    crypto_pwhash_str_needs_rehash(check, CHECK_PASSES, CHECK_BYTES) == 0 &&
                    crypto_pwhash_str_verify(check, password, strlen(password)) == 0;
        return good ? xstrdup(hash) : NULL;
}

/* That it cannot be kept costs the next start a moment, and nothing else. */
static void keep_hash(const char *path, const char *password, const char *hash)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        char check[crypto_pwhash_STRBYTES];
        if (crypto_pwhash_str(check, password, strlen(password), CHECK_PASSES, CHECK_BYTES) != 0)
                return;
        _cleanup_free_ char *text = xasprintf("%s\n%s\n", hash, check);
        if (file_write(path, text, strlen(text), 0600, &error) < 0)
                log_warning("the hash of the administrator's password is not kept: %s", error_text(&error));
}

static int find_hash(struct supervisor *s, struct error *error)
{
        const char *password = s->admin_password;
        if (str_starts(password, "$2b$") || str_starts(password, "$2y$")) {
                s->admin_hash = xstrdup(password);
                return 0;
        }
        _cleanup_free_ char *path = path_join(s->state_dir, "admin-hash");
        s->admin_hash = kept_hash(path, password);
        if (s->admin_hash)
                return 0;
        int r = hash_password(password, &s->admin_hash, error);
        if (r == 0)
                keep_hash(path, password, s->admin_hash);
        return r;
}

/* Made once, kept with mode 0600. */
static int own_password(struct supervisor *s, struct error *error)
{
        _cleanup_free_ char *path = path_join(s->state_dir, "admin-password");
        _cleanup_buf_ struct buf text = BUF_NULL;
        if (file_read(path, 1024, &text, NULL) == 0) {
                s->admin_password = str_trim(xstrdup(buf_str(&text)));
                if (*s->admin_password)
                        return 0;
        }
        free(s->admin_password);
        s->admin_password = token_password();
        s->password_new = true;
        _cleanup_free_ char *line = xasprintf("%s\n", s->admin_password);
        return file_write(path, line, strlen(line), 0600, error);
}

int prepare_password(struct supervisor *s, struct error *error)
{
        const char *configured = s->config->app.admin_password;
        s->password_made = !*configured;
        if (!s->password_made)
                s->admin_password = xstrdup(configured);
        int r = s->password_made ? own_password(s, error) : 0;
        return r < 0 ? r : find_hash(s, error);
}
