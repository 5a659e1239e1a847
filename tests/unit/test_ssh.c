/* What the SSH transports read and write as text: `ssh -G`, known hosts, key files, lines for a remote shell, its marks. */
#include "remote_command.h"
#include "ssh_config.h"
#include "ssh_identity.h"
#include "ssh_known_hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- ssh -G ---- */

static void settings_are_read(void **state)
{
    (void)state;
    struct ssh_settings settings = {.name = copy_text("c1")};
    setenv("MB_PLACE", "/keys", 1);
    ssh_settings_parse("user root\nhostname 10.0.0.7\nport 2222\nidentityfile ~/.ssh/id_%h\n"
                       "identityfile ${MB_PLACE}/%r-%n\nidentitiesonly yes\nidentityagent none\n"
                       "globalknownhostsfile /etc/g1 /etc/g2\nuserknownhostsfile ~/u1 ~/u2\n"
                       "stricthostkeychecking accept-new\nproxyjump a,b@c:22\nproxycommand none\n"
                       "passwordauthentication no\nconnecttimeout 7\nserveraliveinterval 3\n",
                       "/home/x", &settings);
    assert_string_equal(settings.address, "10.0.0.7");
    assert_string_equal(settings.user, "root");
    assert_int_equal(settings.port, 2222);
    assert_string_equal(settings.key_name, "10.0.0.7");
    assert_false(settings.has_alias);
    assert_int_equal(settings.identities.count, 2);
    assert_string_equal(settings.identities.items[0], "/home/x/.ssh/id_10.0.0.7");
    assert_string_equal(settings.identities.items[1], "/keys/root-c1");
    assert_true(settings.identities_only);
    assert_null(settings.agent);
    assert_int_equal(settings.known_hosts.count, 4);
    assert_int_equal(settings.own_known_hosts, 2);
    assert_string_equal(settings.known_hosts.items[0], "/home/x/u1");
    assert_string_equal(settings.known_hosts.items[2], "/etc/g1");
    assert_int_equal(settings.strictness, SSH_ACCEPT_NEW);
    assert_string_equal(settings.jump, "a,b@c:22");
    assert_null(settings.proxy_command);
    assert_false(settings.password);
    assert_true(settings.keyboard);
    assert_int_equal(settings.connect_ms, 7000);
    assert_int_equal(settings.alive_ms, 3000);
    ssh_settings_free(&settings);
}

static void names_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *user, *name, *port;
    } cases[] = {{"c1", NULL, "c1", NULL},
                 {"root@c1:2222", "root", "c1", "2222"},
                 {"[::1]:22", NULL, "::1", "22"},
                 {"u@fe80::1", "u", "fe80::1", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct host_spec spec = {0};
        struct buffer space = {0};
        struct failure failure;
        assert_true(host_spec_parse(cases[i].text, &spec, &space, &failure));
        assert_string_equal(spec.name, cases[i].name);
        assert_string_equal(spec.user ? spec.user : "", cases[i].user ? cases[i].user : "");
        assert_string_equal(spec.port ? spec.port : "", cases[i].port ? cases[i].port : "");
        buffer_free(&space);
    }
    static const char *const wrong[] = {"", "-oProxyCommand=x", "a b", "c1:0", "c1:99999", "c1:x", "-x@c1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct host_spec spec = {0};
        struct buffer space = {0};
        struct failure failure;
        assert_false(host_spec_parse(wrong[i], &spec, &space, &failure));
        assert_string_equal(failure.kind, "usage");
        buffer_free(&space);
    }
}

/* ---- known hosts ---- */

#define KEY_A "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define KEY_B "AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"

static enum ssh_verdict judge(const char *text, const char *name, int port, const char *key)
{
    struct ssh_known_keys keys = {0};
    struct buffer blob = {0};
    ssh_known_keys_parse(text, name, port, &keys);
    assert_true(ssh_base64_decode(key, strlen(key), &blob));
    enum ssh_verdict verdict = ssh_known_keys_judge(&keys, (unsigned char *)blob.bytes, blob.length);
    buffer_free(&blob);
    ssh_known_keys_free(&keys);
    return verdict;
}

