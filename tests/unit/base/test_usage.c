/* One table: what it parses, what it refuses with which words, what it prints. */
#include "base/usage.h"

#include "base/buf.h"
#include "unit.h"

struct values {
        bool force;
        const char *name;
        struct opt_strings sets;
};

static struct values values;

static const struct opt options[] = {
        {"force", 'f', OPT_FLAG, NULL, "Do it.", &values.force},
        {"name", 'n', OPT_STRING, "NAME", "Its name.", &values.name},
        {"set", 0, OPT_STRINGS, "KEY=VALUE", "One value.", &values.sets},
        {NULL},
};

static const struct verb verbs[] = {
        {"launch", "N", "Launches.", NULL},
        {"vm exec", "NAME -- COMMAND", "Runs.", options},
        {NULL},
};

static const char *const environment[][2] = {{"TESTER_HOME", "Where it lives."}, {NULL, NULL}};

static const struct usage usage = {
        .program = "tester",
        .summary = "tests a table",
        .synopses = (const char *const[]){"[OPTION...] COMMAND", NULL},
        .description = "First paragraph.\n\n.Second begins with a dot - and a \\ backslash.\n'Third line.",
        .options = options,
        .verbs = verbs,
        .environment = environment,
        .exits = "0 when all went well.",
};

static int argc;
static char *words[80];

static int parse(bool stop_at_word, struct error *error, const char *first, ...)
{
        va_list args;
        values = (struct values){0};
        argc = 0;
        words[argc++] = "tester";
        va_start(args, first);
        for (const char *word = first; word; word = va_arg(args, const char *))
                words[argc++] = (char *)word;
        va_end(args);
        words[argc] = NULL;
        return usage_parse(&usage, options, stop_at_word, &argc, words, error);
}

static void options_stand_anywhere(void **state _unused_)
{
        assert_int_equal(parse(false, NULL, "a", "--force", "b", "-nx", "--set=k=v", "--set", "w", "-", NULL), 0);
        assert_true(values.force);
        assert_string_equal(values.name, "x");
        assert_int_equal(values.sets.n, 2);
        assert_string_equal(values.sets.values[0], "k=v");
        assert_string_equal(values.sets.values[1], "w");
        assert_null(values.sets.values[2]);
        assert_int_equal(argc, 4);
        assert_string_equal(words[1], "a");
        assert_string_equal(words[2], "b");
        assert_string_equal(words[3], "-");
        assert_null(words[4]);
}

static void two_dashes_end_them(void **state _unused_)
{
        assert_int_equal(parse(false, NULL, "vm", "--", "--force", "--", "-n", NULL), 0);
        assert_false(values.force);
        assert_int_equal(argc, 5);
        assert_string_equal(words[2], "--force");
        assert_string_equal(words[3], "--");
        assert_string_equal(words[4], "-n");
}

static void may_stop_at_the_first_word(void **state _unused_)
{
        assert_int_equal(parse(true, NULL, "--name", "x", "launch", "--unknown", NULL), 0);
        assert_string_equal(values.name, "x");
        assert_int_equal(argc, 3);
        assert_string_equal(words[1], "launch");
        assert_string_equal(words[2], "--unknown");
        assert_int_equal(parse(false, NULL, NULL), 0);
        assert_int_equal(argc, 1);
}

static void later_values_win_and_may_be_empty(void **state _unused_)
{
        assert_int_equal(parse(false, NULL, "-n", "a", "--name=", NULL), 0);
        assert_string_equal(values.name, "");
        assert_int_equal(parse(false, NULL, "--name", "--force", NULL), 0);
        assert_string_equal(values.name, "--force");
        assert_false(values.force);
}

static void refused(const char *part, const char *word, const char *second)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        assert_int_equal(parse(false, &error, word, second, NULL), -EINVAL);
        assert_contains(error_text(&error), part);
        assert_null(strstr(error_text(&error), "hunter2"));
}

static void refusals_name_the_option(void **state _unused_)
{
        refused("unknown option --forse; did you mean --force?", "--forse", NULL);
        refused("unknown option --nam; did you mean --name?", "--nam=hunter2", NULL);
        refused("unknown option --password; --help lists", "--password=hunter2", NULL);
        refused("unknown option -x", "-x", NULL);
        refused("unknown option --", "--=", NULL);
        refused("--name needs a value: NAME", "--name", NULL);
        refused("--name needs a value: NAME", "-n", NULL);
        refused("--force takes no value", "--force=yes", NULL);
        refused("--force takes no value", "-fx", NULL);
}

static void lists_are_limited(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        values = (struct values){0};
        argc = 0;
        words[argc++] = "tester";
        for (int i = 0; i < 70; i++)
                words[argc++] = "--set=a";
        words[argc] = NULL;
        assert_int_equal(usage_parse(&usage, options, false, &argc, words, &error), -EINVAL);
        assert_contains(error_text(&error), "--set is given too often");
        assert_null(values.sets.values[63]);
}

static char *printed(void (*print)(const struct usage *usage, FILE *out))
{
        char *text = NULL;
        size_t len;
        FILE *out = open_memstream(&text, &len);
        print(&usage, out);
        fclose(out);
        return text;
}

static void help_tells_all(void **state _unused_)
{
        _cleanup_free_ char *text = printed(usage_print);
        static const char *const parts[] = {"tester - tests a table\n",
                                            "Usage: tester [OPTION...] COMMAND\n",
                                            "  -f, --force ",
                                            "      --set KEY=VALUE ",
                                            "  vm exec NAME -- COMMAND ",
                                            "  -h, --help ",
                                            "      --man ",
                                            "TESTER_HOME ",
                                            "0 when all went well."};
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
                assert_contains(text, parts[i]);
}

static void manual_is_roff(void **state _unused_)
{
        _cleanup_free_ char *text = printed(usage_print_man);
        static const char *const parts[] = {".TH \"tester\" 1 ",
                                            "\n.SH NAME\n",
                                            "\n.SH SYNOPSIS\n",
                                            "\n.SH COMMANDS\n",
                                            "\n.SH OPTIONS\n",
                                            "\n.SH ENVIRONMENT\n",
                                            "\n.SH EXIT STATUS\n",
                                            "First paragraph.\n.PP\n",
                                            "\n\\&.Second begins with a dot \\- and a \\e backslash.\n\\&'Third",
                                            "\n.TP\n\\fB\\-f\\fR, \\fB\\-\\-force\\fR\n"};
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
                assert_contains(text, parts[i]);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(options_stand_anywhere),
                cmocka_unit_test(two_dashes_end_them),
                cmocka_unit_test(may_stop_at_the_first_word),
                cmocka_unit_test(later_values_win_and_may_be_empty),
                cmocka_unit_test(refusals_name_the_option),
                cmocka_unit_test(lists_are_limited),
                cmocka_unit_test(help_tells_all),
                cmocka_unit_test(manual_is_roff),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
