/*
 * Signed calls to AWS: who am I (STS), does an instance type carry an NVIDIA GPU (EC2), put an object (S3), append log
 * lines (CloudWatch Logs), and the instance role's credentials (IMDSv2). All calls block and are for the runner, the
 * forwarder and helper threads of the agent; one `struct aws` belongs to one thread at a time.
 *
 * What AWS answers is told in plain words: "the AWS session token has expired: set new credentials", never a bare code.
 * Codes of failures, so that callers can tell them apart:
 *   -EKEYEXPIRED   the session token has expired
 *   -EKEYREJECTED  the credentials are wrong
 *   -ENOKEY        there are no credentials at all
 *   -EACCES        they are right but may not do this
 *   -ENOENT        no such bucket, group, stream, instance type
 *   -EDQUOT        a quota is used up          -ENOSPC  no capacity
 *   -EAGAIN        throttled, or AWS failed, also after the last try
 *   -EINVAL        AWS refuses what was asked  -EIO     no answer could be had
 *   -ECANCELED     aws_options.stop said so
 */
#pragma once

#include <stdatomic.h>

#include "base/buf.h"
#include "base/error.h"

enum aws_source { AWS_NOWHERE, AWS_GIVEN, AWS_ENVIRONMENT, AWS_INSTANCE };

struct aws_credentials {
        char *access_key_id, *secret_access_key;
        char *session_token; /* NULL: long-lived keys */
        double expires;      /* seconds since 1970; 0: they do not say */
        enum aws_source source;
};

#define AWS_KEY_ID_MAX 128
#define AWS_SECRET_MAX 256
#define AWS_TOKEN_MAX 8192

/* 0; -EINVAL with a sentence that names the field and never its value. */
int aws_credentials_check(const struct aws_credentials *credentials, struct error *error);
void aws_credentials_copy(const struct aws_credentials *from, struct aws_credentials *ret);
void aws_credentials_clear(struct aws_credentials *credentials); /* overwrites the secrets */
const char *aws_source_text(enum aws_source source);             /* "the environment", ... */

struct aws_options {
        const char *region; /* NULL or "": $AWS_REGION, $AWS_DEFAULT_REGION, the instance's own */
        const struct aws_credentials *credentials; /* NULL or empty: $AWS_ACCESS_KEY_ID ..., the instance role */
        const char *endpoint;    /* http(s)://HOST[:PORT] for every service; NULL: $AWS_ENDPOINT_URL_STS,
                                                    * _EC2, _S3, _CLOUDWATCH_LOGS, $AWS_ENDPOINT_URL, Amazon's own */
        int tries;               /* 0: 4 */
        int64_t timeout_ms;      /* of one try; 0: 15 s */
        const atomic_bool *stop; /* asked about each second while a call runs; NULL: never */
};

struct aws;

/* Cheap: credentials and region are looked for by the first call that needs them. Copies its options. */
struct aws *aws_new(const struct aws_options *options);
void aws_free(struct aws *aws);
static inline void aws_freep(struct aws **aws)
{
        aws_free(*aws);
}
#define _cleanup_aws_ _cleanup_(aws_freep)

/* Finds credentials and region now. They are borrowed, and renewed by later calls when they are about to expire. */
int aws_credentials_find(struct aws *aws, const struct aws_credentials **ret, struct error *error);
int aws_region_find(struct aws *aws, const char **ret, struct error *error);

/* --- STS --- */
struct aws_identity {
        char *account, *arn, *user_id;
};
int aws_caller_identity(struct aws *aws, struct aws_identity *ret, struct error *error);
void aws_identity_clear(struct aws_identity *identity);

/* --- EC2 --- */
struct aws_instance_type {
        bool nvidia; /* at least one GPU by NVIDIA */
        int gpus;    /* of any maker */
        char *gpu;   /* "NVIDIA T4"; NULL: none */
        int vcpus;
        int64_t memory_mib;
};
int aws_instance_type_get(struct aws *aws, const char *type, struct aws_instance_type *ret, struct error *error);
void aws_instance_type_clear(struct aws_instance_type *type);

/* --- S3 --- */
/* Written encrypted (AES256). At most 5 GB by S3's own rule; here from memory. */
int aws_put_object(struct aws *aws, const char *bucket, const char *key, const void *data, size_t len,
                   const char *content_type, struct error *error);

/* --- CloudWatch Logs --- */
struct aws_log_event {
        int64_t timestamp_ms; /* since 1970 */
        const char *message;  /* valid UTF-8, not empty */
        size_t len;
};
#define AWS_LOGS_EVENTS_MAX 10000                             /* of one batch */
#define AWS_LOGS_BYTES_MAX 1048576                            /* of one batch, each event with its overhead */
#define AWS_LOGS_EVENT_OVERHEAD 26                            /* bytes that AWS counts for each event */
#define AWS_LOGS_EVENT_MAX (262144 - AWS_LOGS_EVENT_OVERHEAD) /* bytes of one message */
#define AWS_LOGS_SPAN_MS INT64_C(86400000)                    /* between the first and the last event of a batch */

/* How many of the first events, which must stand in the order of time, fit one batch; 0 only for n = 0. */
size_t aws_log_batch(const struct aws_log_event *events, size_t n);
/* One batch. *ret_rejected (may be NULL): events that AWS dropped because they are too old or too new. -ENOENT: there
 * is no such group or stream. */
int aws_put_log_events(struct aws *aws, const char *group, const char *stream, const struct aws_log_event *events,
                       size_t n, size_t *ret_rejected, struct error *error);
/* One that is there already is success. -ENOENT: there is no such group. */
int aws_create_log_stream(struct aws *aws, const char *group, const char *stream, struct error *error);

/* --- words --- */
/* Finds what an AWS error in `text` means (a program's output, an answer): "no permission for ec2:RunInstances ...".
 * NULL: nothing known is in it. Owned by the caller. *ret_code (may be NULL): as above. */
char *aws_explain(const char *text, int *ret_code);
