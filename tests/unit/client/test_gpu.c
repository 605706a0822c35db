/* A fake nvidia-smi in front of the PATH and, as a second run of the same tests, a fake library. */
#include "place.h"

#include <stdio.h>
#include <string.h>

#include "client/gpu.h"

static bool library;

static void use_smi(const struct place *place, const char *script)
{
        char path[256];
        if (script)
                place_write(place, "nvidia-smi", script, 0755);
        snprintf(path, sizeof path, "%s", place->directory);
        setenv("PATH", path, 1);
}

static void assert_gpu(enum gpu expected, const char *word)
{
        _cleanup_free_ char *why = NULL;
        assert_int_equal(gpu_check(&why), expected);
        assert_int_equal(why != NULL, word != NULL);
        if (word)
                assert_non_null(strstr(why, word));
}

static void test_smi(void **state)
{
        setenv("FAKE_NVML", "dead", 1);
        use_smi(*state, "#!/bin/sh\necho lots of output; echo more >&2; exit 0\n");
        assert_gpu(GPU_HEALTHY, NULL);
        use_smi(*state, "#!/bin/sh\nexit 9\n");
        assert_gpu(GPU_UNHEALTHY, "nvidia-smi: exit 9");
        use_smi(*state, "#!/bin/sh\nkill -9 $$\n");
        assert_gpu(GPU_UNHEALTHY, "nvidia-smi: killed by signal 9");
        use_smi(*state, "#!/no/such/interpreter\n");
        assert_gpu(GPU_UNHEALTHY, "nvidia-smi: ");
}

static void test_nothing(void **state)
{
        setenv("FAKE_NVML", "dead", 1);
        use_smi(*state, NULL);
        if (library)
                assert_gpu(GPU_UNHEALTHY, "NVML error 9");
        else
                assert_gpu(GPU_NONE, NULL);
}

static void test_library(void **state)
{
        if (!library)
                skip();
        use_smi(*state, "#!/bin/sh\nexit 77\n"); /* not asked */
        setenv("FAKE_NVML", "good", 1);
        assert_gpu(GPU_HEALTHY, NULL);
        setenv("FAKE_NVML", "none", 1);
        assert_gpu(GPU_NONE, NULL);
        setenv("FAKE_NVML", "lost", 1);
        assert_gpu(GPU_UNHEALTHY, "GPU 0 does not answer: NVML error 15");
}

static void test_words(void **state _unused_)
{
        enum gpu gpu;
        assert_int_equal(gpu_parse("Healthy", 7, &gpu), 0);
        assert_int_equal(gpu, GPU_HEALTHY);
        assert_int_equal(gpu_parse("N/A", 3, &gpu), 0);
        assert_int_equal(gpu, GPU_NONE);
        assert_true(gpu_parse("Health", 6, &gpu) < 0);
        assert_true(gpu_parse("", 0, &gpu) < 0);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_smi, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_nothing, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_library, place_setup, place_teardown),
                cmocka_unit_test(test_words),
        };
        library = argc > 1 && strcmp(argv[1], "library") == 0;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
