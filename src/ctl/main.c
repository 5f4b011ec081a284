#include "ctl.h"

#include "fieldgate/text.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/fieldgate/control.sock"

/* A reload waits for ports to close. */
#define ANSWER_S 10
#define RELOAD_S 60

static const char usage[] = "usage: fieldgatectl [--socket PATH] [--json] COMMAND\n"
                            "       fieldgatectl --version | --help\n";

static const char help[] =
    "Looks into a running fieldgated.\n\n"
    "  status             ports, devices, broker, and what waits for it\n"
    "  devices            all devices: state, last reading, errors by reason\n"
    "  watch [DEVICE]     readings as they come, one a line, until interrupted\n"
    "  stats              the counters since the start\n"
    "  check FILE         checks a configuration as the daemon would\n"
    "  reload             has the daemon read its configuration again\n"
    "  log-level [LEVEL]  tells the log level, or sets it: error, warning, info, debug\n\n"
    "  -s, --socket PATH  the daemon's socket (" DEFAULT_SOCKET ")\n"
    "  -j, --json         what the daemon answers, as it is: one JSON object a line\n"
    "      --version      print the version and exit\n"
    "      --help         print this and exit\n\n"
    "Exit status: 0 done, 1 the daemon says no or is not there, 2 usage; check: 78 for mistakes.\n";

struct command {
    const char *name;
    const char *argument;      /* what it takes; NULL: nothing */
    bool needed;               /* and must be given */
    const char *argument_name; /* in the request */
    void (*show)(const json_t *answer, bool colour);
};

static void show_reload(const json_t *answer, bool colour)
{
    const char *outcome = json_string_value(json_object_get(answer, "outcome"));
    (void)colour;
    printf("%s\n", outcome && outcome[0] ? outcome : "reloaded");
}

static void show_level(const json_t *answer, bool colour)
{
    const char *level = json_string_value(json_object_get(answer, "log_level"));
    (void)colour;
    printf("%s\n", level ? level : "");
}

static const struct command commands[] = {
    { "status", NULL, false, NULL, ctl_show_status },
    { "devices", NULL, false, NULL, ctl_show_devices },
    { "watch", "DEVICE", false, "device", NULL },
    { "stats", NULL, false, NULL, ctl_show_stats },
    { "check", "FILE", true, NULL, NULL },
    { "reload", NULL, false, NULL, show_reload },
    { "log-level", "LEVEL", false, "level", show_level },
};

static int refuse(const char *what)
{
    fprintf(stderr, "fieldgatectl: %s\n%s", what, usage);
    return CTL_USAGE;
}

static const struct command *find_command(const char *name)
{
    const char *names[sizeof commands / sizeof commands[0] + 1] = { NULL };
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
        names[i] = commands[i].name;
    }
    const char *near = fg_text_nearest(name, names);
    fprintf(stderr, "fieldgatectl: there is no command \"%s\"", name);
    if (near) {
        fprintf(stderr, "; did you mean \"%s\"?", near);
    }
    fprintf(stderr, "\n%s", usage);
    return NULL;
}

static int ask(const struct ctl_options *options, const struct command *command, const char *argument)
{
    struct ctl_line line;
    const char *text = NULL;
    if (!ctl_connect(&line, options->socket)) {
        return CTL_FAILED;
    }
    json_t *request = json_pack("{s:s}", "command", command->name);
    if (request && argument &&
        json_object_set_new(request, command->argument_name, json_string(argument)) != 0) {
        json_decref(request);
        ctl_disconnect(&line);
        return refuse("what is given is not UTF-8");
    }
    int timeout_s = strcmp(command->name, "reload") == 0 ? RELOAD_S : ANSWER_S;
    json_t *answer = ctl_ask(&line, request, timeout_s, &text);
    int status = answer ? CTL_OK : CTL_FAILED;
    if (options->json && text) {
        puts(text);
    } else if (answer) {
        command->show(answer, options->colour);
    }
    json_decref(answer);
    ctl_disconnect(&line);
    return status;
}

static int run(const struct ctl_options *options, int count, char *const *words)
{
    if (count == 0) {
        return refuse("which command?");
    }
    const struct command *command = find_command(words[0]);
    if (!command) {
        return CTL_USAGE;
    }
    const char *argument = count > 1 ? words[1] : NULL;
    char problem[160];
    if ((count > 1 && !command->argument) || count > 2) {
        snprintf(problem, sizeof problem, "%s: what is \"%.60s\"?", command->name,
                 words[command->argument ? 2 : 1]);
        return refuse(problem);
    }
    if (!argument && command->needed) {
        snprintf(problem, sizeof problem, "%s: which %s?", command->name, command->argument);
        return refuse(problem);
    }
    if (strcmp(command->name, "check") == 0) {
        return ctl_check(argument);
    }
    return command->show ? ask(options, command, argument) : ctl_watch(options, argument);
}

/* no-color.org: set and not empty. */
static bool likes_colour(void)
{
    const char *no = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(no && no[0]) && term && strcmp(term, "dumb") != 0;
}

int main(int argc, char **argv)
{
    enum { SHOW_VERSION = 256, SHOW_HELP };
    static const struct option known[] = { { "socket", required_argument, NULL, 's' },
                                           { "json", no_argument, NULL, 'j' },
                                           { "version", no_argument, NULL, SHOW_VERSION },
                                           { "help", no_argument, NULL, SHOW_HELP },
                                           { 0 } };
    struct ctl_options options = { .socket = DEFAULT_SOCKET };
    for (int option; (option = getopt_long(argc, argv, "s:jh", known, NULL)) != -1;) {
        switch (option) {
        case 's':
            options.socket = optarg;
            break;
        case 'j':
            options.json = true;
            break;
        case SHOW_VERSION:
            printf("fieldgatectl %s\n", FG_VERSION);
            return CTL_OK;
        case 'h':
        case SHOW_HELP:
            printf("%s\n%s", usage, help);
            return CTL_OK;
        default:
            fputs(usage, stderr);
            return CTL_USAGE;
        }
    }
    options.colour = likes_colour();
    int status = run(&options, argc - optind, argv + optind);
    if (fflush(stdout) != 0 && status == CTL_OK) {
        perror("fieldgatectl: stdout");
        status = CTL_FAILED;
    }
    return status;
}
