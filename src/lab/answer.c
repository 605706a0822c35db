/* The decoders of the common answers. */
#include "lab/answer.h"

int answer_flag(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        ((struct flag_answer *)receiver)->yes = db_bool(row, 0);
        return 0;
}

int answer_count(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        ((struct count_answer *)receiver)->count = db_int(row, 0);
        return 0;
}

int answer_text(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        str_replace(&((struct text_answer *)receiver)->text, db_text(row, 0));
        return 0;
}

int answer_object(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        struct json_answer *answer = receiver;
        json_decref(answer->value);
        answer->value = db_object(row);
        return 0;
}

int answer_append(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        json_array_append_new(((struct vm_list *)receiver)->array, db_object(row));
        return 0;
}