static void keys_are_judged(void **state)
{
    (void)state;
    const char *one = "c1,10.0.0.1 ssh-ed25519 " KEY_A " comment\n";
    assert_int_equal(judge(one, "c1", 22, KEY_A), SSH_KEY_KNOWN);
    assert_int_equal(judge(one, "C1", 22, KEY_A), SSH_KEY_KNOWN);
    assert_int_equal(judge(one, "10.0.0.1", 0, KEY_A), SSH_KEY_KNOWN);
    assert_int_equal(judge(one, "c1", 22, KEY_B), SSH_KEY_CHANGED);
    assert_int_equal(judge(one, "c1", 2222, KEY_A), SSH_KEY_UNKNOWN);
    assert_int_equal(judge(one, "c11", 22, KEY_A), SSH_KEY_UNKNOWN);
    assert_int_equal(judge("[c1]:2222 ssh-ed25519 " KEY_A, "c1", 2222, KEY_A), SSH_KEY_KNOWN);
    assert_int_equal(judge("*.lab,!x.lab ssh-ed25519 " KEY_A, "a.lab", 22, KEY_A), SSH_KEY_KNOWN);
    assert_int_equal(judge("*.lab,!x.lab ssh-ed25519 " KEY_A, "x.lab", 22, KEY_A), SSH_KEY_UNKNOWN);
    assert_int_equal(judge("c? ssh-ed25519 " KEY_A, "c1", 22, KEY_A), SSH_KEY_KNOWN);
    assert_int_equal(judge("c1 ssh-rsa " KEY_A, "c1", 22, KEY_A),
                     SSH_KEY_UNKNOWN); /* it says what it is not */
    assert_int_equal(judge("@revoked * ssh-ed25519 " KEY_A "\nc1 ssh-ed25519 " KEY_A, "c1", 22, KEY_A),
                     SSH_KEY_IS_REVOKED);
    assert_int_equal(judge("c1 ssh-ed25519 " KEY_B "\nc1 ssh-ed25519 " KEY_A, "c1", 22, KEY_A),
                     SSH_KEY_KNOWN);
    assert_int_equal(judge("@cert-authority * ssh-ed25519 " KEY_A, "c1", 22, KEY_A), SSH_KEY_UNKNOWN);
    assert_int_equal(
        judge("broken\n@what c1\nc1\nc1 ssh-ed25519\nc1 ssh-ed25519 ====\n" KEY_A, "c1", 22, KEY_A),
        SSH_KEY_UNKNOWN);
}

/* Made by ssh-keygen -H of "c1". */
static void hashed_names_are_found(void **state)
{
    (void)state;
    const char *line = "|1|ymgN8L5EspI9RnmYvT+1IkE2HQo=|fHUcxFhPywnu/g9XwyiteZ4o72c= ssh-ed25519 " KEY_A;
    assert_int_equal(judge(line, "c1", 22, KEY_A), SSH_KEY_KNOWN);
    assert_int_equal(judge(line, "c2", 22, KEY_A), SSH_KEY_UNKNOWN);
    assert_int_equal(judge("|1|broken ssh-ed25519 " KEY_A, "c1", 22, KEY_A), SSH_KEY_UNKNOWN);
}

/* ---- lines ---- */

/* Runs the line here with what goes to its standard input; returns the output. */
static void run_line(const struct remote_line *line, const char *input, struct buffer *output)
{
    char name[] = "/tmp/moonbook-test-XXXXXX", piece[4096];
    int file = mkstemp(name);
    assert_true(file >= 0);
    FILE *stream = fdopen(file, "w");
    fwrite(buffer_text(&line->prefix), 1, line->prefix.length, stream);
    fputs(input, stream);
    fclose(stream);
    struct buffer shell = {0};
    buffer_format(&shell, "(%s) <%s 2>/dev/null", buffer_text(&line->line), name);
    FILE *pipe = popen(buffer_text(&shell), "r");
    for (size_t got; (got = fread(piece, 1, sizeof piece, pipe)) > 0;)
        buffer_append(output, piece, got);
    pclose(pipe);
    remove(name);
    buffer_free(&shell);
}

