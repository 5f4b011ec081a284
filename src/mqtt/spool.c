#include "spool_parts.h"

#include "fieldgate/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* The log may take a quarter of the bound, within these. The larger it is, the fewer pages are written twice;
 * the smaller, the less can be in one transaction. */
#define LOG_MIN (INT64_C(512) << 10)
#define LOG_MAX (INT64_C(4) << 20)

/* A file that cannot be read so many times in a row is damaged: a bad sector stays bad, while a bus or a
 * power supply that falters recovers. */
#define UNREADABLE_MAX 3

int fg_spool_tell(struct fg_spool *spool, int error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(spool->problem, sizeof spool->problem, format, arguments);
    va_end(arguments);
    return error;
}

static void read_boot(char *boot, size_t size)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, boot, size - 1);
    if (fd >= 0) {
        close(fd);
    }
    length = length > 0 && boot[length - 1] == '\n' ? length - 1 : length;
    boot[length > 0 ? length : 0] = '\0';
    if (!boot[0]) {
        /* Without a name for this start, no other run is taken to be of the same. */
        snprintf(boot, size, "%lld.%ld", (long long)fg_clock_wall_ms(), (long)getpid());
    }
}

static int64_t name_process(void)
{
    int64_t name;
    if (getrandom(&name, sizeof name, GRND_NONBLOCK) != (ssize_t)sizeof name) {
        name = fg_clock_now_ns() ^ (int64_t)getpid() << 40; /* early in the start of the board */
    }
    return name;
}

static void set_limits(struct fg_spool *spool)
{
    int64_t bound = spool->options.settings->max_bytes;
    int64_t log = bound == 0 || bound / 4 > LOG_MAX ? LOG_MAX : bound / 4;
    spool->log_limit = log < LOG_MIN ? LOG_MIN : log;
    spool->page_limit = bound == 0 ? INT64_MAX : (bound - spool->log_limit) / FG_SPOOL_PAGE;
}

int fg_spool_new(const struct fg_spool_options *options, struct fg_spool **spool)
{
    struct fg_spool *made = calloc(1, sizeof *made);
    if (!made) {
        return -ENOMEM;
    }
    made->options = *options;
    made->lock_fd = -1;
    made->done_fd = -1;
    made->next_id = 1;
    made->error = -ESHUTDOWN;
    fg_map_init(&made->known);
    made->process = name_process();
    set_limits(made);
    if (options->boot_id) {
        snprintf(made->boot, sizeof made->boot, "%s", options->boot_id);
    } else {
        read_boot(made->boot, sizeof made->boot);
    }
    made->path = strdup(options->settings->path);
    made->folder = strdup(options->settings->path);
    int error = made->path && made->folder ? fg_spool_vfs_new(options->vfs, &made->vfs) : -ENOMEM;
    if (error) {
        fg_spool_free(made);
        return error;
    }
    char *slash = strrchr(made->folder, '/');
    if (!slash) {
        made->folder[0] = '.'; /* a name is not empty */
        made->folder[1] = '\0';
    } else {
        slash[slash == made->folder] = '\0';
    }
    *spool = made;
    return 0;
}

static void release(struct fg_spool *spool)
{
    fg_spool_done_close(spool);
    (void)fg_spool_close_database(spool, false);
    fg_spool_unlock(spool);
    spool->open = false;
}

void fg_spool_free(struct fg_spool *spool)
{
    if (spool) {
        (void)fg_spool_close(spool);
        fg_spool_doubt_clear(spool);
        fg_map_fini(&spool->known);
        fg_spool_vfs_free(spool->vfs);
        free(spool->path);
        free(spool->folder);
        free(spool);
    }
}

int fg_spool_fail(struct fg_spool *spool, int error)
{
    release(spool);
    spool->error = error;
    return error;
}

/* For the problem that was told last. */
static int salvage(struct fg_spool *spool)
{
    char why[sizeof spool->problem];
    memcpy(why, spool->problem, sizeof why);
    return fg_spool_salvage(spool, why);
}

int fg_spool_settle(struct fg_spool *spool, int error)
{
    switch (error) {
    case 0:
    case -ENOMEM:
    case -ENOSPC:
    case -ENOBUFS:
    case -EDQUOT:
    case -EMSGSIZE:
        return error;
    case -EUCLEAN:
        error = salvage(spool);
        return error ? fg_spool_fail(spool, error) : -EAGAIN;
    default:
        return fg_spool_fail(spool, error);
    }
}

