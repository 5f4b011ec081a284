/*
 * Tables of text, aligned by what a terminal shows, and how numbers are put for people.
 */
#ifndef FIELDGATE_CTL_TABLE_H
#define FIELDGATE_CTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum table_style { TABLE_PLAIN, TABLE_GOOD, TABLE_BAD, TABLE_DOUBTFUL, TABLE_HEAD };

#define TABLE_COLUMNS 12

struct table_cell {
    char *text;
    enum table_style style;
};

/* Zeroed: empty. Without memory it stays as it is, and what it prints is short of something. */
struct table {
    size_t columns;
    const char *heads[TABLE_COLUMNS];
    bool right[TABLE_COLUMNS]; /* aligned so */
    struct table_cell *cells;  /* row by row */
    size_t count, capacity;
};

/* Adds a column before the first cell; head begins with '>' where it is aligned to the right. */
void table_column(struct table *table, const char *head);

/* Adds the next cell, made safe for a terminal. */
void table_cell(struct table *table, enum table_style style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Prints heads and rows. Without colour there is no byte but text. */
void table_print(const struct table *table, FILE *out, bool colour);
void table_free(struct table *table);

/* How many columns of a terminal a text takes: combining marks take none, wide characters two. */
size_t table_width(const char *text);

/* Replaces what a terminal would obey, and what is not UTF-8, by '?'. */
void table_clean(char *text);

/* The start and the end of a style, "" without colour. */
const char *table_on(enum table_style style, bool colour);
const char *table_off(enum table_style style, bool colour);

#define TABLE_SHORT 32

/* "3 s", "2 min", "5 h", "3 d"; "just now" below one second. */
void table_age(double seconds, char text[TABLE_SHORT]);

/* "512 B", "4.0 MiB". */
void table_bytes(uint64_t bytes, char text[TABLE_SHORT]);

#endif
