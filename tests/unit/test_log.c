#include "base/log_journal.h"

#include "fieldgate/text.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* Here stderr is a pipe, so that what was written can be read back. */
static int real_stderr = -1;
static int log_reader = -1;
static char taken[65536];

static int catch_stderr(void **state)
{
    (void)state;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) {
        return -1;
    }
    real_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    log_reader = ends[0];
    int error = dup2(ends[1], STDERR_FILENO) < 0;
    close(ends[1]);
    unsetenv("JOURNAL_STREAM");
    fg_log_open(FG_LOG_INFO);
    return error;
}

static int release_stderr(void **state)
{
    (void)state;
    unsetenv("JOURNAL_STREAM");
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(log_reader);
    fg_log_open(FG_LOG_INFO);
    return 0;
}

static const char *take(void)
{
    size_t size = 0;
    ssize_t got;
    while ((got = read(log_reader, taken + size, sizeof taken - 1 - size)) > 0) {
        size += (size_t)got;
    }
    taken[size] = '\0';
    return taken;
}

static void lines_carry_their_priority(void **state)
{
    (void)state;
    fg_log_set_level(FG_LOG_DEBUG);
    fg_log(FG_LOG_ERROR, "broke %d", 1);
    fg_log(FG_LOG_WARNING, "odd");
    fg_log(FG_LOG_INFO, "fine");
    fg_log(FG_LOG_DEBUG, "detail");
    assert_string_equal(take(), "<3>broke 1\n<4>odd\n<6>fine\n<7>detail\n");
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    fg_log_set_level(FG_LOG_WARNING);
    fg_log(FG_LOG_INFO, "no");
    fg_log_port(FG_LOG_DEBUG, "p", NULL, "no");
    struct fg_log_limit limit = { 0 };
    fg_log_limited(&limit, FG_LOG_INFO, "p", NULL, "no");
    fg_log(FG_LOG_WARNING, "yes");
    assert_string_equal(take(), "<4>yes\n");
    assert_true(fg_log_enabled(FG_LOG_WARNING));
    assert_false(fg_log_enabled(FG_LOG_INFO));
    assert_int_equal(atomic_load(&limit.held), 0);
}

static void the_names_of_levels_are_in_the_order_of_the_enum(void **state)
{
    (void)state;
    assert_string_equal(fg_log_level_names[FG_LOG_ERROR], "error");
    assert_string_equal(fg_log_level_names[FG_LOG_WARNING], "warning");
    assert_string_equal(fg_log_level_names[FG_LOG_INFO], "info");
    assert_string_equal(fg_log_level_names[FG_LOG_DEBUG], "debug");
    assert_null(fg_log_level_names[FG_LOG_DEBUG + 1]);
}

static void port_and_device_stand_before_the_text(void **state)
{
    (void)state;
    fg_log_port(FG_LOG_INFO, "weather", NULL, "open");
    fg_log_port(FG_LOG_INFO, "bus", "meter1", "no answer in %s", "500ms");
    assert_string_equal(take(), "<6>port weather: open\n<6>port bus: device meter1: no answer in 500ms\n");
}

static void what_is_logged_cannot_forge_a_line(void **state)
{
    (void)state;
    fg_log(FG_LOG_INFO, "got %s", "a\n<3>forged\r\x1b[2J\x7f\t");
    fg_log_port(FG_LOG_INFO, "p\n", "d\n", "x");
    assert_string_equal(take(), "<6>got a?<3>forged??[2J??\n<6>port p?: device d?: x\n");
}

static void what_is_not_utf8_becomes_question_marks(void **state)
{
    (void)state;
    fg_log(FG_LOG_INFO, "%s",
           "ok \xc3\xa9 \xf0\x9f\x92\xa9 bad \xff\xc0\x80 \xe2\x82 \xed\xa0\x80 c1 \xc2\x9b nbsp \xc2\xa0");
    fg_log(FG_LOG_INFO, "ends in \xe2\x82");
    assert_string_equal(
        take(), "<6>ok \xc3\xa9 \xf0\x9f\x92\xa9 bad ??? ?? ??? c1 ?? nbsp \xc2\xa0\n<6>ends in ??\n");
}

static void long_lines_are_cut_at_a_character(void **state)
{
    (void)state;
    static const char *const characters[] = { "\xc3\xa9", "\xe2\x82\xac", "\xed\x9f\xbf", "\xf0\x9f\x92\xa9",
                                              "\xf4\x8f\xbf\xbf" };
    for (size_t i = 0; i < sizeof characters / sizeof characters[0]; i++) {
        char text[4096] = "";
        while (strlen(text) < 2000) {
            strcat(text, characters[i]);
        }
        for (size_t shift = 0; shift < 4; shift++) {
            fg_log(FG_LOG_INFO, "%.*s%s", (int)shift, "abc", text);
            size_t length = strlen(take());
            assert_true(length <= 1024 && length > 1024 - 4);
            assert_int_equal(taken[length - 1], '\n');
            assert_true(fg_utf8_valid(taken, length));
            assert_null(strchr(taken, '?'));
        }
    }
}

