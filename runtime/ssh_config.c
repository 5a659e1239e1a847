/* `ssh -G`: one keyword and its value a line. */
#include "ssh_config.h"

#include "process.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define ASK_MS 30000 /* Match exec may look things up */

void ssh_list_add(struct ssh_list *list, const char *text)
{
    list->items = reallocate(list->items, (list->count + 2) * sizeof *list->items);
    list->items[list->count++] = copy_text(text);
    list->items[list->count] = NULL;
}

void ssh_list_free(struct ssh_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct ssh_list){0};
}

void ssh_settings_free(struct ssh_settings *settings)
{
    char *texts[] = {settings->name,          settings->address,   settings->user,
                     settings->key_name,      settings->agent,     settings->jump,
                     settings->proxy_command, settings->smartcard, settings->revoked};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    ssh_list_free(&settings->identities);
    ssh_list_free(&settings->certificates);
    ssh_list_free(&settings->known_hosts);
    ssh_list_free(&settings->arguments);
    *settings = (struct ssh_settings){0};
}

static void set(char **text, const char *value)
{
    free(*text);
    *text = value ? copy_text(value) : NULL;
}

static bool is_yes(const char *value)
{
    return strcmp(value, "yes") == 0 || strcmp(value, "true") == 0;
}

static const char *unless_none(const char *value)
{
    return strcasecmp(value, "none") == 0 ? NULL : value;
}

/* Tilde, %-tokens and ${VARIABLE}, which `ssh -G` leaves as they are. */
static void expand(const struct ssh_settings *settings, const char *home, const char *path,
                   struct buffer *out)
{
    if (path[0] == '~' && (path[1] == '/' || path[1] == '\0')) {
        buffer_append_text(out, home);
        path++;
    }
    for (; *path; path++) {
        const char *end = path[0] == '$' && path[1] == '{' ? strchr(path, '}') : NULL;
        if (end) {
            char name[128];
            snprintf(name, sizeof name, "%.*s", (int)(end - path - 2), path + 2);
            buffer_append_text(out, getenv(name) ? getenv(name) : "");
            path = end;
        } else if (*path != '%' || !path[1]) {
            buffer_append(out, path, 1);
        } else {
            const char *text = NULL;
            switch (*++path) {
            case 'd':
                text = home;
                break;
            case 'h':
                text = settings->address;
                break;
            case 'n':
                text = settings->name;
                break;
            case 'r':
                text = settings->user;
                break;
            case 'u':
                text = getenv("USER");
                break;
            case 'p':
                buffer_format(out, "%d", settings->port);
                continue;
            default:
                buffer_append(out, path, 1);
                continue;
            }
            buffer_append_text(out, text ? text : "");
        }
    }
}

static void add_path(const struct ssh_settings *settings, const char *home, const char *path,
                     struct ssh_list *list)
{
    struct buffer expanded = {0};
    expand(settings, home, path, &expanded);
    if (expanded.length && unless_none(path))
        ssh_list_add(list, buffer_text(&expanded));
    buffer_free(&expanded);
}

/* Blank-separated paths; `ssh -G` prints those with blanks in them without quotes, so a list is what is found. */
static void add_paths(const struct ssh_settings *settings, const char *home, const char *value,
                      struct ssh_list *list)
{
    char *copy = copy_text(value), *rest = NULL;
    for (char *path = strtok_r(copy, " ", &rest); path; path = strtok_r(NULL, " ", &rest))
        add_path(settings, home, path, list);
    free(copy);
}

static void set_agent(struct ssh_settings *settings, const char *home, const char *value)
{
    const char *variable = strcmp(value, "SSH_AUTH_SOCK") == 0 ? value : value[0] == '$' ? value + 1 : NULL;
    struct buffer path = {0};
    if (variable && *variable != '{')
        buffer_append_text(&path, getenv(variable) ? getenv(variable) : "");
    else
        expand(settings, home, value, &path);
    set(&settings->agent, unless_none(value) && path.length ? buffer_text(&path) : NULL);
    buffer_free(&path);
}

static void take_number(struct ssh_settings *settings, const char *keyword, const char *value)
{
    long number = strtol(value, NULL, 10);
    if (strcmp(keyword, "port") == 0)
        settings->port = (int)number;
    else if (strcmp(keyword, "connecttimeout") == 0)
        settings->connect_ms = number > 0 ? (uint64_t)number * 1000 : 0;
    else if (strcmp(keyword, "serveraliveinterval") == 0)
        settings->alive_ms = number > 0 ? (uint64_t)number * 1000 : 0;
}

static void take_text(struct ssh_settings *settings, const char *keyword, const char *value)
{
    const struct {
        const char *keyword;
        char **text;
    } texts[] = {{"hostname", &settings->address},           {"user", &settings->user},
                 {"hostkeyalias", &settings->key_name},      {"proxyjump", &settings->jump},
                 {"proxycommand", &settings->proxy_command}, {"pkcs11provider", &settings->smartcard},
                 {"revokedhostkeys", &settings->revoked}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(texts[i].keyword, keyword) == 0)
            set(texts[i].text, unless_none(value));
}

