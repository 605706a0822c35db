/*
 * AWS Signature Version 4, the form in the Authorization header. Written here because libcurl's (7.88, Debian 12's)
 * signs unsorted query strings and uploads wrongly and adds no hash of the body, which S3 demands. Checked against AWS's
 * published test vectors in tests/unit/aws.
 */
#pragma once

#include "aws/aws.h"
#include "aws/uri.h"

#define AWS_HASH_SIZE 65 /* SHA-256 in lower-case hexadecimal, and a NUL */
#define AWS_DATE_SIZE 17 /* "20150830T123600Z" and a NUL */

struct aws_signing {
        const char *method;
        const char *path;            /* encoded; "/" at least */
        const char *query;           /* encoded and sorted; "" for none */
        const struct aws_pair *head; /* the headers to sign; `host` and `x-amz-date` must be among them */
        size_t n_head;
        const char *body_hash;
        const char *date; /* the value of x-amz-date */
        const char *region, *service;
};

void aws_hash(const void *data, size_t len, char out[AWS_HASH_SIZE]);
void aws_date(double epoch, char out[AWS_DATE_SIZE]);
/* The Authorization header's value; owned by the caller. */
char *aws_sign(const struct aws_signing *signing, const struct aws_credentials *credentials);

/* The two texts on the way to it, for tests; owned by the caller. */
char *aws_canonical_request(const struct aws_signing *signing, struct buf *ret_names);
char *aws_string_to_sign(const struct aws_signing *signing, const char *canonical);