static void a_line_that_just_fits_is_whole(void **state)
{
    (void)state;
    fg_log(FG_LOG_INFO, "%*s", 1020, "x");
    assert_int_equal(strlen(take()), 1024);
    assert_string_equal(taken + 1022, "x\n");
    fg_log(FG_LOG_INFO, "%*s", 1021, "x");
    assert_int_equal(strlen(take()), 1024);
    assert_string_equal(taken + 1022, " \n");
}

static void long_names_leave_room_for_the_text(void **state)
{
    (void)state;
    char name[3000];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    fg_log_port(FG_LOG_INFO, name, name, "the text");
    assert_non_null(strstr(take(), "the text\n"));
    assert_true(strlen(taken) <= 1024);
}

static void errno_stays_and_can_be_printed(void **state)
{
    (void)state;
    errno = ENOENT;
    fg_log(FG_LOG_ERROR, "open: %m");
    assert_int_equal(errno, ENOENT);
    assert_string_equal(take(), "<3>open: No such file or directory\n");
}

static void a_reader_that_is_gone_stops_nobody(void **state)
{
    (void)state;
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    int reader = log_reader;
    log_reader = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(reader);
    errno = 0;
    fg_log(FG_LOG_ERROR, "nobody reads this");
    assert_int_equal(errno, 0);
    signal(SIGPIPE, before);
}

static void a_terminal_gets_the_name_of_the_level(void **state)
{
    (void)state;
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    int slave = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);
    dup2(slave, STDERR_FILENO);
    close(slave);
    fg_log_port(FG_LOG_WARNING, "weather", NULL, "gone");
    char text[256];
    ssize_t size = read(terminal, text, sizeof text - 1);
    assert_true(size > 0);
    text[size] = '\0';
    assert_string_equal(text, "warning: port weather: gone\r\n");
    close(terminal);
}

static void a_limit_lets_one_line_pass_and_counts_the_rest(void **state)
{
    (void)state;
    struct fg_log_limit limit = { 0 };
    for (int i = 0; i < 5; i++) {
        fg_log_limited(&limit, FG_LOG_WARNING, "p", "d", "checksum %d", i);
    }
    assert_string_equal(take(), "<4>port p: device d: checksum 0\n");
    atomic_store(&limit.next_ns, 0); /* the minute is over */
    fg_log_limited(&limit, FG_LOG_WARNING, NULL, NULL, "checksum again");
    assert_string_equal(take(), "<4>checksum again (4 more like it held back)\n");
    atomic_store(&limit.next_ns, 0);
    fg_log_limited(&limit, FG_LOG_WARNING, NULL, NULL, "checksum");
    assert_string_equal(take(), "<4>checksum\n");
}

static void the_count_of_a_limit_outlives_a_cut(void **state)
{
    (void)state;
    struct fg_log_limit limit = { 0 };
    atomic_store(&limit.held, 7);
    fg_log_limited(&limit, FG_LOG_WARNING, NULL, NULL, "%*s", 3000, "x");
    assert_non_null(strstr(take(), " (7 more like it held back)\n"));
    assert_int_equal(strlen(taken), 1024);
}

#define THREADS 4
#define LINES   100

static void *log_many(void *limit)
{
    for (int i = 0; i < LINES; i++) {
        fg_log(FG_LOG_INFO, "line %d of many, long enough to be torn", i);
        fg_log_limited(limit, FG_LOG_INFO, NULL, NULL, "limited");
    }
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    struct fg_log_limit limit = { 0 };
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, &limit), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    int lines = 0, limited = 0, told = 0;
    char *rest = NULL;
    take();
    for (char *line = strtok_r(taken, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        int number, end = 0;
        if (strcmp(line, "<6>limited") == 0) {
            limited++;
        } else if (sscanf(line, "<6>limited (%d more like it held back)%n", &number, &end) == 1 && end > 0 &&
                   line[end] == '\0') {
            limited++; /* others were held back before the one that passes came to count them */
            told += number;
        } else if (sscanf(line, "<6>line %d of many, long enough to be torn%n", &number, &end) == 1 &&
                   line[end] == '\0' && end > 0) {
            lines++;
        } else {
            fail_msg("\"%s\"", line);
        }
    }
    assert_int_equal(lines, THREADS * LINES);
    assert_int_equal(limited, 1);
    assert_int_equal((int)atomic_load(&limit.held) + told, THREADS * LINES - 1);
}

