/* moonbook: reads the command line, makes the runtime, hands over to a command. The only place that ends the process. */
#include "bindings.h"
#include "buffer.h"
#include "command.h"
#include "fiber.h"
#include "nearest.h"
#include "quantity.h"
#include "report.h"

#include <fcntl.h>
#include <getopt.h>
#include <lauxlib.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define MOONBOOK_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MOONBOOK_ASAN 1
#endif
#endif

static const struct command *const commands[] = {&command_list,  &command_show, &command_run,
                                                 &command_hosts, &command_edit, &command_history,
                                                 &command_api,   &command_repl, NULL};

enum {
    OPTION_CHECK = 256,
    OPTION_DIFF,
    OPTION_STEP,
    OPTION_REPL_ON_ERROR,
    OPTION_YES,
    OPTION_JSON,
    OPTION_SET,
    OPTION_VARS,
    OPTION_TIMEOUT,
    OPTION_DETAILED,
    OPTION_SUDO,
    OPTION_SUDO_PASSWORD,
    OPTION_ON,
    OPTION_EXCEPT,
    OPTION_FORKS,
    OPTION_BATCH,
    OPTION_MAX_FAILURES,
    OPTION_TRANSPORT,
    OPTION_ACCEPT_NEW,
    OPTION_VERSION
};

/* One row an option: parsing, --help and what a command takes read it. */
static const struct {
    const char *name;
    const char *value; /* of --name VALUE, or NULL */
    int code;
    unsigned needs; /* of what the command must take one; 0: any command */
    const char *about;
} options[] = {
    {"check", NULL, OPTION_CHECK, TAKES_RUN | TAKES_SESSION,
     "change nothing, list exactly what a run would change"},
    {"diff", NULL, OPTION_DIFF, TAKES_RUN, "show the differences of files"},
    {"step", NULL, OPTION_STEP, TAKES_RUN, "ask before each change"},
    {"repl-on-error", NULL, OPTION_REPL_ON_ERROR, TAKES_RUN,
     "a failed step opens a session there: :retry, :skip, :abort"},
    {"yes", NULL, OPTION_YES, TAKES_RUN | TAKES_SESSION, "answer every question of the runbook with yes"},
    {"set", "NAME=VALUE", OPTION_SET, TAKES_SET, "a parameter; NAME.KEY=VALUE for a map; repeatable"},
    {"vars", "FILE", OPTION_VARS, TAKES_SET, "parameters from a .json or .lua file"},
    {"timeout", "DURATION", OPTION_TIMEOUT, TAKES_RUN, "stop the run after this time (90s, 10m)"},
    {"detailed-exitcode", NULL, OPTION_DETAILED, TAKES_RUN, "exit 2 when something was or would be changed"},
    {"on", "HOSTS", OPTION_ON, TAKES_RUN | TAKES_SESSION,
     "run there: c1,user@c2:22,b[01-40],@GROUP,consul:SERVICE,nomad:class=x"},
    {"except", "HOSTS", OPTION_EXCEPT, TAKES_HOSTS, "without these of them"},
    {"forks", "N", OPTION_FORKS, TAKES_RUN, "hosts at the same time (32)"},
    {"batch", "N|N%", OPTION_BATCH, TAKES_RUN, "so many hosts, and when all of them have ended the next"},
    {"max-failures", "N", OPTION_MAX_FAILURES, TAKES_RUN,
     "when more hosts have failed, begin no further one"},
    {"sudo", NULL, OPTION_SUDO, TAKES_RUN | TAKES_SESSION,
     "act as root on other hosts, by sudo without a password"},
    {"sudo-password", "SOURCE", OPTION_SUDO_PASSWORD, TAKES_RUN | TAKES_SESSION,
     "the same with one: prompt, pass:NAME, env:VAR, file:PATH, -"},
    {"transport", "ssh|openssh", OPTION_TRANSPORT, TAKES_RUN | TAKES_SESSION,
     "how other hosts are reached; else it is chosen"},
    {"accept-new", NULL, OPTION_ACCEPT_NEW, TAKES_RUN | TAKES_SESSION,
     "note and trust the keys of hosts that are not known yet"},
    {"json", NULL, OPTION_JSON, TAKES_JSON, "machine-readable: one JSON object a line on standard output"},
    {"verbose", NULL, 'v', TAKES_RUN | TAKES_SESSION, "say also what was found as wanted"},
    {"help", NULL, 'h', 0, "this text"},
    {"version", NULL, OPTION_VERSION, 0, "the version"},
};
#define OPTION_COUNT (sizeof options / sizeof *options)

