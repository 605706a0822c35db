/*
 * One HTTP exchange after the other, by libcurl: with the Lambda runtime on this machine, and with the allocator. The
 * connection is kept between them.
 */
#pragma once

#include <curl/curl.h>

#include "base/buf.h"
#include "base/error.h"

struct exchange {
        CURL *easy;
        struct curl_slist *headers; /* of every request */
        size_t body_max;            /* what an answer holds beyond that is thrown away */
        struct buf body;            /* of the last answer */
        bool cut;                   /* it was larger than body_max */
        long status;                /* of the last answer */
};

void exchange_init(struct exchange *exchange, size_t body_max);
void exchange_header(struct exchange *exchange, const char *header);

/* GET when `body` is NULL, else POST. `timeout_ms` 0: for ever. `more` (may be NULL): headers of this request alone.
 * 0: there is an answer, whatever its status. There is none: -EKEYREJECTED when the other side's certificate is not
 * trusted, else -ETIMEDOUT or -EIO. */
int exchange_run(struct exchange *exchange, const char *url, const struct buf *body, const struct curl_slist *more,
                 int64_t timeout_ms, struct error *error);
/* A header of the last answer, valid until the next; NULL: it had none. */
const char *exchange_answer_header(const struct exchange *exchange, const char *name);
void exchange_deinit(struct exchange *exchange);