struct journal {
    char folder[64];
    char path[96];
    int fd;
};

static void journal_start(struct journal *journal)
{
    strcpy(journal->folder, "/tmp/fieldgate-log-XXXXXX");
    assert_non_null(mkdtemp(journal->folder));
    snprintf(journal->path, sizeof journal->path, "%s/socket", journal->folder);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strcpy(address.sun_path, journal->path);
    journal->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(journal->fd >= 0);
    assert_int_equal(bind(journal->fd, (struct sockaddr *)&address, sizeof address), 0);
}

static void journal_stop(struct journal *journal)
{
    close(journal->fd);
    unlink(journal->path);
    rmdir(journal->folder);
}

static void name_stderr_in_environment(unsigned long more)
{
    struct stat status;
    char stream[64];
    assert_int_equal(fstat(STDERR_FILENO, &status), 0);
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino + more);
    setenv("JOURNAL_STREAM", stream, 1);
}

static const char *journal_take(const struct journal *journal)
{
    ssize_t size = recv(journal->fd, taken, sizeof taken - 1, 0);
    taken[size > 0 ? size : 0] = '\0';
    return taken;
}

static void the_journal_gets_fields(void **state)
{
    (void)state;
    struct journal journal;
    journal_start(&journal);
    name_stderr_in_environment(0);
    fg_log_open_at(FG_LOG_INFO, journal.path);
    errno = ENOENT;
    fg_log_port(FG_LOG_WARNING, "bus", "meter\n1", "no\nanswer: %m");
    assert_int_equal(errno, ENOENT);
    assert_string_equal(journal_take(&journal),
                        "PRIORITY=4\nPORT=bus\nDEVICE=meter?1\nSYSLOG_IDENTIFIER=fieldgated\n"
                        "MESSAGE=port bus: device meter?1: no?answer: No such file or directory\n");
    fg_log(FG_LOG_INFO, "ready");
    assert_string_equal(journal_take(&journal), "PRIORITY=6\nSYSLOG_IDENTIFIER=fieldgated\nMESSAGE=ready\n");
    assert_string_equal(take(), "");
    journal_stop(&journal);
}

static void a_journal_that_does_not_take_a_line_leaves_it_to_stderr(void **state)
{
    (void)state;
    struct journal journal;
    journal_start(&journal);
    name_stderr_in_environment(0);
    fg_log_open_at(FG_LOG_INFO, journal.path);
    int sent = 0;
    do { /* until its queue is full */
        fg_log(FG_LOG_INFO, "line %d", sent++);
    } while (*take() == '\0' && sent < 100000);
    char expected[64];
    snprintf(expected, sizeof expected, "<6>line %d\n", sent - 1);
    assert_string_equal(taken, expected);
    journal_stop(&journal);
    fg_log(FG_LOG_WARNING, "no journal");
    assert_string_equal(take(), "<4>no journal\n");
}

static void a_stream_that_is_not_stderr_is_no_journal(void **state)
{
    (void)state;
    static const char *const streams[] = { "", ":", "1", "0:0", "nonsense", "99999999999999999999:1" };
    struct journal journal;
    journal_start(&journal);
    name_stderr_in_environment(1);
    fg_log_open_at(FG_LOG_INFO, journal.path);
    fg_log(FG_LOG_INFO, "here");
    assert_string_equal(take(), "<6>here\n");
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        setenv("JOURNAL_STREAM", streams[i], 1);
        fg_log_open_at(FG_LOG_INFO, journal.path);
        fg_log(FG_LOG_INFO, "here");
        assert_string_equal(take(), "<6>here\n");
    }
    journal_stop(&journal);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, catch_stderr, release_stderr)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_carry_their_priority),
        TEST(lines_below_the_level_are_not_written),
        TEST(the_names_of_levels_are_in_the_order_of_the_enum),
        TEST(port_and_device_stand_before_the_text),
        TEST(what_is_logged_cannot_forge_a_line),
        TEST(what_is_not_utf8_becomes_question_marks),
        TEST(long_lines_are_cut_at_a_character),
        TEST(a_line_that_just_fits_is_whole),
        TEST(long_names_leave_room_for_the_text),
        TEST(errno_stays_and_can_be_printed),
        TEST(a_reader_that_is_gone_stops_nobody),
        TEST(a_terminal_gets_the_name_of_the_level),
        TEST(a_limit_lets_one_line_pass_and_counts_the_rest),
        TEST(the_count_of_a_limit_outlives_a_cut),
        TEST(lines_of_threads_do_not_mix),
        TEST(the_journal_gets_fields),
        TEST(a_journal_that_does_not_take_a_line_leaves_it_to_stderr),
        TEST(a_stream_that_is_not_stderr_is_no_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
