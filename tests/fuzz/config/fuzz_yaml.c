/*
 * A configuration file of any content: it is refused with a sentence or taken whole; what was taken survives the way to
 * a child process and back, and every fact can be derived from it. libfyaml's own leaks on broken input are not ours.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "config/layers.h"

const char *__lsan_default_suppressions(void)
{
        return "leak:libfyaml";
}

static void require(bool held)
{
        if (!held)
                abort();
}

static void derive(const struct config *config)
{
        _cleanup_free_ char *conninfo = config_db_conninfo(config);
        _cleanup_free_ char *environment = config_environment(config);
        _cleanup_free_ char *dns_name _unused_ = config_dns_name(config);
        _cleanup_free_ char *url = config_public_url(config);
        _cleanup_free_ char *script _unused_ = config_startup_script(config);
        struct sockaddr_storage address;
        require(*conninfo && *environment && *url);
        require(config_listen_address(config, &address) != 0);
        require(*config_software(config) && *config_client_auth(config));
        config_loopback_only(config);
        config_db_embedded(config);
}

static void round_trip(const struct config *config)
{
        _cleanup_json_ json_t *json = config_to_json(config), *again = NULL;
        _cleanup_json_ json_t *rows = config_show(config);
        _cleanup_config_ struct config *copy = NULL;
        require(json && config_from_json(json, &copy, NULL) == 0);
        again = config_to_json(copy);
        require(json_equal(json, again));
        require(json_array_size(rows) == CONFIG_KEY_COUNT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_config_ struct config *config = xcalloc(1, sizeof(*config));
        _cleanup_buf_ struct buf problems = BUF_NULL;
        config_set_defaults(config);
        config_take_text(config, "config.yaml", (const char *)data, size, &problems);
        require(!problems.len || problems.data[problems.len - 1] == '\n');
        buf_truncate(&problems, 0);
        config_check_allocator(config, &problems);
        derive(config);
        round_trip(config);
        return 0;
}
