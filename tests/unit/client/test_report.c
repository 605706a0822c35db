/* The words of boot scripts as JSON. */
#include "place.h"

#include <string.h>

#include "client/report.h"

static char *body(const char *const *words)
{
        _cleanup_json_ json_t *object = report_metrics_body(words, NULL);
        return object ? json_text(object) : NULL;
}

static void test_values(void **state _unused_)
{
        _cleanup_free_ char *text = body((const char *const[]){"a=1732500000", "b=0.125", "c=2026-11-25T03:30:22Z",
                                                               "d=", "e=x=y", "f=nan", NULL});
        assert_string_equal(
                text,
                "{\"a\":1732500000,\"b\":0.125,\"c\":\"2026-11-25T03:30:22Z\",\"d\":\"\",\"e\":\"x=y\",\"f\":\"nan\"}");
}

static void test_refused(void **state _unused_)
{
        assert_null(body((const char *const[]){NULL}));
        assert_null(body((const char *const[]){"a", NULL}));
        assert_null(body((const char *const[]){"=1", NULL}));
        assert_null(body((const char *const[]){"a=\xff", NULL}));
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_refused)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
