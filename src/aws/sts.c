/* GetCallerIdentity needs no permission, so it is what credentials are tried with. */
#include <errno.h>

#include "aws/internal.h"

int aws_caller_identity(struct aws *aws, struct aws_identity *ret, struct error *error)
{
        static const struct aws_pair head[] = {{"content-type", "application/x-www-form-urlencoded"}};
        static const char body[] = "Action=GetCallerIdentity&Version=2011-06-15";
        struct aws_call call = {.service = "sts",
                                .action = "sts:GetCallerIdentity",
                                .method = "POST",
                                .path = "/",
                                .head = head,
                                .n_head = ARRAY_SIZE(head),
                                .body = body,
                                .len = sizeof body - 1};
        _cleanup_buf_ struct buf answer = BUF_NULL;
        int r = aws_call(aws, &call, &answer, error);
        if (r < 0)
                return r;
        *ret = (struct aws_identity){.account = aws_xml_find(buf_str(&answer), answer.len, "Account"),
                                     .arn = aws_xml_find(buf_str(&answer), answer.len, "Arn"),
                                     .user_id = aws_xml_find(buf_str(&answer), answer.len, "UserId")};
        if (ret->account && ret->arn)
                return 0;
        aws_identity_clear(ret);
        return error_set(error, -EIO, "AWS did not say whose credentials these are");
}

void aws_identity_clear(struct aws_identity *identity)
{
        free(identity->account);
        free(identity->arn);
        free(identity->user_id);
        *identity = (struct aws_identity){0};
}
