/* What an instance type has. */
#include <errno.h>
#include <string.h>

#include "aws/internal.h"
#include "base/text.h"

#define TYPE_MAX 64

struct reading {
        struct aws_instance_type *type;
        char *name, *maker; /* of the GPU that is being read */
        int count;
        bool found;
};

static int number(const char *text, int64_t max)
{
        int64_t value;
        return parse_int(text, 0, max, &value) == 0 ? (int)value : 0;
}

static void end_gpu(struct reading *r)
{
        r->type->gpus += MAX(r->count, 1);
        if (r->maker && strcasecmp(r->maker, "NVIDIA") == 0)
                r->type->nvidia = true;
        if (!r->type->gpu)
                r->type->gpu = xasprintf("%s %s", str_or(r->maker, ""), str_or(r->name, ""));
        free(STEAL(r->name));
        free(STEAL(r->maker));
        r->count = 0;
}

static void take(void *userdata, const char *path, const char *value)
{
        struct reading *r = userdata;
        if (str_ends(path, "/instanceTypeSet/item/instanceType"))
                r->found = true;
        else if (str_ends(path, "/instanceTypeSet/item/vCpuInfo/defaultVCpus"))
                r->type->vcpus = number(value, 1 << 16);
        else if (str_ends(path, "/instanceTypeSet/item/memoryInfo/sizeInMiB"))
                r->type->memory_mib = number(value, 1 << 30);
        else if (str_ends(path, "/gpuInfo/gpus/item/name"))
                str_replace(&r->name, value);
        else if (str_ends(path, "/gpuInfo/gpus/item/manufacturer"))
                str_replace(&r->maker, value);
        else if (str_ends(path, "/gpuInfo/gpus/item/count"))
                r->count = number(value, 1 << 10);
        else if (str_ends(path, "/gpuInfo/gpus/item"))
                end_gpu(r);
}

static int read_types(const struct buf *answer, const char *type, struct aws_instance_type *ret, struct error *error)
{
        struct reading reading = {.type = ret};
        *ret = (struct aws_instance_type){0};
        int r = aws_xml_walk(buf_str(answer), answer->len, take, &reading);
        free(reading.name);
        free(reading.maker);
        if (r == 0 && reading.found)
                return 0;
        aws_instance_type_clear(ret);
        if (r < 0)
                return error_set(error, -EIO, "AWS's answer about the instance type %s cannot be read", type);
        return error_set(error, -ENOENT, "there is no instance type %s in this region", type);
}

int aws_instance_type_get(struct aws *aws, const char *type, struct aws_instance_type *ret, struct error *error)
{
        static const struct aws_pair head[] = {{"content-type", "application/x-www-form-urlencoded"}};
        if (!*type || strlen(type) > TYPE_MAX)
                return error_set(error, -EINVAL, "%.*s is no instance type", TYPE_MAX, type);
        const struct aws_pair form[] = {
                {"Action", "DescribeInstanceTypes"}, {"Version", "2016-11-15"}, {"InstanceType.1", type}};
        _cleanup_free_ char *body = aws_query(form, ARRAY_SIZE(form));
        struct aws_call call = {.service = "ec2",
                                .action = "ec2:DescribeInstanceTypes",
                                .method = "POST",
                                .path = "/",
                                .head = head,
                                .n_head = ARRAY_SIZE(head),
                                .body = body,
                                .len = strlen(body)};
        _cleanup_buf_ struct buf answer = BUF_NULL;
        int r = aws_call(aws, &call, &answer, error);
        return r < 0 ? error_wrap(error, "instance type %s", type) : read_types(&answer, type, ret, error);
}

void aws_instance_type_clear(struct aws_instance_type *type)
{
        free(type->gpu);
        *type = (struct aws_instance_type){0};
}
