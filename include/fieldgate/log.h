/*
 * The log: lines on stderr with a syslog priority prefix ("<4>port weather: …"; on a terminal the level's
 * name, "warning: port weather: …"), or, when stderr is the journal ($JOURNAL_STREAM), datagrams in the
 * journal's native protocol with PORT= and DEVICE= as fields of their own. (systemd documents: sd-daemon(3)
 * for the prefix, JOURNAL_NATIVE_PROTOCOL for the datagrams.)
 *
 * Any thread. A line is one write of at most 1024 bytes; a reader of stderr that does not read can delay the
 * caller, and a line that the journal does not take goes to stderr. errno stays as it was. Control characters
 * and what is not UTF-8 become '?': a device cannot forge lines.
 */
#ifndef FIELDGATE_LOG_H
#define FIELDGATE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum fg_log_level { FG_LOG_ERROR, FG_LOG_WARNING, FG_LOG_INFO, FG_LOG_DEBUG };

/* NULL-terminated names in the order of the enum, for the settings table. */
extern const char *const fg_log_level_names[];

/* Call once before other threads exist; before it, lines go to stderr at level info. */
void fg_log_open(enum fg_log_level level);
void fg_log_set_level(enum fg_log_level level);
bool fg_log_enabled(enum fg_log_level level);

/* Whether lines go to the journal by its native protocol. */
bool fg_log_is_journal(void);

void fg_log(enum fg_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The line is prefixed "port P: " or "port P: device D: ". device may be NULL. */
void fg_log_port(enum fg_log_level level, const char *port, const char *device, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * A limit for lines that can repeat: at most one a minute passes; the next that does says how many were held
 * back. Zero-initialise; embed one beside what repeats.
 */
struct fg_log_limit {
    _Atomic int64_t next_ns;
    atomic_uint held;
};

/* As fg_log_port (port may be NULL too), within the limit. */
void fg_log_limited(struct fg_log_limit *limit, enum fg_log_level level, const char *port, const char *device,
                    const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
