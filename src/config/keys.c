#include "reader.h"

#include <stdio.h>
#include <string.h>

static size_t collect_keys(const struct fg_schema *schema, const char **keys, size_t count)
{
    for (const struct fg_setting *row = schema ? schema->settings : NULL; row && row->key; row++) {
        if (row->type == FG_SETTING_INLINE) {
            count = collect_keys(row->schema, keys, count);
        } else if (count + 1 < CONFIG_MAX_ROWS) {
            keys[count++] = row->key;
        }
    }
    keys[count] = NULL;
    return count;
}

static bool has_key(const char *const *keys, const char *key)
{
    for (; *keys; keys++) {
        if (strcmp(*keys, key) == 0) {
            return true;
        }
    }
    return false;
}

/* The types of a variant group that know the key, in words; false when none does. */
static bool other_types(const struct fg_setting *row, const char *key, char words[WHY_ROOM])
{
    const char *names[16];
    size_t count = 0;
    for (size_t i = 0; row->variants[i] && count + 1 < sizeof names / sizeof *names; i++) {
        const char *keys[CONFIG_MAX_ROWS];
        collect_keys(row->variants[i]->schema, keys, 0);
        if (has_key(keys, key)) {
            names[count++] = row->variants[i]->name;
        }
    }
    names[count] = NULL;
    *words = '\0';
    words_choices(words, WHY_ROOM, names);
    return count > 0;
}

static void tell_unknown(struct reader *reader, const char *const *keys, const struct fg_setting *variant_row,
                         const struct spot *spot, const char *key)
{
    const struct origin *origin = reader_origin(reader, spot);
    char words[WHY_ROOM];
    const char *near = word_meant(key, keys);
    if (variant_row && other_types(variant_row, key, words)) {
        problems_tell(reader->problems, origin, spot->place, "is not known here; %s belongs to type %s", key,
                      words);
    } else if (near) {
        problems_tell(reader->problems, origin, spot->place, "is not known; did you mean %s?", near);
    } else {
        size_t at = (size_t)snprintf(words, sizeof words, "%s", *keys ? *keys : "nothing");
        for (size_t i = 1; *keys && keys[i] && at < sizeof words; i++) {
            at += (size_t)snprintf(words + at, sizeof words - at, ", %s", keys[i]);
        }
        problems_tell(reader->problems, origin, spot->place, "is not known; here can stand: %s", words);
    }
}

void keys_check(struct reader *reader, const struct fg_schema *schema, const struct fg_setting *variant_row,
                const struct spot *spot)
{
    const char *keys[CONFIG_MAX_ROWS];
    size_t count = 0;
    if (variant_row) {
        keys[count++] = "type";
    }
    collect_keys(schema, keys, count);
    int length = config_setting_length(spot->setting);
    for (int i = 0; i < length && !problems_full(reader->problems); i++) {
        config_setting_t *setting = config_setting_get_elem(spot->setting, (unsigned)i);
        const char *key = config_setting_name(setting);
        if (!has_key(keys, key)) {
            struct place place = { .above = spot->place, .name = key, .length = strlen(key) };
            struct spot below = spot_below(spot, &place, setting);
            tell_unknown(reader, keys, variant_row, &below, key);
        }
    }
}
