#include "reader.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fg_config {
    struct arena memory;
    void *settings;
};

/* Memory whose settings keep what they hold where the file is silent: what was inherited. */
struct kept {
    const char *from, *to;
};

static void read_group(struct reader *reader, const struct fg_schema *schema, struct spot spot, char *base,
                       struct kept kept);

const struct origin *reader_origin(const struct reader *reader, const struct spot *spot)
{
    return plain_origin(reader->plain, config_setting_source_line(spot->near));
}

static bool is_kept(struct kept kept, const void *field)
{
    return (const char *)field >= kept.from && (const char *)field < kept.to;
}

struct spot spot_below(const struct spot *spot, const struct place *place, config_setting_t *setting)
{
    return (struct spot){ .setting = setting, .near = setting ? setting : spot->near, .place = place };
}

/* A problem unless the setting is a group. */
static bool is_group(struct reader *reader, const struct fg_setting *row, const struct spot *spot)
{
    if (config_setting_is_group(spot->setting)) {
        return true;
    }
    char wanted[WHY_ROOM];
    char found[QUOTED_ROOM + 32];
    value_wanted(row, wanted);
    setting_describe(spot->setting, found);
    problems_tell(reader->problems, reader_origin(reader, spot), spot->place, "expected %s, found %s", wanted,
                  found);
    return false;
}

static void tell_missing(struct reader *reader, const struct fg_setting *row, const struct spot *spot)
{
    char wanted[WHY_ROOM];
    value_wanted(row, wanted);
    problems_tell(reader->problems, reader_origin(reader, spot), spot->place, "is missing; expected %s",
                  wanted);
}

/* The check of one value gets the group and the value's key, so that it may name other settings of the group
 * too. */
static void run_check(struct reader *reader, const struct fg_setting *row, const struct spot *group,
                      const char *key, const void *field)
{
    if (row->check) {
        struct fg_check check = { .reader = reader, .spot = *group };
        row->check(&check, key, field);
    }
}

/* ---- values ---- */

static bool read_literal(struct reader *reader, const struct fg_setting *row, const struct spot *spot,
                         void *field)
{
    struct literal literal;
    char why[WHY_ROOM];
    if (reader_origin(reader, spot)->told) {
        reader->skipped++;
        return false;
    }
    if (!literal_of(spot->setting, &literal)) {
        char wanted[WHY_ROOM];
        char found[QUOTED_ROOM + 32];
        value_wanted(row, wanted);
        setting_describe(spot->setting, found);
        snprintf(why, sizeof why, "expected %.300s, found %s", wanted, found);
    } else if (value_store(reader->memory, row, &literal, field, why)) {
        return true;
    }
    if (*why) {
        problems_tell(reader->problems, reader_origin(reader, spot), spot->place, "%s", why);
    }
    return false;
}

static bool count_in_range(struct reader *reader, const struct fg_setting *row, const struct spot *spot,
                           size_t count)
{
    bool limited = row->minimum != 0 || row->maximum != 0;
    if (!limited || ((int64_t)count >= row->minimum && (int64_t)count <= row->maximum)) {
        return true;
    }
    char range[RANGE_ROOM];
    value_range(row, range);
    problems_tell(reader->problems, reader_origin(reader, spot), spot->place,
                  "has %zu item%s; it must have %s", count, count == 1 ? "" : "s", range);
    return false;
}

