/*
 * The command comes from a stranger and ends near a VM's exec: nothing of it survives but the code, in the one alphabet
 * that Google uses, and the command that is stored is rebuilt around it.
 */
#include "lab/participant.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

int participant_email(const char *text, char **ret, struct error *error)
{
        _cleanup_free_ char *email = str_trim(xstrdup(text));
        size_t len = strlen(email);
        if (len == 0)
                return error_set(error, -EINVAL, "Please enter your e-mail address.");
        if (len > EMAIL_MAX)
                return error_set(error, -EINVAL, "This e-mail address is longer than %d characters.", EMAIL_MAX);
        if (!utf8_valid(email, len))
                return error_set(error, -EINVAL, "This e-mail address is not valid text.");
        for (size_t i = 0; i < len; i++)
                if ((unsigned char)email[i] <= ' ' || email[i] == 0x7f)
                        return error_set(error, -EINVAL, "An e-mail address holds no blanks or control characters.");
        const char *at = strchr(email, '@');
        if (!at || at == email || !at[1] || strchr(at + 1, '@'))
                return error_set(error, -EINVAL, "An e-mail address looks like name@example.org, with one @.");
        str_lower(email);
        *ret = STEAL(email);
        return 0;
}

static bool is_code_char(char c)
{
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '/' ||
               c == '-';
}

static bool is_space(char c)
{
        return c == ' ' || (c >= '\t' && c <= '\r');
}

static const char *skip_spaces(const char *p)
{
        while (is_space(*p))
                p++;
        return p;
}

/* The value that starts at `p`: a quoted text or a word. Owned by the caller; *ret_end is where it ends. */
static char *read_value(const char *p, const char **ret_end)
{
        static const char *const quotes[][2] = {
                {"\"", "\""}, {"'", "'"}, {"\xe2\x80\x9c", "\xe2\x80\x9d"}, {"\xe2\x80\x98", "\xe2\x80\x99"}};
        for (size_t i = 0; i < ARRAY_SIZE(quotes); i++) {
                size_t open = strlen(quotes[i][0]);
                if (strncmp(p, quotes[i][0], open) != 0)
                        continue;
                const char *close = strstr(p + open, quotes[i][1]);
                if (!close)
                        break;
                *ret_end = close + strlen(quotes[i][1]);
                return xstrndup(p + open, (size_t)(close - p) - open);
        }
        const char *end = p;
        while (*end && !is_space(*end))
                end++;
        *ret_end = end;
        return xstrndup(p, (size_t)(end - p));
}

/* The last --code of the command, or NULL. */
static char *find_code(const char *text)
{
        char *code = NULL;
        const char *p = text;
        while ((p = strstr(p, "--code"))) {
                bool word_start = p == text || is_space(p[-1]) || strchr("\"'", p[-1]);
                const char *value = p + strlen("--code");
                p = value;
                if (!word_start || (*value != '=' && !is_space(*value)))
                        continue;
                value = *value == '=' ? value + 1 : skip_spaces(value);
                free(code);
                code = read_value(value, &p);
        }
        return code;
}

static int check_code(const char *code, struct error *error)
{
        size_t len = strlen(code);
        if (strchr(code, '%'))
                return error_set(
                        error, -EINVAL,
                        "The code was copied from the address bar (it holds a %%). Please copy the whole command from "
                        "the Chrome Remote Desktop page.");
        for (size_t i = 0; i < len; i++)
                if (!is_code_char(code[i]))
                        return error_set(
                                error, -EINVAL,
                                "The code after --code holds a character that no Chrome Remote Desktop code has. "
                                "Please copy the command again.");
        if (len < CRD_CODE_MIN || len > CRD_CODE_MAX)
                return error_set(error, -EINVAL, "The code after --code is too %s. Please copy the whole command.",
                                 len < CRD_CODE_MIN ? "short" : "long");
        return 0;
}

int participant_command(const char *text, char **ret, struct error *error)
{
        if (strlen(text) > 8192)
                return error_set(error, -EINVAL, "This command is too long.");
        _cleanup_free_ char *code = find_code(text);
        if (!code)
                return error_set(
                        error, -EINVAL,
                        "The command must contain \"--code\". Please copy the whole Debian Linux command from the "
                        "Chrome Remote Desktop page.");
        int r = check_code(code, error);
        if (r < 0)
                return r;
        *ret = xasprintf("DISPLAY= /opt/google/chrome-remote-desktop/start-host --code=%s "
                         "--redirect-url=https://remotedesktop.google.com/_/oauthredirect",
                         code);
        return 0;
}

void mask_codes(char *line)
{
        for (char *p = line; (p = strstr(p, "--code"));) {
                p += strlen("--code");
                if (*p != '=' && !is_space(*p))
                        continue;
                for (p++; is_space(*p) || *p == '"' || *p == '\''; p++)
                        ;
                for (; *p && !is_space(*p); p++)
                        *p = '*';
        }
}
