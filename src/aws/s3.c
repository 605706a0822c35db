/*
 * One object written from memory. The bucket is part of the host's name, as Amazon wants it; in the path where that
 * cannot be: a name with a dot matches no certificate, and an endpoint that was set has one host for all.
 */
#include <errno.h>
#include <string.h>

#include "aws/internal.h"
#include "base/text.h"

#define OBJECT_MAX (UINT64_C(5) << 30)

static bool bucket_valid(const char *bucket)
{
        size_t len = strlen(bucket);
        return len >= 3 && len <= 63 && strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789.-") == len &&
               bucket[0] != '.' && bucket[0] != '-' && bucket[len - 1] != '.' && bucket[len - 1] != '-' &&
               !strstr(bucket, "..");
}

int aws_put_object(struct aws *aws, const char *bucket, const char *key, const void *data, size_t len,
                   const char *content_type, struct error *error)
{
        const char *region;
        if (!bucket_valid(bucket))
                return error_set(error, -EINVAL, "%.63s is no name of an S3 bucket", bucket);
        if (!*key || strlen(key) > 1024 || len > OBJECT_MAX)
                return error_set(error, -EINVAL, "S3 takes no object of that name or size");
        int r = aws_region_find(aws, &region, error);
        if (r < 0)
                return r;
        _cleanup_free_ char *endpoint = aws_endpoint(aws, "s3");
        bool in_path = endpoint || strchr(bucket, '.');
        _cleanup_free_ char *host = xasprintf("%s%ss3.%s.%s", in_path ? "" : bucket, in_path ? "" : ".", region,
                                              aws_domain(region));
        _cleanup_buf_ struct buf path = BUF_NULL;
        buf_addf(&path, "/%s%s", in_path ? bucket : "", in_path ? "/" : "");
        aws_uri_encode(key, true, &path);
        const struct aws_pair head[] = {{"content-type", str_or(content_type, "application/octet-stream")},
                                        {"x-amz-server-side-encryption", "AES256"}};
        struct aws_call call = {.service = "s3",
                                .action = "s3:PutObject",
                                .method = "PUT",
                                .host = host,
                                .path = buf_str(&path),
                                .head = head,
                                .n_head = ARRAY_SIZE(head),
                                .body = data ? data : "",
                                .len = len};
        r = aws_call(aws, &call, NULL, error);
        return r < 0 ? error_wrap(error, "cannot write s3://%s/%s", bucket, key) : 0;
}