static void read_texts(struct reader *reader, const struct fg_setting *row, const struct spot *group,
                       const struct spot *spot, struct fg_texts *texts)
{
    config_setting_t *setting = spot->setting;
    bool many = config_setting_is_list(setting) || config_setting_is_array(setting);
    size_t count = many ? (size_t)config_setting_length(setting) : 1;
    if (config_setting_is_group(setting)) {
        read_literal(reader, row, spot, NULL); /* tells what is wanted */
        return;
    }
    char **items = arena_new(reader->memory, (count + 1) * sizeof *items);
    if (!items || !count_in_range(reader, row, spot, count)) {
        return;
    }
    for (size_t i = 0; i < count && !problems_full(reader->problems); i++) {
        struct place place = { .above = spot->place, .index = i };
        struct spot item =
            many ? spot_below(spot, &place, config_setting_get_elem(setting, (unsigned)i)) : *spot;
        if (!read_literal(reader, row, &item, &items[i])) {
            continue;
        }
        char key[CONFIG_MAX_NAME + 32];
        snprintf(key, sizeof key, many ? "%s[%zu]" : "%s", row->key, i);
        run_check(reader, row, group, key, &items[i]);
    }
    *texts = (struct fg_texts){ .count = count, .items = items };
}

static void set_default(struct reader *reader, const struct fg_setting *row, void *field)
{
    bool sound = value_store_fallback(reader->memory, row, field);
    assert(sound || reader->memory->failed);
    (void)sound;
}

static void read_value(struct reader *reader, const struct fg_setting *row, const struct spot *group,
                       const struct spot *spot, void *field, bool keeps)
{
    if (!spot->setting) {
        if (!keeps && row->fallback) {
            set_default(reader, row, field);
        } else if (!keeps) {
            tell_missing(reader, row, spot);
        }
    } else if (row->type == FG_SETTING_TEXTS) {
        read_texts(reader, row, group, spot, field);
    } else if (read_literal(reader, row, spot, field)) {
        run_check(reader, row, group, row->key, field);
    }
}

/* ---- groups in groups ---- */

static void read_optional(struct reader *reader, const struct fg_setting *row, const struct spot *spot,
                          void **field, bool keeps)
{
    if (!spot->setting) {
        *field = keeps ? *field : NULL;
        return;
    }
    char *fresh = arena_new(reader->memory, row->schema->size);
    if (!fresh || !is_group(reader, row, spot)) {
        return;
    }
    struct kept kept = { NULL, NULL };
    if (keeps && *field) { /* an inherited group is shared: what this one changes, it changes in a copy */
        memcpy(fresh, *field, row->schema->size);
        kept = (struct kept){ fresh, fresh + row->schema->size };
    }
    *field = fresh;
    read_group(reader, row->schema, *spot, fresh, kept);
}

static bool is_list(struct reader *reader, const struct fg_setting *row, const struct spot *spot)
{
    const config_setting_t *setting = spot->setting;
    bool empty = config_setting_is_array(setting) && config_setting_length(setting) == 0;
    if (config_setting_is_list(setting) || empty) {
        return true;
    }
    char wanted[WHY_ROOM];
    char found[QUOTED_ROOM + 32];
    value_wanted(row, wanted);
    setting_describe(setting, found);
    problems_tell(reader->problems, reader_origin(reader, spot), spot->place, "expected %s, found %s%s",
                  wanted, found,
                  config_setting_is_group(setting) ? "; put it in round brackets: ( { ... } )" : "");
    return false;
}

static void read_list(struct reader *reader, const struct fg_setting *row, const struct spot *spot,
                      const char *base, struct fg_settings_list *list, bool keeps)
{
    if (!spot->setting) {
        if (!keeps) {
            *list = (struct fg_settings_list){ 0 };
            if (!row->fallback) {
                tell_missing(reader, row, spot);
            }
        }
        return;
    }
    if (!is_list(reader, row, spot)) {
        return;
    }
    size_t count = (size_t)config_setting_length(spot->setting);
    size_t size = row->schema->size;
    if (!count_in_range(reader, row, spot, count)) {
        return;
    }
    char *items = arena_new(reader->memory, count * size);
    if (!items) {
        return;
    }
    static const struct fg_setting group_row = { .type = FG_SETTING_GROUP };
    for (size_t i = 0; i < count && !problems_full(reader->problems) && !reader->memory->failed; i++) {
        char *item = items + i * size;
        struct place place = { .above = spot->place, .index = i };
        struct spot below = spot_below(spot, &place, config_setting_get_elem(spot->setting, (unsigned)i));
        struct kept kept = { item + row->inherit_to, item + row->inherit_to + row->inherit_size };
        memcpy(item + row->inherit_to, base + row->inherit_from, row->inherit_size);
        if (is_group(reader, &group_row, &below)) {
            read_group(reader, row->schema, below, item, kept);
        }
    }
    *list = (struct fg_settings_list){ .count = count, .items = items };
}

