/*
 * AWS's error codes in plain words, as one table. The same table explains what another program prints (an engine that
 * calls AWS by itself): there the first code that stands in the text counts. Messages of AWS are repeated only where
 * the code is unknown, for those of a wrong signature quote the request, and with it the session token.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "aws/internal.h"
#include "base/text.h"

#define MESSAGE_MAX 300
#define CODE_MAX 100

enum flags {
        TRANSIENT = 1 << 0,
        WANTS_ACTION = 1 << 1, /* the sentence ends with the permission that is missing */
        WANTS_REGION = 1 << 2, /* ... with the region that was asked */
        BY_MESSAGE = 1 << 3,   /* `code` is looked for in the message too */
};

// clang-format off
static const struct rule {
        const char *code;
        int error;
        unsigned flags;
        const char *sentence;
} rules[] = {
        /* Before the codes that they come with: what the message says is more exact. */
        {"Signature expired", -EKEYREJECTED, BY_MESSAGE, "AWS refuses the request as too old or too new: this machine's clock is wrong"},
        {"Signature not yet current", -EKEYREJECTED, BY_MESSAGE, "AWS refuses the request as too old or too new: this machine's clock is wrong"},
        {"in your requested Availability Zone", -ENOSPC, BY_MESSAGE, "AWS has no room for this instance type in that availability zone: choose another zone or type, or try again later"},
        {"is not authorized to perform", -EACCES, BY_MESSAGE | WANTS_ACTION, "these AWS credentials have no permission for"},
        {"RequestTimeTooSkewed", -EKEYREJECTED, 0, "AWS refuses the request as too old or too new: this machine's clock is wrong"},

        {"ExpiredTokenException", -EKEYEXPIRED, 0, "the AWS session token has expired: set new credentials"},
        {"ExpiredToken", -EKEYEXPIRED, 0, "the AWS session token has expired: set new credentials"},
        {"RequestExpired", -EKEYEXPIRED, 0, "the AWS session token has expired, or this machine's clock is wrong: set new credentials"},
        {"InvalidClientTokenId", -EKEYREJECTED, 0, "AWS does not know this access key ID, or the session token does not belong to it"},
        {"UnrecognizedClientException", -EKEYREJECTED, 0, "AWS does not know this access key ID, or the session token does not belong to it"},
        {"InvalidAccessKeyId", -EKEYREJECTED, 0, "AWS does not know this access key ID"},
        {"InvalidToken", -EKEYREJECTED, 0, "the AWS session token is not valid"},
        {"IncompleteSignature", -EKEYREJECTED, 0, "the AWS access key ID is not well-formed"},
        {"SignatureDoesNotMatch", -EKEYREJECTED, 0, "the AWS secret access key does not belong to the access key ID"},
        {"InvalidSignatureException", -EKEYREJECTED, 0, "the AWS secret access key does not belong to the access key ID"},
        {"AuthFailure", -EKEYREJECTED, WANTS_REGION, "AWS does not accept these credentials; the account may not have enabled the region"},
        {"MissingAuthenticationToken", -ENOKEY, 0, "there are no AWS credentials"},
        {"NoCredentialProviders", -ENOKEY, 0, "there are no AWS credentials"},
        {"No valid credential sources found", -ENOKEY, BY_MESSAGE, "there are no AWS credentials"},
        {"OptInRequired", -EACCES, WANTS_REGION, "the AWS account is not signed up for this service or has not enabled the region"},
        {"PendingVerification", -EACCES, 0, "AWS is still verifying the account in this region: try again in some hours"},
        {"UnauthorizedOperation", -EACCES, WANTS_ACTION, "these AWS credentials have no permission for"},
        {"AccessDeniedException", -EACCES, WANTS_ACTION, "these AWS credentials have no permission for"},
        {"AccessDenied", -EACCES, WANTS_ACTION, "these AWS credentials have no permission for"},

        {"VcpuLimitExceeded", -EDQUOT, 0, "the account's vCPU quota for this kind of instance is used up: launch fewer or smaller VMs, destroy some, or ask AWS for a higher quota (Service Quotas, Amazon EC2)"},
        {"MaxSpotInstanceCountExceeded", -EDQUOT, 0, "the account's quota of spot instances is used up: ask AWS for a higher one (Service Quotas, Amazon EC2)"},
        {"InstanceLimitExceeded", -EDQUOT, 0, "the account's quota of instances is used up: destroy some, or ask AWS for a higher one (Service Quotas, Amazon EC2)"},
        {"VolumeLimitExceeded", -EDQUOT, 0, "the account's quota of volumes is used up: ask AWS for a higher one (Service Quotas, Amazon EBS)"},
        {"AddressLimitExceeded", -EDQUOT, 0, "the account's quota of Elastic IP addresses is used up: release some, or ask AWS for a higher one"},
        {"InsufficientInstanceCapacity", -ENOSPC, 0, "AWS has no capacity for this instance type now: try again later, or choose another type, zone or region"},
        {"InsufficientHostCapacity", -ENOSPC, 0, "AWS has no capacity for this instance type now: try again later, or choose another type, zone or region"},
        {"InsufficientFreeAddressesInSubnet", -ENOSPC, 0, "the subnet has no free addresses"},

        {"PermanentRedirect", -EINVAL, WANTS_REGION, "wrong region: the S3 bucket is in another one"},
        {"AuthorizationHeaderMalformed", -EINVAL, WANTS_REGION, "wrong region: the S3 bucket is in another one"},
        {"IllegalLocationConstraintException", -EINVAL, WANTS_REGION, "wrong region: the S3 bucket is in another one"},
        {"InvalidAMIID.NotFound", -ENOENT, WANTS_REGION, "wrong region or machine image: there is no such image (machine.ami_id); each belongs to one region"},
        {"InvalidAMIID.Malformed", -EINVAL, 0, "machine.ami_id is no machine image's ID"},
        {"InvalidInstanceType", -ENOENT, WANTS_REGION, "there is no instance type of that name (machine.machine_type)"},
        {"NoSuchBucket", -ENOENT, 0, "there is no S3 bucket of that name (bucket_name)"},
        {"ResourceNotFoundException", -ENOENT, WANTS_REGION, "there is no log group or stream of that name"},
        {"ResourceAlreadyExistsException", -EEXIST, 0, "it exists already"},
        {"InvalidKeyPair.Duplicate", -EEXIST, 0, "a key pair of that name exists already: another deployment with the same environment name, or the rest of an earlier one"},
        {"InvalidGroup.Duplicate", -EEXIST, 0, "a security group of that name exists already: another deployment with the same environment name, or the rest of an earlier one"},
        {"EntityAlreadyExists", -EEXIST, 0, "a role or profile of that name exists already: another deployment with the same environment name, or the rest of an earlier one"},

        {"RequestLimitExceeded", -EAGAIN, TRANSIENT, "AWS asks to slow down"},
        {"ThrottlingException", -EAGAIN, TRANSIENT, "AWS asks to slow down"},
        {"ThrottledException", -EAGAIN, TRANSIENT, "AWS asks to slow down"},
        {"RequestThrottledException", -EAGAIN, TRANSIENT, "AWS asks to slow down"},
        {"RequestThrottled", -EAGAIN, TRANSIENT, "AWS asks to slow down"},
        {"TooManyRequestsException", -EAGAIN, TRANSIENT, "AWS asks to slow down"},
        {"Throttling", -EAGAIN, TRANSIENT, "AWS asks to slow down"},
        {"SlowDown", -EAGAIN, TRANSIENT, "AWS asks to slow down"},
        {"RequestTimeout", -EAGAIN, TRANSIENT, "AWS waited too long for the request"},
        {"OperationAbortedException", -EAGAIN, TRANSIENT, "another change of the same thing is under way at AWS"},
        {"ServiceUnavailableException", -EAGAIN, TRANSIENT, "the AWS service is not available now"},
        {"ServiceUnavailable", -EAGAIN, TRANSIENT, "the AWS service is not available now"},
        {"InternalFailure", -EAGAIN, TRANSIENT, "the AWS service failed"},
        {"InternalError", -EAGAIN, TRANSIENT, "the AWS service failed"},
};
// clang-format on

