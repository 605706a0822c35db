/*
 * terraform.runtime.tfvars: what the module is told of this lab. These keys and no others: deployed modules read them, and
 * the file is kept beside their state. No secret is in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "provider/terraform/internal.h"

static void put(struct buf *out, const char *key, const char *value)
{
        _cleanup_buf_ struct buf clean = BUF_NULL;
        utf8_scrub(value, strlen(value), &clean);
        buf_addf(out, "%s = ", key);
        hcl_quote(buf_str(&clean), out);
        buf_addc(out, '\n');
}

/* $ALLOCATOR_PUBLIC_IP, else the host of the URL that VMs use. */
static char *allocator_ip(const struct config *config, const char *url)
{
        if (config->public_address)
                return xstrdup(config->public_address);
        const char *host = strstr(url, "://");
        host = host ? host + 3 : url;
        if (*host == '[')
                return xstrndup(host + 1, strcspn(host + 1, "]"));
        return xstrndup(host, strcspn(host, ":/"));
}

/* Families of AWS whose machines carry an NVIDIA GPU, for when nobody can be asked. */
static bool family_has_gpu(const char *type)
{
        static const char *const families[] = {"g4dn", "g5.", "g5g",  "g6.", "g6e", "gr6", "g7",
                                               "p2.",  "p3.", "p3dn", "p4",  "p5",  "p6",  "g3"};
        for (size_t i = 0; i < ARRAY_SIZE(families); i++)
                if (str_starts(type, families[i]))
                        return true;
        return false;
}

static struct aws *open_aws(const struct provider *p)
{
        return aws_new(&(struct aws_options){.region = p->config->app.region, .credentials = &p->aws});
}

/* Off AWS nobody is asked: looking for an instance's role would only take time. */
static bool has_aws(const struct provider *p)
{
        return p->aws.access_key_id || getenv("AWS_ACCESS_KEY_ID") || *p->config->top.bucket_name;
}

void tfvars_ask_gpu(struct provider *p, const struct provider_sink *sink)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_free_ char *path = tf_path(p, "gpu");
        const char *type = p->config->machine.machine_type;
        struct aws_instance_type answer = {0};
        if (!str_eq(p->config->terraform.gpu, "auto") || !has_aws(p))
                return;
        _cleanup_aws_ struct aws *aws = open_aws(p);
        if (aws_instance_type_get(aws, type, &answer, &error) < 0) {
                sink_line(sink, "Whether %s has a GPU is guessed by its name: %s", type, error_text(&error));
                return;
        }
        _cleanup_free_ char *text = xasprintf("%s %s", type, answer.nvidia ? "true" : "false");
        sink_line(sink, "%s has %s.", type, answer.nvidia ? str_or(answer.gpu, "an NVIDIA GPU") : "no NVIDIA GPU");
        aws_instance_type_clear(&answer);
        if (dir_make(p->dir, 0700, NULL) == 0)
                file_write(path, text, strlen(text), 0600, NULL);
}

/* What was configured, else what AWS has said of this type, else a guess by its name. */
static bool gpu_support(const struct provider *p)
{
        const char *said = p->config->terraform.gpu, *type = p->config->machine.machine_type;
        _cleanup_free_ char *path = tf_path(p, "gpu");
        _cleanup_free_ char *yes = xasprintf("%s true", type);
        _cleanup_free_ char *no = xasprintf("%s false", type);
        _cleanup_buf_ struct buf known = BUF_NULL;
        if (!str_eq(said, "auto"))
                return str_eq(said, "true");
        file_read(path, 1024, &known, NULL);
        return str_eq(buf_str(&known), yes) || (!str_eq(buf_str(&known), no) && family_has_gpu(type));
}

static void write_text(const struct provider *p, struct buf *out)
{
        const struct config *config = p->config;
        _cleanup_free_ char *url = config_public_url(config);
        _cleanup_free_ char *ip = allocator_ip(config, url);
        bool direct = str_eq(config->logs.via, "direct");
        const char *said = direct ? NULL : getenv("CLOUD_INIT_LOG_GROUP");
        _cleanup_free_ char *group = said && *said ? xstrdup(said) : xasprintf("lablink-cloud-init-%s", p->environment);
        put(out, "allocator_ip", ip);
        put(out, "allocator_url", url);
        put(out, "machine_type", config->machine.machine_type);
        put(out, "image_name", config->machine.image);
        put(out, "repository", config->machine.repository);
        put(out, "client_ami_id", config->machine.ami_id);
        put(out, "subject_software", config_software(config));
        put(out, "resource_suffix", p->environment);
        put(out, "gpu_support", gpu_support(p) ? "true" : "false");
        put(out, "cloud_init_output_log_group", direct ? "" : group);
        put(out, "region", config->app.region);
        put(out, "startup_on_error", config->startup_script.on_error);
}

int tfvars_write(struct provider *p, struct error *error)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        _cleanup_free_ char *path = path_join(p->work, TFVARS_NAME);
        write_text(p, &text);
        return file_write(path, buf_str(&text), text.len, 0600, error);
}

/* A copy beside the state, as deployed labs keep it. The VMs are there by now: that it fails is told, and no more. */
void tfvars_publish(struct provider *p, const struct provider_sink *sink)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_buf_ struct buf text = BUF_NULL;
        const char *bucket = p->config->top.bucket_name;
        _cleanup_free_ char *key = xasprintf("%s/client/" TFVARS_NAME, p->environment);
        if (!*bucket)
                return;
        _cleanup_aws_ struct aws *aws = open_aws(p);
        write_text(p, &text);
        if (aws_put_object(aws, bucket, key, text.data, text.len, "text/plain", &error) < 0)
                sink_line(sink, "%s was not copied to s3://%s/%s: %s", TFVARS_NAME, bucket, key, error_text(&error));
        else
                sink_line(sink, "%s was copied to s3://%s/%s", TFVARS_NAME, bucket, key);
}
