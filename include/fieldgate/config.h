/*
 * The reader: a libconfig file, checked against a table of settings, into plain structs. It knows libconfig
 * and the tables, and nothing of what the settings mean.
 */
#ifndef FIELDGATE_CONFIG_H
#define FIELDGATE_CONFIG_H

#include "fieldgate/setting.h"

#include <stdio.h>

/* What a file says. Owns every string and struct that it points to. */
struct fg_config;

/*
 * Reads path and checks it whole against schema. Problems go to report, one line each without newline:
 * "FILE:LINE: PATH: what is wrong, and what would be right" (FILE is the included file where @include was
 * used; a setting that is missing is told at the line of its group; PATH is "file" where there is none), in
 * the order of the text. One problem does not hide another, but for a syntax error: with it the settings are
 * not looked at. At most 100 are told, then "… and more". Returns 0 and *config; -EINVAL when at least one
 * problem was told (a syntax error, an unreadable or oversized file (4 MiB) and an @include loop included);
 * -ENOMEM. Blocks for the disk. Any thread, once at a time a call.
 */
int fg_config_read(const char *path, const struct fg_schema *schema,
                   void (*report)(void *context, const char *problem), void *context,
                   struct fg_config **config);

/* The settings, filled: the struct of the schema. Valid until fg_config_free. */
const void *fg_config_settings(const struct fg_config *config);
void fg_config_free(struct fg_config *config);

/*
 * Whether two structs of one schema say the same, with all that they hold: texts, lists, groups, variants.
 * Lines of the file are not looked at. Pure; any thread.
 */
bool fg_config_is_same(const struct fg_schema *schema, const void *a, const void *b);

/*
 * Calls visit for each setting in which two structs of one schema differ, in the order of the table, with its
 * path ("mqtt.tls.ca_file") and its row. A list, a variant and a group that only one of them has count as one
 * setting. path is valid until visit returns. Pure; any thread.
 */
void fg_config_each_difference(const struct fg_schema *schema, const void *a, const void *b,
                               void (*visit)(void *context, const char *path,
                                             const struct fg_setting *setting),
                               void *context);

/* Writes the reference page (Markdown) of a schema: every group, key, type, range, unit, default and help.
 * Returns 0, -EINVAL when a table has a default that does not parse (marked "not valid" on the page), -EIO,
 * -ENOMEM. */
int fg_config_write_reference(FILE *out, const struct fg_schema *schema);

#endif
