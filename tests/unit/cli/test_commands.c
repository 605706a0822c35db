/* The table of commands: each is found, has help, and what is nearly one is guessed. */
#include "cli/commands.h"

#include "base/text.h"
#include "unit.h"

static void each_is_found_by_its_words(void **state _unused_)
{
        for (const struct command *command = commands; command->name; command++) {
                _cleanup_strv_ char **words = str_split(command->name, ' ');
                int n = words[1] ? 2 : 1, named = 0;
                assert_ptr_equal(command_find(n, words, &named, NULL), command);
                assert_int_equal(named, n);
                char *more[] = {words[0], n == 2 ? words[1] : (char *)"x", (char *)"y"};
                assert_ptr_equal(command_find(3, more, &named, NULL), command);
        }
}

static void refused(const char *first, const char *second, const char *part)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        char *words[] = {(char *)first, (char *)second};
        int named;
        assert_null(command_find(second ? 2 : 1, words, &named, &error));
        assert_int_equal(error.code, -EINVAL);
        assert_contains(error_text(&error), part);
}

static void the_rest_is_told_what_is_near(void **state _unused_)
{
        refused("lunch", NULL, "did you mean `launch`?");
        refused("lunch", "3", "did you mean `launch`?");
        refused("vms", "list", "did you mean `vm list`?");
        refused("vm", NULL, "vm needs a verb: list, show, watch, release, exec, shell");
        refused("vm", "lst", "vm has no verb lst, only list, ");
        refused("operation", NULL, "operation needs a verb: list, show, watch, cancel");
        refused("something-else", NULL, "--help lists the commands");
        refused("vm list", NULL, "unknown command");
        refused("", NULL, "unknown command");
}

static void each_has_its_texts(void **state _unused_)
{
        struct options options = {0};
        for (const struct command *command = commands; command->name; command++) {
                assert_non_null(command->run);
                if (!str_ends(command->help, "."))
                        fail_msg("the help of %s is no sentence", command->name);
                assert_true((command->arguments != NULL) == (command->most > 0));
                assert_true(command->least <= command->most);
                struct opt opts[COMMAND_OPTIONS_MAX];
                command_options(command, &options, opts);
                for (const struct opt *opt = opts; opt->name; opt++)
                        for (const struct opt *other = opt + 1; other->name; other++)
                                assert_false(str_eq(opt->name, other->name) ||
                                             (opt->letter && opt->letter == other->letter));
        }
}

static void help_shows_where_options_stand(void **state _unused_)
{
        struct options options = {0};
        char *words[] = {(char *)"vm", (char *)"exec"};
        int named;
        _cleanup_(usage_room_deinit) struct usage_room room = {0};
        const struct usage *usage = command_usage(command_find(2, words, &named, NULL), &options, &room);
        assert_string_equal(usage->program, "lablink vm exec");
        assert_string_equal(usage->synopses[0], "NAME [--root] -- COMMAND [ARGUMENT...]");
        _cleanup_(usage_room_deinit) struct usage_room whole = {0};
        usage = command_usage(NULL, &options, &whole);
        size_t n = 0;
        while (usage->verbs[n].name)
                n++;
        assert_true(n > 15);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_is_found_by_its_words),
                cmocka_unit_test(the_rest_is_told_what_is_near),
                cmocka_unit_test(each_has_its_texts),
                cmocka_unit_test(help_shows_where_options_stand),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
