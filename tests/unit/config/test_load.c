/* The file, the flags and what wins over what. */
#include "lab_file.h"

#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"

static const char deployed[] = "db:\n"
                               "  dbname: \"lablink_db\"\n"
                               "  user: \"lablink\"\n"
                               "  password: \"PLACEHOLDER_DB_PASSWORD\"\n"
                               "  host: \"localhost\"\n"
                               "  port: \"5432\"\n"
                               "  table_name: \"vms\"\n"
                               "  message_channel: \"vm_updates\"\n"
                               "machine:\n"
                               "  machine_type: \"g4dn.xlarge\"\n"
                               "  image: \"ghcr.io/example/client:latest\"\n"
                               "  ami_id: \"ami-0601752c11b394251\"\n"
                               "  repository: \"https://github.com/example/course.git\"\n"
                               "  software: \"sleap\"\n"
                               "  extension: \"slp\"\n"
                               "app:\n"
                               "  admin_user: \"admin\"\n"
                               "  admin_password: \"PLACEHOLDER_ADMIN_PASSWORD\"\n"
                               "  region: \"us-west-2\"\n"
                               "dns:\n"
                               "  enabled: true\n"
                               "  terraform_managed: false\n"
                               "  domain: \"lab.example.org\"\n"
                               "  zone_id: \"\"\n"
                               "  app_name: \"lablink\"\n"
                               "  pattern: \"auto\"\n"
                               "  custom_subdomain: \"\"\n"
                               "  create_zone: false\n"
                               "eip:\n"
                               "  strategy: \"persistent\"\n"
                               "  tag_name: \"lablink-eip\"\n"
                               "ssl:\n"
                               "  provider: \"letsencrypt\"\n"
                               "  email: \"admin@example.org\"\n"
                               "  staging: true\n"
                               "  certificate_arn: \"\"\n"
                               "allocator:\n"
                               "  image_tag: \"latest\"\n"
                               "startup_script:\n"
                               "  enabled: false\n"
                               "  path: \"config/custom-startup.sh\"\n"
                               "  on_error: \"fail\"\n"
                               "bucket_name: \"tf-state\"\n";

static void empty_is_valid(void **state)
{
        static const char *const files[] = {"", "# nothing\n", "---\n", "db:\n", "db: ~\nlisten: null\n", "{}\n"};
        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                _cleanup_config_ struct config *config = lab_file_good(*state, files[i]);
                assert_string_equal(config->listen.address, "127.0.0.1:5000");
                assert_string_equal(config->db.table_name, "vms");
                assert_int_equal(config->db.port, 5432);
                assert_int_equal(config->logs.keep, 30LL * 86400000);
                assert_int_equal(config->local.memory, 4LL << 30);
                assert_true(config->dns.terraform_managed);
                assert_null(config->listen.trusted_proxies[0]);
                assert_int_equal(config_check_allocator(config, NULL), 0);
        }
}

static void deployed_file_is_taken(void **state)
{
        _cleanup_config_ struct config *config = lab_file_good(*state, deployed);
        assert_string_equal(config->db.password, "PLACEHOLDER_DB_PASSWORD");
        assert_int_equal(config->db.port, 5432);
        assert_true(config->dns.enabled && config->ssl.staging);
        assert_false(config->dns.terraform_managed);
        assert_string_equal(config->startup_script.on_error, "fail");
        assert_string_equal(config->top.bucket_name, "tf-state");
        assert_int_equal(config_check_allocator(config, NULL), 0);
}

static void types(void **state)
{
        _cleanup_config_ struct config *config = lab_file_good(
                *state, "db: {port: '6543'}\n"
                        "app:\n  pin: 012345\n  admin_password: 123456\n"
                        "dns: {enabled: No, create_zone: \"yes\"}\n"
                        "logs:\n  keep: 36h\n"
                        "local: {memory: 512M, cpus: 0.5, processes: 100}\n"
                        "listen:\n  trusted_proxies:\n  - 10.0.0.1\n  - \"::1\"\n"
                        "client:\n  log_files: /var/log/a.log , /var/log/b.log,\n"
                        "machine:\n  software: >\n    sleap\n  extension:\n");
        assert_int_equal(config->db.port, 6543);
        assert_string_equal(config->app.pin, "012345");
        assert_string_equal(config->app.admin_password, "123456");
        assert_true(!config->dns.enabled && config->dns.create_zone);
        assert_int_equal(config->logs.keep, 36 * 3600000);
        assert_int_equal(config->local.memory, 512 << 20);
        assert_string_equal(config->local.cpus, "0.5");
        assert_string_equal(config->listen.trusted_proxies[1], "::1");
        assert_null(config->listen.trusted_proxies[2]);
        assert_string_equal(config->client.log_files[0], "/var/log/a.log");
        assert_string_equal(config->client.log_files[1], "/var/log/b.log");
        assert_null(config->client.log_files[2]);
        assert_string_equal(config->machine.software, "sleap");
        assert_string_equal(config->machine.extension, "slp");
}