static void words_arrive_as_they_are(void **state)
{
    (void)state;
    char *large = malloc(200000);
    memset(large, '\'', 199999);
    large[199999] = '\0';
    const char *argv[] = {"printf", "%s|", "", "a b", "it's", "$HOME `id` \\ \" * ~", "two\nlines", NULL};
    const char *many[] = {"printf", "%s|", "", "a b", "it's", large, NULL};
    const char *environment[] = {"MB_A=x'y\nz", NULL};
    for (int i = 0; i < 2; i++) {
        struct host_command command = {.argv = i ? many : argv, .environment = i ? environment : NULL};
        struct remote_sudo none = {false, NULL};
        struct remote_line line;
        struct remote_progress progress = {0};
        struct buffer output = {0}, error = {0}, wanted = {0};
        remote_line_make(&command, REMOTE_EXEC, &none, &line);
        assert_true(line.line.length < 120000);
        assert_null(strstr(buffer_text(&line.line), "MB_A"));
        buffer_append_text(&output, "a greeting\n");
        run_line(&line, "the input", &output);
        remote_progress_look(line.mark, &output, &error, &progress);
        assert_true(progress.began);
        for (const char *const *word = command.argv + 2; *word; word++)
            buffer_format(&wanted, "%s|", *word);
        /* One argument of 200 kB is more than the kernel takes: the shell says so, and prints nothing. */
        if (!i)
            assert_string_equal(buffer_text(&output), buffer_text(&wanted));
        buffer_free(&wanted);
        buffer_free(&output);
        remote_line_free(&line);
    }
    free(large);
}

static void marks_are_taken_out(void **state)
{
    (void)state;
    struct remote_progress progress = {0};
    struct buffer output = {0}, error = {0};
    buffer_append_text(&output, "Welcome!\nmoonbook-1 12 34\nout\n");
    buffer_append_text(&error, "noise\nmoonbook-1\nerr\nmoonbook-1 end 143\nlate\n");
    remote_progress_look("moonbook-1", &output, &error, &progress);
    assert_string_equal(buffer_text(&output), "out\n");
    assert_string_equal(buffer_text(&error), "err\nlate\n");
    assert_int_equal(progress.leader, 12);
    assert_int_equal(progress.process, 34);
    assert_true(progress.ended);
    assert_int_equal(progress.signal, 15);
    buffer_free(&output);
    buffer_free(&error);
}

static void public_keys_are_seen_in_locked_files(void **state)
{
    (void)state;
    /* The head of a file that ssh-keygen locked: cipher aes256-ctr, kdf bcrypt, one key, its public part. */
    const char *text = "-----BEGIN OPENSSH PRIVATE KEY-----\n"
                       "b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABAAAAAAAAAAAAAA\n"
                       "AAAAAAAAAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
                       "AAAAAAAAAAAAAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    struct ssh_identity identity = {0};
    ssh_identity_parse(text, strlen(text), &identity);
    assert_true(identity.encrypted);
    assert_string_equal(identity.type, "ssh-ed25519");
    assert_int_equal(identity.blob.length, 51);
    ssh_identity_free(&identity);
    static const char *const damaged[] = {
        "", "-----BEGIN OPENSSH PRIVATE KEY-----\n-----END",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END"};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        struct ssh_identity none = {0};
        ssh_identity_parse(damaged[i], strlen(damaged[i]), &none);
        assert_int_equal(none.blob.length, 0);
        ssh_identity_free(&none);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_are_read),
        cmocka_unit_test(names_are_taken_apart),
        cmocka_unit_test(keys_are_judged),
        cmocka_unit_test(hashed_names_are_found),
        cmocka_unit_test(words_arrive_as_they_are),
        cmocka_unit_test(marks_are_taken_out),
        cmocka_unit_test(public_keys_are_seen_in_locked_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
