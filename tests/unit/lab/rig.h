/* A lab's database for one test program: a real PostgreSQL with the lab's schema in it. */
#pragma once

#include "lab/operation.h"
#include "lab/seat.h"
#include "lab/vm.h"
#include "pg.h"

struct lab {
        struct pg pg;
        struct db *db;
};

/* The one of a program that needs no other, opened and closed with its group of tests. */
extern struct lab lab;
int lab_set_up(void **state);
int lab_tear_down(void **state);

void lab_open(struct lab *lab); /* as a cmocka group set-up would */
void lab_close(struct lab *lab);
/* Forgets every row of every table. */
void lab_empty(struct lab *lab);
/* Runs the query; fails the test with its sentence when it fails. */
void lab_run(struct lab *lab, struct db_query query);
/* SQL with parameters put in as printf does; for what the statements under test do not do. */
void lab_exec(struct lab *lab, const char *format, ...) _printf_(2, 3);
char *lab_value(struct lab *lab, const char *format, ...) _printf_(2, 3); /* owned by the caller */
void lab_expect(struct lab *lab, const char *wanted, const char *format, ...) _printf_(3, 4);
/* A VM that can be claimed. */
void lab_add_vm(struct lab *lab, const char *hostname);
/* Items of a batch, sent as one statement: the array is taken over; for each row, decode gets receivers[ord]. */
int lab_batch(struct lab *lab, const struct db_statement *statement, json_t *items, void *receivers, size_t size,
              struct error *error);