/* One wrong value each: the place, and words that must be in the sentence. */
static const struct wrong {
        const char *yaml, *place, *words;
} wrongs[] = {
        {"db:\n  port: abc\n", ":2:9: ", "db.port takes a whole number, 1 to 65535, not \"abc\""},
        {"db:\n  port: 70000\n", ":2:9: ", "1 to 65535"},
        {"db:\n  port: 5432.0\n", ":2:9: ", "not \"5432.0\""},
        {"db:\n  port: [1]\n", ":2:9: ", "not a list"},
        {"db:\n  host: {a: b}\n", ":2:9: ", "not a mapping"},
        {"db:\n  hots: x\n", ":2:3: ", "did you mean db.host?"},
        {"db:\n  hostname: x\n", ":2:3: ", "did you mean db.host or client.hostname?"},
        {"app:\n  software: x\n", ":2:3: ", "did you mean machine.software?"},
        {"host: x\n", ":1:1: ", "db.host is written below \"db:\""},
        {"securty:\n  client_auth: open\n", ":1:1: ", "did you mean the section security?"},
        {"bucketname: x\n", ":1:1: ", "did you mean bucket_name?"},
        {"zzzzzzzzzzzzz: x\n", ":1:1: ", "known here: bucket_name, state_dir, environment; sections: listen, db"},
        {"db: localhost\n", ":1:5: ", "db is a section"},
        {"dns:\n- a\n", ":2:1: ", "dns is a section"},
        {"top:\n  bucket_name: x\n", ":1:1: ", "unknown key \"top\""},
        {"- a\n", ":1:1: ", "sections and keys"},
        {"dns: {enabled: maybe}\n", ":1:16: ", "dns.enabled takes true or false, not \"maybe\""},
        {"ssl: {provider: acme}\n", ":1:17: ", "letsencrypt, cloudflare, acm or none, not \"acme\"; did you mean acm?"},
        {"logs: {keep: 3x}\n", ":1:14: ", "a duration such as"},
        {"logs: {keep: 1s}\n", ":1:14: ", "1m to 3650d"},
        {"local: {memory: 1K}\n", ":1:17: ", "64M to 1T"},
        {"local: {cpus: 0}\n", ":1:15: ", "a number above 0"},
        {"local: {cpus: nan}\n", ":1:15: ", "a number above 0"},
        {"local: {cpus: -1}\n", ":1:15: ", "a number above 0"},
        {"app: {pin: '12345'}\n", ":1:12: ", "app.pin takes 6 to 10 digits"},
        {"app: {pin: '12345678901'}\n", ":1:12: ", "6 to 10 digits"},
        {"app: {pin: 12345a}\n", ":1:12: ", "6 to 10 digits"},
        {"app: {admin_user: 'a:b'}\n", ":1:19: ", "a name without ':'"},
        {"app: {admin_user: \"a\\nb\"}\n", ":1:19: ", "control character"},
        {"db: {url: 'mysql://x'}\n", ":1:11: ", "postgresql://USER"},
        {"db: {table_name: 'vms; drop'}\n", ":1:18: ", "letters, digits and '_'"},
        {"db: {table_name: 1vms}\n", ":1:18: ", "letters, digits and '_'"},
        {"db: {message_channel: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}\n",
         ":1:23: ", "at most 63"},
        {"listen: {address: '5000'}\n", ":1:19: ", "IPV4:PORT"},
        {"listen: {address: 'example.org:80'}\n", ":1:19: ", "no other host names"},
        {"listen: {address: '::1:80'}\n", ":1:19: ", "[IPV6]:PORT"},
        {"listen: {address: '127.0.0.1:65536'}\n", ":1:19: ", "IPV4:PORT"},
        {"listen: {address: '127.0.0.1:+80'}\n", ":1:19: ", "IPV4:PORT"},
        {"listen: {address: '127.0.0.1:'}\n", ":1:19: ", "IPV4:PORT"},
        {"listen: {public_url: 'ftp://x'}\n", ":1:22: ", "https://HOST"},
        {"listen: {public_url: 'http://u:p@x'}\n", ":1:22: ", "https://HOST"},
        {"listen: {trusted_proxies: [10.0.0.1, proxy]}\n", ":1:27: ", "a list of IP addresses, not \"proxy\""},
        {"listen: {trusted_proxies: [[10.0.0.1]]}\n", ":1:28: ", "each item"},
        {"machine: {repository: '--upload-pack=x'}\n", ":1:23: ", "the URL of a Git repository"},
        {"machine: {repository: 'ext::sh -c id'}\n", ":1:23: ", "the URL of a Git repository"},
        {"machine: {extension: '*'}\n", ":1:22: ", "letters, digits"},
        {"environment: 'a/b'\n", ":1:14: ", "environment takes letters"},
        {"dns: {domain: '.example.org'}\n", ":1:15: ", "a domain name"},
        {"client: {url: 'example.org'}\n", ":1:15: ", "unix:/PATH"},
        {"client: {hostname: '../x'}\n", ":1:20: ", "letters, digits"},
};

