/* What every test of base needs: cmocka's own headers in their order, and comparing sentences by their parts. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define assert_contains(text, part) \
        do { \
                const char *_text = (text), *_part = (part); \
                if (!strstr(_text, _part)) \
                        fail_msg("\"%s\" does not hold \"%s\"", _text, _part); \
        } while (0)
