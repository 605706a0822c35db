/*
 * What a participant hands in, of any content: refused with a sentence, or within the alphabets that a VM is sent; and
 * what was taken is taken again unchanged. A line of a log never grows by its masking.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"
#include "lab/participant.h"

#define CODE_ALPHABET "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_/-"

static void require(bool held)
{
        if (!held)
                abort();
}

static void check_email(const char *text)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_free_ char *email = NULL, *again = NULL;
        int r = participant_email(text, &email, &error);
        require((r == 0) == (email != NULL) && (r == 0 || *error_text(&error)));
        if (r < 0)
                return;
        size_t len = strlen(email);
        const char *at = strchr(email, '@');
        require(len <= EMAIL_MAX && at && at > email && at[1] && !strchr(at + 1, '@') && utf8_valid(email, len));
        for (const char *c = email; *c; c++)
                require((unsigned char)*c > 0x20 && *c != 0x7f && !(*c >= 'A' && *c <= 'Z'));
        require(participant_email(email, &again, NULL) == 0 && str_eq(email, again));
}

static void check_command(const char *text)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_free_ char *command = NULL, *again = NULL;
        int r = participant_command(text, &command, &error);
        require((r == 0) == (command != NULL) && (r == 0 || *error_text(&error)));
        if (r < 0)
                return;
        const char *code = strstr(command, "--code=");
        require(code != NULL);
        code += strlen("--code=");
        code += *code == '"' || *code == '\'';
        size_t len = strspn(code, CODE_ALPHABET);
        require(len >= CRD_CODE_MIN && len <= CRD_CODE_MAX);
        require(participant_command(command, &again, NULL) == 0 && str_eq(command, again));
}

static void check_mask(const char *text)
{
        _cleanup_free_ char *line = xstrdup(text), *again = NULL;
        mask_codes(line);
        require(strlen(line) <= strlen(text));
        again = xstrdup(line);
        mask_codes(again);
        require(str_eq(line, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_free_ char *text = xstrndup((const char *)data, size);
        check_email(text);
        check_command(text);
        check_mask(text);
        return 0;
}