static void print_help(void)
{
    puts("moonbook - runbooks for people who run Nomad, Consul and Vault clusters\n");
    for (size_t i = 0; commands[i]; i++)
        printf("  moonbook %-8s %-14s %s\n", commands[i]->name, commands[i]->arguments, commands[i]->about);
    printf("  moonbook %-23s %s\n", "FILE.lua [ARGUMENTS]", "run a script");
    printf("  moonbook %-23s %s\n\noptions:\n", "-e CHUNK", "run a piece of Lua");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        char name[48];
        snprintf(name, sizeof name, "--%s%s%s", options[i].name, options[i].value ? " " : "",
                 options[i].value ? options[i].value : "");
        printf("  %-23s %s\n", name, options[i].about);
    }
    puts("\nexit status: 0 done, 1 something failed, 64 wrong usage or parameters, 130 interrupted");
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

/* Wrong usage: one line, where to look, 64. */
static int refuse(const char *format, const char *what)
{
    fputs("moonbook: ", stderr);
    fprintf(stderr, format, what);
    fputs("; see moonbook --help\n", stderr);
    return EXIT_USAGE_ERROR;
}

/* What follows nothing that we know: files are given by path or with their .lua. */
static bool is_file_name(const char *word)
{
    size_t length = strlen(word);
    return *word == '/' || *word == '.' || (length > 4 && strcmp(word + length - 4, ".lua") == 0);
}

static int refuse_command(const char *word)
{
    const char *names[sizeof commands / sizeof *commands] = {NULL};
    for (size_t i = 0; commands[i]; i++)
        names[i] = commands[i]->name;
    const char *meant = nearest_name(word, names);
    fprintf(stderr, "moonbook: \"%s\" is no command", word);
    if (strchr(word, '/'))
        fprintf(stderr, "; did you mean moonbook run %s?\n", word);
    else if (meant)
        fprintf(stderr, "; did you mean %s? See moonbook --help\n", meant);
    else
        fputs("; see moonbook --help\n", stderr);
    return EXIT_USAGE_ERROR;
}

static int add_setting(struct command_line *line, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return refuse("--set takes NAME=VALUE, not \"%s\"", text);
    line->settings = reallocate(line->settings, (line->setting_count + 1) * sizeof *line->settings);
    struct buffer name = {0};
    buffer_append(&name, text, (size_t)(equals - text));
    line->settings[line->setting_count++] = (struct runbook_setting){name.bytes, copy_text(equals + 1)};
    return EXIT_DONE;
}

/* A whole number, or refused. */
static int take_number(const char *name, const char *text, long least, long *number)
{
    char *end;
    *number = strtol(text, &end, 10);
    if (*text >= '0' && *text <= '9' && !*end && *number >= least && *number <= 100000)
        return EXIT_DONE;
    fprintf(stderr, "moonbook: --%s takes a number from %ld on, not \"%s\"; see moonbook --help\n", name,
            least, text);
    return EXIT_USAGE_ERROR;
}

/* Options about the hosts of a run. */
static int apply_host_option(struct command_line *line, int code, const char *value)
{
    long number = 0;
    int status = EXIT_DONE;
    switch (code) {
    case OPTION_ON:
        line->on = value;
        break;
    case OPTION_EXCEPT:
        line->except = value;
        break;
    case OPTION_BATCH:
        line->batch = value;
        break;
    case OPTION_FORKS:
        status = take_number("forks", value, 1, &number);
        line->forks = (size_t)number;
        break;
    case OPTION_MAX_FAILURES:
        status = take_number("max-failures", value, 0, &line->most_failures);
        break;
    case OPTION_SUDO_PASSWORD:
        line->sudo_source = value;
        break;
    default:
        break;
    }
    return status;
}

