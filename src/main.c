#include "fieldgate/config.h"
#include "fieldgate/gateway.h"
#include "fieldgate/log.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_FILE "/etc/fieldgate/fieldgate.cfg"

/* Polling that takes so much of a line that no longer periods than were asked for could be meant. */
#define TOO_MUCH_PERCENT 200

enum { EXIT_USAGE = 2, EXIT_BAD_CONFIGURATION = 78 };

struct options {
    const char *file;
    bool check;
    int event_model; /* -1: as configured */
    int log_level;   /* -1: as configured */
};

static const char usage[] =
    "usage: fieldgated [-c FILE] [--check] [--event-model NAME] [--log-level LEVEL] [--version] [--help]\n";

static const char help[] =
    "Reads field devices and publishes their readings to an MQTT broker.\n\n"
    "  -c, --config FILE      the configuration (" DEFAULT_FILE ")\n"
    "      --check            read and check the configuration, print every problem, and exit\n"
    "      --event-model NAME reactor, simulated-proactor, proactor or auto\n"
    "      --log-level LEVEL  error, warning, info or debug\n"
    "      --version          print the version and exit\n"
    "      --help             print this and exit\n\n"
    "Exit status: 0 clean stop, 1 runtime failure, 2 usage, 78 configuration.\n"
    "Signals: SIGTERM and SIGINT stop, SIGHUP reloads the configuration, SIGUSR1 logs the statistics.\n";

static int find_name(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

static int one_of(const char *option, const char *const *names, const char *name)
{
    int found = find_name(names, name);
    if (found < 0) {
        fprintf(stderr, "fieldgated: %s: \"%s\" is none of", option, name);
        for (int i = 0; names[i]; i++) {
            fprintf(stderr, "%s %s", i ? "," : "", names[i]);
        }
        fprintf(stderr, "\n");
    }
    return found;
}

/* Returns -1 to go on, else the exit status. */
static int parse(int argc, char **argv, struct options *options)
{
    enum { CHECK = 256, EVENT_MODEL, LOG_LEVEL, SHOW_VERSION, SHOW_HELP };
    static const struct option known[] = { { "config", required_argument, NULL, 'c' },
                                           { "check", no_argument, NULL, CHECK },
                                           { "event-model", required_argument, NULL, EVENT_MODEL },
                                           { "log-level", required_argument, NULL, LOG_LEVEL },
                                           { "version", no_argument, NULL, SHOW_VERSION },
                                           { "help", no_argument, NULL, SHOW_HELP },
                                           { 0 } };
    int option = 0;
    bool bad = false;
    while ((option = getopt_long(argc, argv, "c:", known, NULL)) != -1) {
        switch (option) {
        case 'c':
            options->file = optarg;
            break;
        case CHECK:
            options->check = true;
            break;
        case EVENT_MODEL:
            options->event_model = one_of("--event-model", fg_event_model_names, optarg);
            bad |= options->event_model < 0;
            break;
        case LOG_LEVEL:
            options->log_level = one_of("--log-level", fg_log_level_names, optarg);
            bad |= options->log_level < 0;
            break;
        case SHOW_VERSION:
            printf("fieldgated %s\n", FG_VERSION);
            return 0;
        case SHOW_HELP:
            printf("%s%s", usage, help);
            return 0;
        default:
            bad = true;
            break;
        }
    }
    if (!bad && optind < argc) {
        fprintf(stderr, "fieldgated: what is \"%s\"? A configuration is named with -c\n", argv[optind]);
        bad = true;
    }
    if (bad) {
        fprintf(stderr, "%s", usage);
        return EXIT_USAGE;
    }
    return -1;
}

/* A problem is a line that begins with the file's name, for whoever looks for it there. */
static void tell_problem(void *context, const char *problem)
{
    (void)context;
    if (fg_log_is_journal()) {
        fg_log(FG_LOG_ERROR, "%s", problem);
    } else {
        fprintf(stderr, "%s\n", problem);
    }
}

/* What polling takes of each line, and whether all lines can carry it. */
static bool check_budgets(const char *file, const struct fg_settings *settings)
{
    const struct fg_port_settings *ports = settings->ports.items;
    bool good = true;
    for (size_t i = 0; i < settings->ports.count; i++) {
        struct fg_port_budget budget;
        if (!ports[i].protocol.variant || fg_port_get_budget(&ports[i], &budget)) {
            continue;
        }
        if (budget.measured && budget.percent > TOO_MUCH_PERCENT) {
            fprintf(stderr, "%s:%d: ports[%zu].protocol: %s\n", file, ports[i].protocol.line, i, budget.text);
            good = false;
        } else {
            printf("%sport %s: %s\n", budget.percent > 100 ? "warning: " : "", ports[i].name, budget.text);
        }
    }
    return good;
}

int main(int argc, char **argv)
{
    struct options options = { .file = DEFAULT_FILE, .event_model = -1, .log_level = -1 };
    int status = parse(argc, argv, &options);
    if (status >= 0) {
        return status;
    }
    fg_log_open(FG_LOG_INFO);
    mallopt(M_ARENA_MAX, 1); /* few threads, short locks: one arena keeps a gateway small */
    struct fg_config *config = NULL;
    int error = fg_config_read(options.file, &fg_settings_schema, tell_problem, NULL, &config);
    if (error) {
        if (error != -EINVAL) {
            fg_log(FG_LOG_ERROR, "%s: %s", options.file, strerror(-error));
        }
        return EXIT_BAD_CONFIGURATION;
    }
    if (options.check) {
        bool good = check_budgets(options.file, fg_config_settings(config));
        if (good) {
            printf("%s: OK\n", options.file);
        }
        fg_config_free(config);
        return good ? 0 : EXIT_BAD_CONFIGURATION;
    }
    const struct fg_gateway_options gateway = { .file = options.file,
                                                .config = config,
                                                .event_model = options.event_model,
                                                .log_level = options.log_level,
                                                .problem = tell_problem };
    return fg_gateway_run(&gateway);
}
