#include "fieldgate/clock.h"
#include "fieldgate/spool.h"

#include <stddef.h>
#include <string.h>

static const char *const durabilities[] = { "outage", "always", NULL };
static const char *const policies[] = { "drop-oldest", "drop-newest", "block", NULL };

#define SPOOL(field) offsetof(struct fg_spool_settings, field)

static const struct fg_setting spool_settings[] = {
    { .key = "path",
      .type = FG_SETTING_TEXT,
      .offset = SPOOL(path),
      .restart = true,
      .fallback = "/var/lib/fieldgate/spool.db",
      .minimum = 1,
      .maximum = 400,
      .help = "The file, with its full path. Its folder must be there, belong to the daemon's user, and not "
              "be writable by others." },
    { .key = "durability",
      .type = FG_SETTING_CHOICE,
      .offset = SPOOL(durability),
      .restart = true,
      .fallback = "outage",
      .choices = durabilities,
      .help = "`outage`: to disk only while the broker is away or behind. `always`: on disk before a reading "
              "counts as accepted." },
    { .key = "max_bytes",
      .type = FG_SETTING_SIZE,
      .offset = SPOOL(max_bytes),
      .restart = true,
      .fallback = "64MiB",
      .minimum = 0,
      .maximum = INT64_C(1) << 40,
      .help = "What the spool may take on disk, its log included. 0 is no limit." },
    { .key = "max_age",
      .type = FG_SETTING_DURATION,
      .offset = SPOOL(max_age_ns),
      .restart = true,
      .fallback = "0s",
      .minimum = 0,
      .maximum = 3650 * 86400 * FG_NS_PER_S,
      .help = "Older messages are dropped. 0 is no limit." },
    { .key = "when_full",
      .type = FG_SETTING_CHOICE,
      .offset = SPOOL(when_full),
      .restart = true,
      .fallback = "drop-oldest",
      .choices = policies,
      .help = "What to do when the spool is full: drop the oldest messages, drop the newest, or have the "
              "devices wait." },
    { .key = "replay_rate",
      .type = FG_SETTING_INTEGER,
      .offset = SPOOL(replay_rate),
      .restart = true,
      .fallback = "0",
      .minimum = 0,
      .maximum = 1000000,
      .unit = "messages/s",
      .help = "How fast the spool is emptied when the broker is back. 0 is no limit." },
    { 0 },
};

#define MIN_BYTES (INT64_C(1) << 20)

static void check_spool(struct fg_check *check, const void *settings)
{
    const struct fg_spool_settings *spool = settings;
    size_t length = strlen(spool->path);
    if (spool->path[0] != '/' || spool->path[length - 1] == '/') {
        fg_check_problem(check, "path",
                         "must be the full path of a file, such as /var/lib/fieldgate/spool.db");
    }
    if (spool->max_bytes != 0 && spool->max_bytes < MIN_BYTES) {
        fg_check_problem(check, "max_bytes", "is too small to work in; use at least 1MiB, or 0 for no limit");
    }
}

const struct fg_schema fg_spool_schema = {
    .name = "spool",
    .help = "The store on disk of what the broker has not acknowledged. The group's presence turns it on.",
    .size = sizeof(struct fg_spool_settings),
    .settings = spool_settings,
    .check = check_spool,
};