static int apply_option(struct runtime *runtime, struct command_line *line, int code, const char *value)
{
    struct runtime_options *set = &runtime->options;
    int64_t ms = 0;
    switch (code) {
    case OPTION_CHECK:
        set->check = true;
        break;
    case OPTION_DIFF:
        set->diff = true;
        break;
    case OPTION_STEP:
        set->step = true;
        break;
    case OPTION_REPL_ON_ERROR:
        set->repl_on_error = true;
        break;
    case OPTION_YES:
        set->yes = true;
        break;
    case OPTION_JSON:
        set->json = true;
        break;
    case OPTION_DETAILED:
        set->detailed_exitcode = true;
        break;
    case OPTION_SUDO:
        set->sudo = true;
        break;
    case OPTION_ACCEPT_NEW:
        set->accept_new = true;
        break;
    case OPTION_TRANSPORT:
        if (strcmp(value, "ssh") != 0 && strcmp(value, "openssh") != 0)
            return refuse("--transport is ssh or openssh, not \"%s\"", value);
        set->transport = value;
        break;
    case 'v':
        set->verbose = true;
        break;
    case OPTION_VARS:
        line->vars = value;
        break;
    case OPTION_SET:
        return add_setting(line, value);
    case OPTION_TIMEOUT:
        if (!duration_parse(value, &ms) || ms <= 0)
            return refuse("--timeout takes a duration such as 90s or 10m, not \"%s\"", value);
        line->timeout_ms = (uint64_t)ms;
        break;
    default:
        return apply_host_option(line, code, value);
    }
    return EXIT_DONE;
}

/* Scripts and chunks take what a run takes. */
static int check_option(const struct command_line *line, int code)
{
    unsigned takes = line->command ? line->command->takes : TAKES_JSON | TAKES_RUN | TAKES_HOSTS;
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (options[i].code == code && options[i].needs && !(options[i].needs & takes))
            return refuse("--%s is not for this command", options[i].name);
    return EXIT_DONE;
}

/* A script that acts here in place of the hosts that are meant would be found out too late. */
static bool names_hosts(const char *word)
{
    return strcmp(word, "--on") == 0 || strncmp(word, "--on=", 5) == 0 || strcmp(word, "--except") == 0 ||
           strncmp(word, "--except=", 9) == 0;
}

/* What follows a script's name is the script's, but for those options of ours that take no value; "--" ends them. */
static int parse_script_words(struct runtime *runtime, int argc, char **argv, struct command_line *line)
{
    bool ours = true;
    for (; optind < argc; optind++) {
        const char *word = argv[optind];
        size_t row = 0;
        while (row < OPTION_COUNT &&
               (options[row].value || !(options[row].needs & (TAKES_RUN | TAKES_JSON)) ||
                strncmp(word, "--", 2) != 0 || strcmp(word + 2, options[row].name) != 0))
            row++;
        if (ours && names_hosts(word))
            return refuse("%s stands before the script's name, or is the script's own after --", word);
        if (ours && strcmp(word, "--") == 0)
            ours = false;
        else if (ours && row < OPTION_COUNT)
            apply_option(runtime, line, options[row].code, NULL);
        else
            line->words[line->word_count++] = argv[optind];
    }
    return EXIT_DONE;
}

