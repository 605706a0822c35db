/*
 * generate-init-sql: what a superuser runs once on an external database. Only role, database and rights: the tables and
 * the trigger are made by the allocator's own migrations when it first starts, as that role.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "base/usage.h"
#include "config/config.h"

static const char *config_file;
static struct opt_strings sets;

static const struct opt options[] = {
        {"config", 'c', OPT_STRING, "FILE", "The configuration; left out: the usual places.", &config_file},
        {"set", 0, OPT_STRINGS, "KEY=VALUE", "Set one value of the configuration.", &sets},
        {NULL},
};

static const struct usage usage = {
        .program = "generate-init-sql",
        .summary = "print the SQL that prepares an external database for LabLink",
        .synopses = (const char *const[]){"[--config FILE] [--set KEY=VALUE]", NULL},
        .description = "Prints the statements that make LabLink's role and database, for a superuser to run once:\n\n"
                       "  generate-init-sql --config config.yaml | psql -v ON_ERROR_STOP=1 -U postgres\n\n"
                       "The output holds the role's password. The embedded database needs none of this.",
        .options = options,
        .exits =
                "0 when the SQL was printed, 1 when the configuration is not valid or lacks a password, 2 for a wrong\n"
                "command line.",
};

struct target {
        const char *user, *password, *dbname;
};

/* Every quote doubled; a backslash would be an escape on servers with old settings, hence E''. */
static void print_quoted(const char *text, char quote)
{
        if (quote == '\'' && strchr(text, '\\'))
                putchar('E');
        putchar(quote);
        for (; *text; text++) {
                if (*text == quote || (quote == '\'' && *text == '\\'))
                        putchar(*text);
                putchar(*text);
        }
        putchar(quote);
}

static void print_identifier(const char *before, const char *name, const char *after)
{
        fputs(before, stdout);
        print_quoted(name, '"');
        fputs(after, stdout);
}

static void print_sql(const struct target *target)
{
        puts("-- Role and database of LabLink, for a superuser to run once. Its tables and its trigger are not here: "
             "the\n"
             "-- allocator makes them, as this role, when it first starts (and changes them when it is upgraded).");
        print_identifier("create role ", target->user, " login password ");
        print_quoted(target->password, '\'');
        puts(";");
        print_identifier("create database ", target->dbname, " owner ");
        print_identifier("", target->user, " encoding 'UTF8' template template0;\n");
        print_identifier("revoke all on database ", target->dbname, " from public;\n");
        print_identifier("grant connect, create, temporary on database ", target->dbname, " to ");
        print_identifier("", target->user, ";\n");
}

static void read_target(const PQconninfoOption *list, struct target *target)
{
        for (const PQconninfoOption *option = list; option->keyword; option++) {
                if (strcmp(option->keyword, "user") == 0)
                        target->user = str_or(option->val, "");
                else if (strcmp(option->keyword, "password") == 0)
                        target->password = str_or(option->val, "");
                else if (strcmp(option->keyword, "dbname") == 0)
                        target->dbname = str_or(option->val, "");
        }
}

/* Why no SQL can be made of it, or NULL. */
static const char *target_fault(const struct target *target)
{
        if (!*target->user)
                return "the configuration names no database user (db.user, or in db.url)";
        if (!*target->dbname)
                return "the configuration names no database (db.dbname, or in db.url)";
        if (!*target->password)
                return "the configuration has no password for the role: set db.password, LABLINK_DB_PASSWORD or "
                       "LABLINK_DB_PASSWORD_FILE";
        if (str_starts(target->password, "PLACEHOLDER_"))
                return "db.password is still the placeholder: choose a password first";
        return NULL;
}

static int generate(const struct config *config, struct error *error)
{
        char *message = NULL;
        _cleanup_free_ char *conninfo = config_db_conninfo(config);
        PQconninfoOption *list = PQconninfoParse(conninfo, &message);
        if (!list) {
                error_set(error, -EINVAL, "db.url is not valid");
                PQfreemem(message); /* not shown: it may hold the password */
                return -EINVAL;
        }
        struct target target = {.user = "", .password = "", .dbname = ""};
        read_target(list, &target);
        const char *fault = target_fault(&target);
        int r = fault ? error_set(error, -EINVAL, "%s", fault) : 0;
        if (!fault)
                print_sql(&target);
        PQconninfoFree(list);
        return r;
}

static int load_and_generate(struct error *error)
{
        _cleanup_buf_ struct buf problems = BUF_NULL;
        _cleanup_config_ struct config *config = NULL;
        const struct config_input input = {.file = config_file, .sets = sets.values};
        if (config_load(&input, &config, &problems) == 0)
                return generate(config, error);
        str_trim(problems.data);
        return error_set(error, -EINVAL, "the configuration is not valid\n%s", buf_str(&problems));
}

int main(int argc, char **argv)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        log_setup("generate-init-sql", LOG_LEVEL_WARNING);
        int r = usage_parse(&usage, options, false, &argc, argv, &error);
        if (r > 0)
                return EXIT_SUCCESS;
        if (r == 0 && argc > 1)
                r = error_set(&error, -EINVAL, "unexpected word %s; --help says more", argv[1]);
        if (r == 0 && load_and_generate(&error) == 0)
                return EXIT_SUCCESS;
        fprintf(stderr, "generate-init-sql: %s\n", error_text(&error));
        return r < 0 ? 2 : EXIT_FAILURE;
}