static int open_what_is_there(struct fg_spool *spool)
{
    if (fg_spool_has_salvaged(spool)) {
        return fg_spool_finish_salvage(spool);
    }
    int error = fg_spool_check_file(spool);
    if (error == -ENOENT) {
        spool->messages = 0;
        return fg_spool_doubt_resolve(spool);
    }
    if (!error) {
        error = fg_spool_check_log(spool);
    }
    if (!error) {
        error = fg_spool_open_database(spool);
    }
    if (error == -EUCLEAN) {
        error = salvage(spool);
    }
    if (error && spool->read_failed && ++spool->unreadable >= UNREADABLE_MAX) {
        spool->unreadable = 0;
        spool->give_up_unreadable = true;
        error = salvage(spool);
        spool->give_up_unreadable = false;
    }
    return error;
}

int fg_spool_open(struct fg_spool *spool)
{
    if (spool->open) {
        return 0;
    }
    int error = fg_spool_check_folder(spool);
    if (!error) {
        error = fg_spool_lock(spool);
    }
    if (!error) {
        spool->open = true;
        spool->problem[0] = '\0';
        spool->read_failed = false;
        error = open_what_is_there(spool);
    }
    if (!error && spool->db) {
        error = fg_spool_done_apply(spool);
    }
    if (error) {
        return fg_spool_fail(spool, error);
    }
    if (spool->db) {
        fg_spool_done_prepare(spool);
    }
    spool->error = -ESHUTDOWN;
    return 0;
}

bool fg_spool_is_open(const struct fg_spool *spool)
{
    return spool->open;
}

const char *fg_spool_problem(const struct fg_spool *spool)
{
    return spool->problem;
}

static int begin_file(struct fg_spool *spool)
{
    int error = fg_spool_check_folder(spool);
    char *fresh = fg_spool_path(spool, ".new");
    if (!error) {
        error = fg_spool_check_lock(spool);
    }
    if (!error) {
        error = fresh ? fg_spool_make_database(spool, fresh, NULL, NULL) : -ENOMEM;
    }
    if (!error) {
        error = fg_spool_remove_log(spool);
    }
    if (!error && rename(fresh, spool->path) != 0) {
        error = fg_spool_tell(spool, -errno, "%s: cannot be made: %s", spool->path, strerror(errno));
        unlink(fresh);
    }
    free(fresh);
    if (!error) {
        error = fg_spool_sync_folder(spool);
    }
    if (!error) {
        error = fg_spool_open_database(spool);
    }
    if (!error) {
        fg_spool_done_prepare(spool);
    }
    return error;
}

int fg_spool_use(struct fg_spool *spool)
{
    if (!spool->open) {
        return spool->error;
    }
    return spool->db ? 0 : begin_file(spool);
}

void fg_spool_read_time(struct fg_spool *spool, struct fg_spool_time *now)
{
    if (spool->options.events->time) {
        spool->options.events->time(spool->options.context, now);
    } else {
        now->now_ns = fg_clock_now_ns();
        now->wall_ms = fg_clock_wall_ms();
        now->synchronised = fg_clock_was_set(now->wall_ms);
    }
    if (!spool->anchored && now->synchronised) {
        spool->anchored = true;
        spool->anchor_ms = now->wall_ms - now->now_ns / FG_NS_PER_MS;
        spool->looked_at = 0;
    }
}

int64_t fg_spool_right_ms(const struct fg_spool *spool, int64_t taken_ms, int64_t wall_ms,
                          bool unsynchronised, bool earlier_boot)
{
    int64_t right;
    bool known = unsynchronised && !earlier_boot && spool->anchored &&
                 !__builtin_add_overflow(taken_ms, spool->anchor_ms, &right);
    return known ? right : wall_ms;
}

int64_t fg_spool_wall_ms(struct fg_spool *spool, const struct fg_message *message)
{
    struct fg_spool_time now;
    fg_spool_read_time(spool, &now);
    return fg_spool_right_ms(spool, message->taken_ns / FG_NS_PER_MS, message->wall_ms,
                             message->unsynchronised, message->earlier_boot);
}

void fg_spool_hold(struct fg_spool *spool, int64_t last)
{
    spool->held = last;
}

static uint64_t size_of(const struct fg_spool *spool, const char *suffix)
{
    char *path = fg_spool_path(spool, suffix);
    struct stat file;
    uint64_t size = path && stat(path, &file) == 0 ? (uint64_t)file.st_size : 0;
    free(path);
    return size;
}

void fg_spool_get_counts(const struct fg_spool *spool, struct fg_spool_counts *counts)
{
    *counts = (struct fg_spool_counts){
        .messages = spool->messages,
        .last_id = spool->next_id - 1,
        .disk_bytes = size_of(spool, "") + size_of(spool, "-wal"),
        .written_bytes = fg_spool_vfs_written(spool->vfs),
    };
}

int fg_spool_close(struct fg_spool *spool)
{
    if (!spool->open) {
        return 0;
    }
    bool empty = spool->db && spool->messages == 0;
    int error = fg_spool_close_database(spool, true);
    if (!error && empty) {
        error = fg_spool_remove_files(spool);
    }
    release(spool);
    spool->error = -ESHUTDOWN;
    return error;
}