static void wrong_values(void **state)
{
        for (size_t i = 0; i < ARRAY_SIZE(wrongs); i++) {
                _cleanup_buf_ struct buf problems = BUF_NULL;
                _cleanup_config_ struct config *config = lab_file_load(*state, wrongs[i].yaml, NULL, NULL, &problems);
                if (config)
                        fail_msg("taken: %s", wrongs[i].yaml);
                assert_problem(&problems, wrongs[i].place, wrongs[i].words);
                assert_int_equal(count_lines(&problems), 1);
        }
}

static void all_problems_at_once(void **state)
{
        static const char *const sets[] = {"db.prt=1", "db.port", "dns.enabled=maybe", "nonsense", NULL};
        static const char *const environment[] = {"LABLINK_DB_PORT=x", "LABLINK_APP_ADMIN_PASWORD=secret-word", NULL};
        _cleanup_buf_ struct buf problems = BUF_NULL;
        struct config *config = lab_file_load(*state, "db:\n  hots: x\n  port: y\nssl:\n  staging: z\n", sets,
                                              environment, &problems);
        assert_null(config);
        assert_problem(&problems, "config.yaml:2:3: ", "db.host");
        assert_problem(&problems, "config.yaml:3:9: ", "db.port");
        assert_problem(&problems, "config.yaml:5:12: ", "ssl.staging");
        assert_problem(&problems, "LABLINK_DB_PORT: ", "not \"x\"");
        assert_problem(&problems, "LABLINK_APP_ADMIN_PASWORD: ", "did you mean app.admin_password?");
        assert_problem(&problems, "--set: ", "did you mean db.port?");
        assert_problem(&problems, "--set: ", "write --set db.port=VALUE");
        assert_problem(&problems, "--set: ", "dns.enabled takes true or false");
        assert_problem(&problems, "--set: ", "\"nonsense\" is no known key");
        assert_int_equal(count_lines(&problems), 9);
        assert_null(strstr(buf_str(&problems), "secret-word"));
}

static void many_problems_are_cut(void **state)
{
        _cleanup_buf_ struct buf yaml = BUF_NULL, problems = BUF_NULL;
        for (int i = 0; i < 500; i++)
                buf_addf(&yaml, "unknown%d: 1\n", i);
        assert_null(lab_file_load(*state, buf_str(&yaml), NULL, NULL, &problems));
        assert_int_equal(count_lines(&problems), 101);
        assert_non_null(strstr(buf_str(&problems), "... and 400 more\n"));
}

static void secrets_stay_out_of_problems(void **state)
{
        static const char *const environment[] = {"LABLINK_APP_PIN=hunter2", NULL};
        _cleanup_buf_ struct buf problems = BUF_NULL;
        assert_null(lab_file_load(*state, "db: {url: 'hunter2 x'}\napp: {admin_password: \"hunter2\\n\"}\n", NULL,
                                  environment, &problems));
        assert_int_equal(count_lines(&problems), 3);
        assert_null(strstr(buf_str(&problems), "hunter2"));
}

