/*
 * fieldgatectl: one request to a daemon, and its answer for people or for scripts.
 */
#ifndef FIELDGATE_CTL_CTL_H
#define FIELDGATE_CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define CTL_PROTOCOL 1

/* Exit statuses. */
enum { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

struct ctl_options {
    const char *socket;
    bool json;   /* lines as the daemon gave them */
    bool colour; /* the reader is a terminal and likes it */
};

/* A connection to the daemon. */
struct ctl_line {
    int fd;
    char *bytes;                 /* what came: */
    size_t start, scanned, size; /* taken up to start; no newline from there up to scanned */
    size_t capacity;
};

/* Connects. Returns whether that worked; else the user was told why, and what to do. */
bool ctl_connect(struct ctl_line *line, const char *path);

/* Sends a request (taken over). Returns as ctl_connect. */
bool ctl_send(struct ctl_line *line, json_t *request);

/* The next line without its newline, valid until the next ctl_read; NULL: none is there yet. */
char *ctl_take(struct ctl_line *line);

/* Reads what has come, without waiting. Returns false at the end, and when there is no memory. */
bool ctl_read(struct ctl_line *line);

/*
 * Sends a request and waits for its answer, at most so long. Returns its object (json_decref) when the daemon
 * says yes. Else NULL, the user was told why. *text is the line, whatever it says, where one came (as of
 * ctl_take), else NULL.
 */
json_t *ctl_ask(struct ctl_line *line, json_t *request, int timeout_s, const char **text);

/* What a line says; NULL, the user was told, when it is no answer of this protocol, or a no. */
json_t *ctl_parse(const char *text);

void ctl_disconnect(struct ctl_line *line);

/* Answers for people, on stdout. */
void ctl_show_status(const json_t *answer, bool colour);
void ctl_show_devices(const json_t *answer, bool colour);
void ctl_show_stats(const json_t *answer, bool colour);

/* Shows readings until the user or the daemon ends it. device NULL: of all. Returns the exit status. */
int ctl_watch(const struct ctl_options *options, const char *device);

/* Has fieldgated check a file: the process becomes it. Returns only when it cannot be found or run, the user
 * was told. */
int ctl_check(const char *file);

#endif
