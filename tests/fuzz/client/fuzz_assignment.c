/*
 * An allocator's answer of any content: what is good holds a code and a PIN of their alphabets and nothing else, and a
 * line of a log that holds them is shipped without them.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/token.h"
#include "client/assignment.h"
#include "client/mask.h"

static void require(bool held)
{
        if (!held)
                abort();
}

static void check_good(const struct assignment *a, const uint8_t *data, size_t len)
{
        static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_/-";
        size_t code = a->code ? strlen(a->code) : 0;
        struct mask mask = {0};
        _cleanup_buf_ struct buf out = BUF_NULL;
        /* No code at all: the participant comes by the allocator's own page. */
        require(!a->code || (code >= 10 && code <= 512 && strspn(a->code, alphabet) == code));
        require(pin_valid(a->pin));
        require(a->generation >= 0 && strlen(a->fingerprint) == 64);
        mask_set(&mask, a->code, a->pin);
        mask_line(&mask, (const char *)data, len, &out);
        require(!code || !memmem(out.data, out.len, a->code, code));
        mask_deinit(&mask);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        static bool ready;
        if (!ready)
                token_init();
        ready = true;
        _cleanup_assignment_ struct assignment a;
        _cleanup_error_ struct error error = ERROR_NULL;
        switch (assignment_read((const char *)data, len, "vm-1", &a, &error)) {
        case ASSIGNMENT_GOOD:
                check_good(&a, data, len);
                break;
        case ASSIGNMENT_REFUSED:
                require(error.code < 0 && !a.code && a.fingerprint[0]);
                break;
        case ASSIGNMENT_GARBAGE:
                require(error.code < 0 && !a.code);
                break;
        }
        return 0;
}