static bool is_word(char c)
{
        return isalnum((unsigned char)c) || c == '_';
}

/* The code as a word of its own: "AccessDenied" is not in "AccessDeniedException". "Client." may stand before it. */
static bool names(const char *text, const char *code)
{
        size_t len = strlen(code);
        for (const char *at = text; (at = strstr(at, code)); at++)
                if ((at == text || !is_word(at[-1])) && !is_word(at[len]))
                        return true;
        return false;
}

static const struct rule *rule_of(const char *code, const char *message)
{
        for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
                if (message && (rules[i].flags & BY_MESSAGE) && strstr(message, rules[i].code))
                        return &rules[i];
                if (str_eq(code, rules[i].code))
                        return &rules[i];
        }
        return NULL;
}

/* "... is not authorized to perform: ec2:RunInstances on resource ..." -> "ec2:RunInstances"; NULL: it does not say. */
static char *action_in(const char *text)
{
        const char *at = text ? strstr(text, "to perform: ") : NULL;
        if (!at)
                return NULL;
        at += strlen("to perform: ");
        size_t len = 0;
        while (is_word(at[len]) || at[len] == ':' || at[len] == '-' || at[len] == '*')
                len++;
        return len && len < 100 && memchr(at, ':', len) ? xstrndup(at, len) : NULL;
}