/* ---- groups ---- */

static void read_rows(struct reader *reader, const struct fg_schema *schema, const struct spot *spot,
                      char *base, struct kept kept);

static size_t faults_of(const struct reader *reader)
{
    return reader->problems->count + reader->skipped;
}

static void run_group_check(struct reader *reader, const struct fg_schema *schema, const struct spot *spot,
                            const void *settings, size_t faults_before)
{
    if (schema->check && faults_of(reader) == faults_before && !reader->memory->failed) {
        struct fg_check check = { .reader = reader, .spot = *spot };
        schema->check(&check, settings);
    }
}

static const struct fg_variant *choose_variant(struct reader *reader, const struct fg_setting *row,
                                               const struct spot *spot)
{
    const char *names[CONFIG_MAX_ROWS];
    size_t count = 0;
    while (row->variants[count] && count + 1 < CONFIG_MAX_ROWS) {
        names[count] = row->variants[count]->name;
        count++;
    }
    names[count] = NULL;
    int chosen = -1;
    const struct fg_setting type_row = { .key = "type", .type = FG_SETTING_CHOICE, .choices = names };
    struct place place = { .above = spot->place, .name = "type", .length = strlen("type") };
    struct spot type = spot_below(spot, &place, config_setting_get_member(spot->setting, "type"));
    read_value(reader, &type_row, spot, &type, &chosen, false);
    return chosen < 0 ? NULL : row->variants[chosen];
}

static void read_variant(struct reader *reader, const struct fg_setting *row, const struct spot *spot,
                         struct fg_chosen *chosen, bool keeps)
{
    if (!spot->setting) {
        if (!keeps) {
            *chosen = (struct fg_chosen){ 0 };
            if (!row->fallback) {
                tell_missing(reader, row, spot);
            }
        }
        return;
    }
    size_t before = faults_of(reader);
    const struct fg_variant *variant = is_group(reader, row, spot) ? choose_variant(reader, row, spot) : NULL;
    if (!variant) {
        return;
    }
    const struct fg_schema *schema = variant->schema;
    char *settings = arena_new(reader->memory, schema ? schema->size : 0);
    if (!settings) {
        return;
    }
    if (schema) {
        read_rows(reader, schema, spot, settings, (struct kept){ NULL, NULL });
    }
    keys_check(reader, schema, row, spot);
    if (schema) {
        run_group_check(reader, schema, spot, settings, before);
    }
    *chosen = (struct fg_chosen){ .variant = variant,
                                  .settings = settings,
                                  .line = reader_origin(reader, spot)->line };
}

static void read_row(struct reader *reader, const struct fg_setting *row, const struct spot *group,
                     char *base, struct kept kept)
{
    char *field = base + row->offset;
    if (row->type == FG_SETTING_INLINE) {
        size_t before = faults_of(reader);
        read_rows(reader, row->schema, group, field, kept);
        run_group_check(reader, row->schema, group, field, before);
        return;
    }
    struct place place = { .above = group->place, .name = row->key, .length = strlen(row->key) };
    config_setting_t *setting = group->setting ? config_setting_get_member(group->setting, row->key) : NULL;
    struct spot spot = spot_below(group, &place, setting);
    bool keeps = is_kept(kept, field);
    switch (row->type) {
    case FG_SETTING_GROUP:
        if (setting && !is_group(reader, row, &spot)) {
            /* Others may inherit from here, and count on every text being one; nothing more is told of it. */
            size_t told = reader->problems->count;
            read_group(reader, row->schema, spot_below(group, &place, NULL), field, kept);
            reader->problems->count = told;
            break;
        }
        read_group(reader, row->schema, spot, field, kept);
        break;
    case FG_SETTING_OPTIONAL:
        read_optional(reader, row, &spot, (void **)(void *)field, keeps);
        break;
    case FG_SETTING_LIST:
        read_list(reader, row, &spot, base, (struct fg_settings_list *)(void *)field, keeps);
        break;
    case FG_SETTING_VARIANT:
        read_variant(reader, row, &spot, (struct fg_chosen *)(void *)field, keeps);
        break;
    default:
        if (row->type == FG_SETTING_TEXT && !keeps) {
            *(const char **)(void *)field = "";
        }
        read_value(reader, row, group, &spot, field, keeps);
    }
}

