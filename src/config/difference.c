#include "fieldgate/config.h"

#include <stdio.h>
#include <string.h>

#define PATH_ROOM 256

/* Items of lists inherit lists: a hundred thousand devices can share one list of points. The two that were
 * found the same last need no second look. */
struct comparison {
    const void *a, *b;
};

static bool is_same_group(struct comparison *comparison, const struct fg_schema *schema, const char *a,
                          const char *b);

static bool is_same_texts(const struct fg_texts *a, const struct fg_texts *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = strcmp(a->items[i], b->items[i]) == 0;
    }
    return same;
}

static bool is_same_optional(struct comparison *comparison, const struct fg_schema *schema, const void *a,
                             const void *b)
{
    return a && b ? is_same_group(comparison, schema, a, b) : a == b;
}

static bool is_same_list(struct comparison *comparison, const struct fg_schema *schema,
                         const struct fg_settings_list *a, const struct fg_settings_list *b)
{
    if (a->count != b->count) {
        return false;
    }
    if (a->count == 0 || (comparison->a == a->items && comparison->b == b->items)) {
        return true;
    }
    for (size_t i = 0; i < a->count; i++) {
        size_t at = i * schema->size;
        if (!is_same_group(comparison, schema, (const char *)a->items + at, (const char *)b->items + at)) {
            return false;
        }
    }
    *comparison = (struct comparison){ a->items, b->items };
    return true;
}

static bool is_same_choice(struct comparison *comparison, const struct fg_chosen *a,
                           const struct fg_chosen *b)
{
    return a->variant == b->variant &&
           (!a->variant || !a->variant->schema ||
            is_same_group(comparison, a->variant->schema, a->settings, b->settings));
}

static bool is_same_setting(struct comparison *comparison, const struct fg_setting *row, const void *a,
                            const void *b)
{
    switch (row->type) {
    case FG_SETTING_BOOLEAN:
        return *(const bool *)a == *(const bool *)b;
    case FG_SETTING_REAL:
        return memcmp(a, b, sizeof(double)) == 0;
    case FG_SETTING_INTEGER:
    case FG_SETTING_DURATION:
    case FG_SETTING_SIZE:
        return *(const int64_t *)a == *(const int64_t *)b;
    case FG_SETTING_CHOICE:
        return *(const int *)a == *(const int *)b;
    case FG_SETTING_TEXT:
        return strcmp(*(char *const *)a, *(char *const *)b) == 0;
    case FG_SETTING_TEXTS:
        return is_same_texts(a, b);
    case FG_SETTING_GROUP:
    case FG_SETTING_INLINE:
        return is_same_group(comparison, row->schema, a, b);
    case FG_SETTING_OPTIONAL:
        return is_same_optional(comparison, row->schema, *(void *const *)a, *(void *const *)b);
    case FG_SETTING_LIST:
        return is_same_list(comparison, row->schema, a, b);
    case FG_SETTING_VARIANT:
        return is_same_choice(comparison, a, b);
    }
    return false; /* who cannot tell says that it changed: that costs a link, the other way a change is lost
                   */
}

static bool is_same_group(struct comparison *comparison, const struct fg_schema *schema, const char *a,
                          const char *b)
{
    for (const struct fg_setting *row = schema->settings; row->key; row++) {
        if (!is_same_setting(comparison, row, a + row->offset, b + row->offset)) {
            return false;
        }
    }
    return true;
}

bool fg_config_is_same(const struct fg_schema *schema, const void *a, const void *b)
{
    struct comparison comparison = { NULL, NULL };
    return is_same_group(&comparison, schema, a, b);
}

struct walk {
    struct comparison comparison;
    void (*visit)(void *context, const char *path, const struct fg_setting *setting);
    void *context;
    char path[PATH_ROOM];
};

/* length: of what stands in the path. */
static void walk_group(struct walk *walk, const struct fg_schema *schema, const char *a, const char *b,
                       size_t length)
{
    for (const struct fg_setting *row = schema->settings; row->key; row++) {
        const void *left = a + row->offset;
        const void *right = b + row->offset;
        if (row->type == FG_SETTING_INLINE) {
            walk_group(walk, row->schema, left, right, length);
            continue;
        }
        if (is_same_setting(&walk->comparison, row, left, right)) {
            continue;
        }
        int added =
            snprintf(walk->path + length, sizeof walk->path - length, "%s%s", length ? "." : "", row->key);
        size_t below = length + (size_t)added;
        below = below < sizeof walk->path ? below : sizeof walk->path - 1;
        if (row->type == FG_SETTING_OPTIONAL) {
            left = *(void *const *)left;
            right = *(void *const *)right;
        }
        if (row->type == FG_SETTING_GROUP || (row->type == FG_SETTING_OPTIONAL && left && right)) {
            walk_group(walk, row->schema, left, right, below);
        } else {
            walk->visit(walk->context, walk->path, row);
        }
        walk->path[length] = '\0';
    }
}

void fg_config_each_difference(const struct fg_schema *schema, const void *a, const void *b,
                               void (*visit)(void *context, const char *path,
                                             const struct fg_setting *setting),
                               void *context)
{
    struct walk walk = { .visit = visit, .context = context };
    walk_group(&walk, schema, a, b, 0);
}