static void later_layers_win(void **state)
{
        static const char *const environment[] = {"LABLINK_DB_HOST=env", "LABLINK_DB_USER=env", NULL};
        static const char *const sets[] = {"db.host=first", "db.host=flag", "db.dbname=a=b", NULL};
        _cleanup_buf_ struct buf problems = BUF_NULL;
        _cleanup_config_ struct config *config = lab_file_load(
                *state, "db:\n  host: file\n  user: file\n  password: file\n", sets, environment, &problems);
        assert_non_null(config);
        assert_string_equal(config->db.host, "flag");
        assert_string_equal(config->db.user, "env");
        assert_string_equal(config->db.password, "file");
        assert_string_equal(config->db.dbname, "a=b");
        assert_int_equal(config->origins[CONFIG_KEY_db_host].source, CONFIG_FLAG);
        assert_string_equal(config->origins[CONFIG_KEY_db_user].place, "LABLINK_DB_USER");
        assert_int_equal(config->origins[CONFIG_KEY_db_password].source, CONFIG_FILE);
        assert_true(str_ends(config->origins[CONFIG_KEY_db_password].place, "config.yaml:4:13"));
        assert_int_equal(config->origins[CONFIG_KEY_db_port].source, CONFIG_DEFAULT);
        assert_null(config->origins[CONFIG_KEY_db_port].place);
}

static void an_empty_flag_is_the_default(void **state)
{
        static const char *const sets[] = {"machine.software=", NULL};
        _cleanup_config_ struct config *config = lab_file_load(*state, "machine: {software: x}\n", sets, NULL, NULL);
        assert_non_null(config);
        assert_string_equal(config->machine.software, "sleap");
        assert_int_equal(config->origins[CONFIG_KEY_machine_software].source, CONFIG_DEFAULT);
}

static void listen_and_state_dir(void **state)
{
        struct lab_file *file = *state;
        lab_file_write(file, "listen: {address: '127.0.0.1:1'}\nstate_dir: below\n");
        struct config_input input = {.file = file->path, .environment = (const char *const[]){"HOME=/home/x", NULL}};
        _cleanup_config_ struct config *config = NULL, *other = NULL, *none = NULL;
        assert_int_equal(config_load(&input, &config, NULL), 0);
        _cleanup_free_ char *below = path_join(file->directory, "below");
        assert_string_equal(config->top.state_dir, below);
        input.listen = "[::1]:0";
        input.state_dir = "here/";
        assert_int_equal(config_load(&input, &other, NULL), 0);
        assert_string_equal(other->listen.address, "[::1]:0");
        _cleanup_free_ char *current = getcwd(NULL, 0);
        _cleanup_free_ char *here = path_join(current, "here");
        assert_string_equal(other->top.state_dir, here);
        lab_file_write(file, "");
        input.state_dir = NULL;
        assert_int_equal(config_load(&input, &none, NULL), 0);
        _cleanup_free_ char *dir = config_state_dir(none);
        assert_string_equal(dir, geteuid() == 0 ? "/var/lib/lablink" : "/home/x/.local/state/lablink");
}

static void files_that_are_none(void **state)
{
        struct lab_file *file = *state;
        _cleanup_buf_ struct buf problems = BUF_NULL, big = BUF_NULL;
        assert_null(lab_file_load(file, NULL, NULL, NULL, &problems));
        assert_problem(&problems, "there", "there is no file");
        assert_int_equal(mkdir(file->path, 0700), 0);
        struct config *config = NULL;
        buf_truncate(&problems, 0);
        assert_int_equal(config_load(&(struct config_input){.file = file->path}, &config, &problems), -22);
        assert_problem(&problems, file->path, "is a directory");
        assert_int_equal(rmdir(file->path), 0);
        buf_truncate(&problems, 0);
        while (big.len <= 1000000)
                buf_adds(&big, "# a line of nothing\n");
        assert_null(lab_file_load(file, buf_str(&big), NULL, NULL, &problems));
        assert_problem(&problems, file->path, "is larger than 1000000 bytes");
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, lab_file_setup, lab_file_teardown)
        const struct CMUnitTest tests[] = {
                T(empty_is_valid),
                T(deployed_file_is_taken),
                T(types),
                T(wrong_values),
                T(all_problems_at_once),
                T(many_problems_are_cut),
                T(secrets_stay_out_of_problems),
                T(later_layers_win),
                T(an_empty_flag_is_the_default),
                T(listen_and_state_dir),
                T(files_that_are_none),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
