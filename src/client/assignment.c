/*
 * Only the value of --code is taken from the command, by its alphabet; everything else of what a participant pasted is
 * dropped. So nothing here has to know what a shell would make of it.
 */
#include "client/assignment.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "base/token.h"

#define CODE_LEAST 10
#define CODE_MOST 512
#define PIN_LEAST 6
#define PIN_MOST 10

static const char blanks[] = " \t\r\n\v\f";
static const char digits[] = "0123456789";

/* Opening and closing marks that people paste around the code. */
static const char *const quotes[][2] = {
        {"\"", "\""}, {"'", "'"}, {"\xe2\x80\x9c", "\xe2\x80\x9d"}, {"\xe2\x80\x98", "\xe2\x80\x99"}};

bool pin_valid(const char *pin)
{
        size_t len = strlen(pin);
        return len >= PIN_LEAST && len <= PIN_MOST && strspn(pin, digits) == len;
}

static bool code_valid(const char *code)
{
        static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_/-";
        size_t len = strlen(code);
        return len >= CODE_LEAST && len <= CODE_MOST && strspn(code, alphabet) == len;
}

static char *strip_quotes(const char *word, size_t len)
{
        for (size_t i = 0; i < ARRAY_SIZE(quotes); i++) {
                size_t open = strlen(quotes[i][0]), close = strlen(quotes[i][1]);
                if (len >= open + close && memcmp(word, quotes[i][0], open) == 0 &&
                    memcmp(word + len - close, quotes[i][1], close) == 0)
                        return xstrndup(word + open, len - open - close);
        }
        return xstrndup(word, len);
}

char *crd_code(const char *command, struct error *error)
{
        _cleanup_free_ char *code = NULL;
        bool expected = false;
        for (const char *at = command + strspn(command, blanks); *at; at += strspn(at, blanks)) {
                size_t len = strcspn(at, blanks);
                const char *value = expected ? at : NULL;
                if (!expected && len >= 7 && strncmp(at, "--code=", 7) == 0)
                        value = at + 7;
                expected = !expected && len == 6 && strncmp(at, "--code", 6) == 0;
                if (value) {
                        free(code);
                        code = strip_quotes(value, (size_t)(at + len - value));
                }
                at += len;
        }
        if (!code || expected) {
                error_set(error, -EINVAL, "the command has no --code");
                return NULL;
        }
        if (!code_valid(code)) {
                error_set(error, -EINVAL,
                          "the value of --code is not a code: %d to %d characters of 0-9 A-Z a-z _ / - are", CODE_LEAST,
                          CODE_MOST);
                return NULL;
        }
        return STEAL(code);
}

static void take_fingerprint(struct assignment *out, const char *command, const char *pin)
{
        _cleanup_free_ char *both = xasprintf("%s\n%s", command, pin);
        token_hash(both, out->fingerprint);
}

/* A missing generation is a deployed allocator's; one that is there must be a positive number. */
static int take_generation(const json_t *object, struct assignment *out, struct error *error)
{
        json_t *value = json_object_get(object, "generation");
        if (!value || json_is_null(value))
                return 0;
        if (!json_is_integer(value) || json_integer_value(value) <= 0)
                return error_set(error, -EINVAL, "the answer's generation is no positive number");
        out->generation = json_integer_value(value);
        return 0;
}

/* Texts with a NUL inside would be cut by everything that follows. */
static const char *plain_string(const json_t *object, const char *key)
{
        const json_t *value = json_object_get(object, key);
        const char *text = json_string_value(value);
        return text && strlen(text) == json_string_length(value) ? text : NULL;
}

static int check_envelope(const json_t *object, const char *hostname, struct error *error)
{
        const char *status = plain_string(object, "status");
        const char *named = plain_string(object, "hostname");
        if (!status || strcmp(status, "success") != 0)
                return error_set(error, -EINVAL, "the answer's status is not \"success\"");
        if (named && strcmp(named, hostname) != 0)
                return error_set(error, -EINVAL, "the answer is meant for another VM");
        return 0;
}

static enum assignment_kind read_object(const json_t *object, const char *hostname, struct assignment *out,
                                        struct error *error)
{
        const char *command = plain_string(object, "command"), *pin = plain_string(object, "pin");
        if (check_envelope(object, hostname, error) < 0 || take_generation(object, out, error) < 0)
                return ASSIGNMENT_GARBAGE;
        if (!command || !pin) {
                error_set(error, -EINVAL, "the answer lacks %s", command ? "a PIN" : "a command");
                return ASSIGNMENT_GARBAGE;
        }
        take_fingerprint(out, command, pin);
        out->email = xstrdup(plain_string(object, "email"));
        if (!pin_valid(pin)) {
                error_set(error, -EINVAL, "the PIN is not %d to %d digits", PIN_LEAST, PIN_MOST);
                return ASSIGNMENT_REFUSED;
        }
        out->pin = xstrdup(pin);
        if (!*command) /* the participant comes by the allocator's own page */
                return ASSIGNMENT_GOOD;
        out->code = crd_code(command, error);
        return out->code ? ASSIGNMENT_GOOD : ASSIGNMENT_REFUSED;
}

enum assignment_kind assignment_read(const char *body, size_t len, const char *hostname, struct assignment *out,
                                     struct error *error)
{
        *out = (struct assignment){0};
        _cleanup_json_ json_t *object = json_read(body, len, NULL); /* its sentence may quote a secret */
        if (!json_is_object(object)) {
                error_set(error, -EINVAL, "the answer is no JSON object");
                return ASSIGNMENT_GARBAGE;
        }
        return read_object(object, hostname, out, error);
}

void assignment_deinit(struct assignment *assignment)
{
        free(assignment->code);
        free(assignment->pin);
        free(assignment->email);
        *assignment = (struct assignment){0};
}