/* Lists come after all else: their items inherit from it. */
static void read_rows(struct reader *reader, const struct fg_schema *schema, const struct spot *spot,
                      char *base, struct kept kept)
{
    for (int lists = 0; lists <= 1; lists++) {
        for (const struct fg_setting *row = schema->settings; row->key && !reader->memory->failed; row++) {
            if ((row->type == FG_SETTING_LIST) == lists) {
                read_row(reader, row, spot, base, kept);
            }
        }
    }
}

static void read_group(struct reader *reader, const struct fg_schema *schema, struct spot spot, char *base,
                       struct kept kept)
{
    size_t before = faults_of(reader);
    read_rows(reader, schema, &spot, base, kept);
    if (spot.setting) {
        keys_check(reader, schema, NULL, &spot);
    }
    run_group_check(reader, schema, &spot, base, before);
}

/* ---- the whole ---- */

/* The text is well-formed by now; should libconfig disagree, that is told like any problem. */
static int read_plain(struct reader *reader, const struct fg_schema *schema, char *settings)
{
    config_t tree;
    config_init(&tree);
    if (config_read_string(&tree, (const char *)reader->plain->text.bytes)) {
        config_setting_t *root = config_root_setting(&tree);
        struct spot spot = { .setting = root, .near = root };
        read_group(reader, schema, spot, settings, (struct kept){ NULL, NULL });
    } else {
        const char *text = config_error_text(&tree);
        problems_tell(reader->problems, plain_origin(reader->plain, (unsigned)config_error_line(&tree)), NULL,
                      "libconfig does not understand this: %s", text ? text : "no reason given");
    }
    config_destroy(&tree);
    return reader->memory->failed ? -ENOMEM : reader->problems->count > 0 ? -EINVAL : 0;
}

static int read_file(const char *path, const struct fg_schema *schema, struct arena *scratch,
                     struct problems *problems, struct fg_config *config)
{
    struct plain plain = { 0 };
    int error = prescan(scratch, problems, path, &plain);
    if (!error) {
        config->settings = arena_new(&config->memory, schema->size);
        struct reader reader = { .memory = &config->memory, .problems = problems, .plain = &plain };
        error = config->settings ? read_plain(&reader, schema, config->settings) : -ENOMEM;
    }
    plain_fini(&plain);
    return error;
}

int fg_config_read(const char *path, const struct fg_schema *schema,
                   void (*report)(void *context, const char *problem), void *context,
                   struct fg_config **config)
{
    struct arena scratch = { 0 };
    struct problems problems = { .memory = &scratch };
    struct fg_config *fresh = calloc(1, sizeof *fresh);
    if (!fresh) {
        return -ENOMEM;
    }
    int error = read_file(path, schema, &scratch, &problems, fresh);
    problems_report(&problems, report, context);
    arena_fini(&scratch);
    if (error) {
        fg_config_free(fresh);
        return error == -ENOMEM ? -ENOMEM : -EINVAL;
    }
    *config = fresh;
    return 0;
}

const void *fg_config_settings(const struct fg_config *config)
{
    return config->settings;
}

void fg_config_free(struct fg_config *config)
{
    if (config) {
        arena_fini(&config->memory);
        free(config);
    }
}