static void take_flag(struct ssh_settings *settings, const char *keyword, const char *value)
{
    const struct {
        const char *keyword;
        bool *flag;
    } flags[] = {{"identitiesonly", &settings->identities_only},
                 {"hashknownhosts", &settings->hash_known_hosts},
                 {"pubkeyauthentication", &settings->public_key},
                 {"passwordauthentication", &settings->password},
                 {"kbdinteractiveauthentication", &settings->keyboard},
                 {"gssapiauthentication", &settings->kerberos}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (strcmp(flags[i].keyword, keyword) == 0)
            *flags[i].flag = is_yes(value);
    if (strcmp(keyword, "stricthostkeychecking") == 0 &&
        (strcmp(value, "accept-new") == 0 || strcmp(value, "no") == 0 || strcmp(value, "off") == 0 ||
         strcmp(value, "false") == 0))
        settings->strictness = SSH_ACCEPT_NEW;
}

/* Calls `take` for each keyword and value. */
static void each_line(const char *text, struct ssh_settings *settings, const char *home,
                      void (*take)(struct ssh_settings *settings, const char *home, const char *keyword,
                                   const char *value))
{
    char *copy = copy_text(text), *rest = NULL;
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *value = strchr(line, ' ');
        if (!value)
            continue;
        *value++ = '\0';
        take(settings, home, line, value);
    }
    free(copy);
}

static void take_simple(struct ssh_settings *settings, const char *home, const char *keyword,
                        const char *value)
{
    (void)home;
    take_number(settings, keyword, value);
    take_text(settings, keyword, value);
    take_flag(settings, keyword, value);
}

/* Paths may name what the first pass found. The user's known hosts come first, whatever the order of the lines. */
static void take_path(struct ssh_settings *settings, const char *home, const char *keyword, const char *value)
{
    if (strcmp(keyword, "identityfile") == 0)
        add_path(settings, home, value, &settings->identities);
    else if (strcmp(keyword, "certificatefile") == 0)
        add_path(settings, home, value, &settings->certificates);
    else if (strcmp(keyword, "identityagent") == 0)
        set_agent(settings, home, value);
    else if (strcmp(keyword, "userknownhostsfile") == 0)
        add_paths(settings, home, value, &settings->known_hosts);
}

static void take_global(struct ssh_settings *settings, const char *home, const char *keyword,
                        const char *value)
{
    if (strcmp(keyword, "globalknownhostsfile") == 0)
        add_paths(settings, home, value, &settings->known_hosts);
}

void ssh_settings_parse(const char *text, const char *home, struct ssh_settings *settings)
{
    settings->public_key = settings->password = settings->keyboard = true;
    settings->port = 22;
    set_agent(settings, home, "SSH_AUTH_SOCK");
    each_line(text, settings, home, take_simple);
    each_line(text, settings, home, take_path);
    settings->own_known_hosts = settings->known_hosts.count;
    each_line(text, settings, home, take_global);
    settings->has_alias = settings->key_name != NULL;
    if (!settings->key_name && settings->address)
        set(&settings->key_name, settings->address);
}

static void add_option(struct ssh_list *arguments, const char *keyword, const char *value)
{
    struct buffer option = {0};
    buffer_format(&option, "-o%s=\"%s\"", keyword, value);
    ssh_list_add(arguments, buffer_text(&option));
    buffer_free(&option);
}

static const char *home_folder(void)
{
    struct passwd *user = getpwuid(getuid()); /* as ssh, which does not ask $HOME */
    return user && user->pw_dir ? user->pw_dir : "/";
}

/* What the spec says, as options of ssh. MOONBOOK_SSH_CONFIG is a file in place of the user's and the system's. */
static void make_arguments(const struct host_spec *spec, struct ssh_list *arguments)
{
    const char *file = getenv("MOONBOOK_SSH_CONFIG");
    char absolute[PATH_MAX];
    if (file && *file) {
        ssh_list_add(arguments, "-F");
        ssh_list_add(arguments, file);
    }
    if (spec->port) {
        ssh_list_add(arguments, "-p");
        ssh_list_add(arguments, spec->port);
    }
    if (spec->jump)
        add_option(arguments, "ProxyJump", spec->jump);
    if (spec->user)
        add_option(arguments, "User", spec->user);
    if (spec->address)
        add_option(arguments, "HostName", spec->address);
    if (spec->identity) {
        bool in_home = spec->identity[0] == '~';
        add_option(arguments, "IdentityFile",
                   !in_home && realpath(spec->identity, absolute) ? absolute : spec->identity);
        add_option(arguments, "IdentitiesOnly", "yes");
    }
    if (spec->known_hosts) {
        bool in_home = spec->known_hosts[0] == '~';
        add_option(arguments, "UserKnownHostsFile",
                   !in_home && realpath(spec->known_hosts, absolute) ? absolute : spec->known_hosts);
        add_option(arguments, "GlobalKnownHostsFile", "/dev/null");
    }
}

bool ssh_settings_read(struct runtime *runtime, const struct host_spec *spec, struct ssh_settings *settings,
                       struct failure *failure)
{
    *settings = (struct ssh_settings){.name = copy_text(spec->name)};
    make_arguments(spec, &settings->arguments);
    const char **argv = allocate_zeroed(settings->arguments.count + 5, sizeof *argv);
    size_t count = 0;
    argv[count++] = "ssh";
    argv[count++] = "-G";
    for (size_t i = 0; i < settings->arguments.count; i++)
        argv[count++] = settings->arguments.items[i];
    argv[count++] = "--";
    argv[count++] = spec->name;
    struct process_options options = {.argv = argv, .timeout_ms = ASK_MS};
    struct process_result result;
    bool done = process_run(runtime, &options, &result, failure);
    if (!done && strcmp(failure->kind, "not-found") == 0)
        failure_hint(failure, "install openssh-client: it reads the SSH configuration");
    if (done && result.status != 0) {
        size_t length = result.error.length < 500 ? result.error.length : 500;
        done = failure_set(failure, "usage", "ssh -G", "%s: %.*s", spec->name, (int)length,
                           buffer_text(&result.error));
        failure_hint(failure, "correct the SSH configuration; ssh -G %s shows the same", spec->name);
    }
    if (done)
        ssh_settings_parse(buffer_text(&result.output), home_folder(), settings);
    process_result_free(&result);
    free(argv);
    return done;
}
