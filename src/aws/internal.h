/* What the files of this room share: one HTTP request, one signed call with its tries, the parts of an error. */
#pragma once

#include <curl/curl.h>

#include "aws/aws.h"
#include "aws/uri.h"

struct aws {
        char *region_given, *endpoint, *region;
        struct aws_credentials given, current;
        int tries;
        int64_t timeout_ms;
        const atomic_bool *stop;
        CURL *curl; /* kept: the next call uses the same connection */
};

/* --- http.c: one request, one answer, nothing tried twice --- */
#define AWS_ANSWER_MAX (1 << 20)

struct aws_http {
        const char *method, *url;
        const struct aws_pair *head;
        size_t n_head;
        const void *body; /* NULL: none */
        size_t len;
        int64_t timeout_ms;
        bool direct; /* never through a proxy */
};

struct aws_answer {
        long status;
        struct buf body;
        int64_t retry_after_ms; /* -1: not asked for */
        char *error_type;       /* x-amzn-errortype */
        char *bucket_region;    /* x-amz-bucket-region */
};

/* 0 with any status; -EIO: no answer, -ECANCELED. *ret_curl (may be NULL): libcurl's own word. */
int aws_http(struct aws *aws, const struct aws_http *request, struct aws_answer *ret, CURLcode *ret_curl,
             struct error *error);
void aws_answer_clear(struct aws_answer *answer);
bool aws_stopped(const struct aws *aws);
/* Sleeps, unless it is told to stop: -ECANCELED. */
int aws_pause(const struct aws *aws, int64_t ms, struct error *error);

/* --- call.c: signed, tried again where that may help, its failure in plain words --- */
struct aws_call {
        const char *service; /* as the signature names it: sts, ec2, s3, logs */
        const char *action;  /* the permission that it needs: "s3:PutObject" */
        const char *method;
        const char *host;            /* NULL: SERVICE.REGION.amazonaws.com; only for Amazon's own endpoint */
        const char *path;            /* encoded */
        const struct aws_pair *head; /* more headers, all of them signed */
        size_t n_head;
        const void *body;
        size_t len;
};

int aws_call(struct aws *aws, const struct aws_call *call, struct buf *ret_body, struct error *error);
/* Where a service is when somebody said so; NULL: Amazon's own. Owned by the caller. */
char *aws_endpoint(const struct aws *aws, const char *service);
/* "amazonaws.com", in China "amazonaws.com.cn". */
const char *aws_domain(const char *region);

/* --- imds.c: this instance's own facts --- */
int aws_imds_credentials(struct aws *aws, struct aws_credentials *ret, struct error *error);
int aws_imds_region(struct aws *aws, char **ret, struct error *error);

/* --- explain.c --- */
struct aws_fault {
        const char *code, *message; /* as AWS sent them; may be NULL */
        const char *action, *region, *right_region;
        long status;
};
/* Sets the sentence. Never repeats what might hold a secret. */
int aws_fault_set(const struct aws_fault *fault, struct error *error);
bool aws_fault_transient(const char *code);

/* --- xml.c --- */
/* Calls `text` for each element with the names on the way to it, "Response/Errors/Error/Code", and its own text. -EINVAL:
 * no XML, a document type, or nested deeper than anything that AWS sends. */
int aws_xml_walk(const char *data, size_t len, void (*text)(void *userdata, const char *path, const char *value),
                 void *userdata);
/* The text of the first element whose path ends with "/NAME"; NULL: there is none. Owned by the caller. */
char *aws_xml_find(const char *data, size_t len, const char *name);
