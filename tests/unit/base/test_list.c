/* Links that live in their members. */
#include "base/list.h"
#include "unit.h"

struct member {
        int number;
        struct list link;
};

static void keeps_order(void **state _unused_)
{
        struct list head;
        struct member members[4] = {0};
        list_init(&head);
        assert_true(list_empty(&head));
        assert_null(list_pop(&head));
        for (int i = 0; i < 4; i++) {
                members[i].number = i;
                assert_false(list_linked(&members[i].link));
                list_append(&head, &members[i].link);
        }
        int expected = 0;
        list_for_each (link, &head)
                assert_int_equal(list_entry(link, struct member, link)->number, expected++);
        assert_int_equal(expected, 4);
        for (int i = 0; i < 4; i++)
                assert_ptr_equal(list_pop(&head), &members[i].link);
        assert_true(list_empty(&head));
        assert_false(list_linked(&members[0].link));
}

static void members_may_go_while_it_is_walked(void **state _unused_)
{
        struct list head;
        struct member members[5] = {0};
        int seen = 0;
        list_init(&head);
        for (int i = 0; i < 5; i++)
                list_append(&head, &members[i].link);
        list_for_each (link, &head) {
                seen++;
                if (seen % 2)
                        list_remove(link);
        }
        assert_int_equal(seen, 5);
        assert_ptr_equal(list_pop(&head), &members[1].link);
        assert_ptr_equal(list_pop(&head), &members[3].link);
        assert_true(list_empty(&head));
}

static void a_link_in_no_list_may_be_removed(void **state _unused_)
{
        struct list head = {0};
        struct member member = {0};
        assert_true(list_empty(&head));
        assert_null(list_pop(&head));
        list_remove(&member.link);
        list_init(&head);
        list_append(&head, &member.link);
        list_remove(&member.link);
        list_remove(&member.link);
        assert_true(list_empty(&head));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(keeps_order),
                cmocka_unit_test(members_may_go_while_it_is_walked),
                cmocka_unit_test(a_link_in_no_list_may_be_removed),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