/* What is said of a wrong signature repeats the request that was signed, and nothing of that is repeated here. */
static bool quotes_request(const char *text)
{
        return text && (strstr(text, "SignatureDoesNotMatch") || strstr(text, "InvalidSignatureException"));
}

static void add_sentence(struct buf *out, const struct rule *rule, const struct aws_fault *fault)
{
        bool quotes = quotes_request(fault->code) || quotes_request(fault->message);
        buf_adds(out, rule->sentence);
        if (rule->flags & WANTS_ACTION) {
                _cleanup_free_ char *said = quotes ? NULL : action_in(fault->message);
                buf_addf(out, " %s", said ? said : str_or(fault->action, "this"));
        }
        if (!(rule->flags & WANTS_REGION) || !fault->region)
                return;
        if (fault->right_region && strlen(fault->right_region) < 64)
                buf_addf(out, " (%.63s, not %s)", fault->right_region, fault->region);
        else
                buf_addf(out, " (asked in %s)", fault->region);
}

static int set_unknown(const struct aws_fault *fault, struct error *error)
{
        _cleanup_buf_ struct buf clean = BUF_NULL;
        const char *message = str_or(fault->message, "");
        int code = fault->status >= 500 || fault->status == 429 ? -EAGAIN : fault->status == 403 ? -EACCES : -EINVAL;
        utf8_scrub(message, strnlen(message, MESSAGE_MAX), &clean);
        if (!fault->code)
                return error_set(error, code, "AWS answered %s with HTTP %ld", str_or(fault->action, "a call"),
                                 fault->status);
        int shown = (int)utf8_cut(fault->code, strlen(fault->code), CODE_MAX);
        return error_set(error, code, "AWS refuses %s: %.*s%s%s", str_or(fault->action, "a call"), shown, fault->code,
                         clean.len ? ": " : "", buf_str(&clean));
}

int aws_fault_set(const struct aws_fault *fault, struct error *error)
{
        _cleanup_buf_ struct buf sentence = BUF_NULL;
        const struct rule *rule = rule_of(fault->code, fault->message);
        if (!rule)
                return set_unknown(fault, error);
        add_sentence(&sentence, rule, fault);
        if (fault->code) {
                int shown = (int)utf8_cut(fault->code, strlen(fault->code), CODE_MAX);
                return error_set(error, rule->error, "%s (AWS: %.*s)", buf_str(&sentence), shown, fault->code);
        }
        return error_set(error, rule->error, "%s", buf_str(&sentence));
}

bool aws_fault_transient(const char *code)
{
        const struct rule *rule = code ? rule_of(code, NULL) : NULL;
        return rule && (rule->flags & TRANSIENT);
}

char *aws_explain(const char *text, int *ret_code)
{
        for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
                bool found = rules[i].flags & BY_MESSAGE ? strstr(text, rules[i].code) != NULL
                                                         : names(text, rules[i].code);
                if (!found)
                        continue;
                struct buf out = BUF_NULL;
                struct aws_fault fault = {.message = text};
                add_sentence(&out, &rules[i], &fault);
                if (ret_code)
                        *ret_code = rules[i].error;
                return buf_steal(&out);
        }
        return NULL;
}