static int parse(struct runtime *runtime, int argc, char **argv, struct command_line *line)
{
    struct option table[OPTION_COUNT + 1] = {0};
    for (size_t i = 0; i < OPTION_COUNT; i++)
        table[i] = (struct option){options[i].name, options[i].value ? required_argument : no_argument, NULL,
                                   options[i].code};
    int code, status = EXIT_DONE;
    bool asked[OPTION_COUNT] = {false};
    opterr = 0;
    while (status == EXIT_DONE && (code = getopt_long(argc, argv, "-:e:hv", table, NULL)) != -1) {
        if (code == 'h' || code == OPTION_VERSION)
            line->only_tells = code;
        else if (code == ':')
            return refuse("%s needs a value", argv[optind - 1]);
        else if (code == '?')
            return refuse("unknown option %s", argv[optind - 1]);
        else if (code == 'e')
            line->chunk = optarg;
        else if (code == 1 && (line->command || line->chunk))
            line->words[line->word_count++] = optarg;
        else if (code == 1 && !(line->command = find_command(optarg))) {
            if (!is_file_name(optarg))
                return refuse_command(optarg);
            line->words[line->word_count++] = optarg;
            return parse_script_words(runtime, argc, argv, line);
        } else if (code != 1) {
            for (size_t i = 0; i < OPTION_COUNT; i++)
                asked[i] = asked[i] || options[i].code == code;
            status = apply_option(runtime, line, code, optarg);
        }
    }
    while (optind < argc)
        line->words[line->word_count++] = argv[optind++];
    for (size_t i = 0; i < OPTION_COUNT && status == EXIT_DONE; i++)
        status = asked[i] ? check_option(line, options[i].code) : EXIT_DONE;
    return status;
}

static int execute(struct runtime *runtime, const struct command_line *line)
{
    if (line->only_tells == OPTION_VERSION) {
        puts("moonbook " MOONBOOK_VERSION);
        return EXIT_DONE;
    }
    if (line->only_tells) {
        print_help();
        return EXIT_DONE;
    }
    if (!line->command && !line->chunk && !line->word_count)
        return refuse("%s", "nothing to do");
    if (!line->command)
        return command_script(runtime, line);
    if (line->word_count < line->command->least_words)
        return refuse("%s is missing", line->command->arguments);
    if (line->word_count > line->command->most_words)
        return refuse("\"%s\" is one word too many", line->words[line->command->most_words]);
    return line->command->execute(runtime, line);
}

/* Where the caller closed one of the three, the next file opened would become it: a journal that is written to as to a terminal. */
static void hold_standard_streams(void)
{
    for (int file = STDIN_FILENO; file <= STDERR_FILENO; file++)
        if (fcntl(file, F_GETFD) < 0)
            (void)!open("/dev/null", O_RDWR); /* the lowest that is free: this one */
}

/* What was printed has arrived; else what would be success is none. */
static int check_output(int status)
{
    bool written = fflush(stdout) == 0 && !ferror(stdout);
    if (written || (status != EXIT_DONE && status != EXIT_CHANGED))
        return status;
    fputs("moonbook: standard output could not be written to its end\n", stderr);
    return EXIT_FAILED;
}

static int open_bindings(lua_State *L)
{
    bindings_open(L);
    return 0;
}

int main(int argc, char **argv)
{
#ifndef MOONBOOK_ASAN
    /* Secrets are in memory: no core of it is written, not by a handler of cores either. prctl(2). */
    prctl(PR_SET_DUMPABLE, 0);
#endif
    /* What the caller left open is not for the commands that are run. */
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    hold_standard_streams();
    struct runtime *runtime = runtime_new(argv[0]);
    if (!runtime) {
        fputs("moonbook: cannot start: no event loop or no memory\n", stderr);
        return EXIT_FAILED;
    }
    struct command_line line = {.most_failures = -1,
                                .words = allocate_zeroed((size_t)argc + 1, sizeof *line.words)};
    lua_pushcfunction(runtime->L, open_bindings);
    int status = EXIT_FAILED;
    if (lua_pcall(runtime->L, 0, 0, 0) != LUA_OK)
        fprintf(stderr, "moonbook: %s\n", lua_tostring(runtime->L, -1));
    else if ((status = parse(runtime, argc, argv, &line)) == EXIT_DONE)
        status = execute(runtime, &line);
    runtime_free(runtime);
    for (size_t i = 0; i < line.setting_count; i++) {
        free(line.settings[i].name);
        free(line.settings[i].value);
    }
    free(line.settings);
    free(line.words);
    return check_output(status);
}
