/* OpenPGP keys: armor, fingerprints, expiry, signers, and hostile input. The keys in tests/data/openpgp were made with
 * gpg --faked-system-time 20200101T000000; their fingerprints here are gpg's. */
#include "openpgp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RSA     "4A0E2C45DECA8FC3AA9E7015636A05D478C145AD"
#define RSA_SUB "16E6DA3E23FAF1C06AE933FDEB19EB94E5E8BB63"
#define EXPIRED "C57A55E2B08F2966CE6A6087C8E66512A6FBFBA7"
#define CREATED 1577836800
#define EXPIRES 1609459200
#define ROOM    8

static struct buffer load(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "tests/data/openpgp/%s", name);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("run from the top folder: %s", path);
    struct buffer content = {0};
    char piece[4096];
    size_t length;
    while ((length = fread(piece, 1, sizeof piece, file)) > 0)
        buffer_append(&content, piece, length);
    fclose(file);
    return content;
}

static struct buffer load_binary(const char *name)
{
    char error[128];
    struct buffer armored = load(name), binary = {0};
    if (!openpgp_dearmour(armored.bytes, armored.length, &binary, error, sizeof error))
        fail_msg("%s: %s", name, error);
    buffer_free(&armored);
    return binary;
}

static void test_armor_is_what_gpg_exports(void **state)
{
    (void)state;
    struct buffer binary = load("rsa.gpg"), decoded = load_binary("rsa.asc");
    assert_int_equal(binary.length, decoded.length);
    assert_memory_equal(binary.bytes, decoded.bytes, binary.length);
    buffer_free(&decoded);
    decoded = load_binary("rsa.gpg"); /* what is not armored stays */
    assert_memory_equal(binary.bytes, decoded.bytes, binary.length);
    buffer_free(&decoded);
    buffer_free(&binary);
}

static void test_armor_is_read_with_carriage_returns_and_text_around(void **state)
{
    (void)state;
    struct buffer armored = load("rsa.asc"), text = {0}, decoded = {0}, binary = load("rsa.gpg");
    char error[128];
    buffer_append_text(&text, "Our key:\r\n");
    for (size_t i = 0; i < armored.length; i++)
        buffer_append(&text, armored.bytes[i] == '\n' ? "\r\n" : &armored.bytes[i],
                      armored.bytes[i] == '\n' ? 2 : 1);
    assert_true(openpgp_dearmour(text.bytes, text.length, &decoded, error, sizeof error));
    assert_int_equal(decoded.length, binary.length);
    buffer_free(&armored);
    buffer_free(&text);
    buffer_free(&decoded);
    buffer_free(&binary);
}

/* Changes one byte of the armor (at the first `from`) and expects the message. */
static void assert_damaged(const char *from, const char *to, const char *message)
{
    struct buffer armored = load("expired.asc"), out = {0};
    char error[128] = "";
    char *at = strstr(armored.bytes, from);
    assert_non_null(at);
    memcpy(at, to, strlen(to));
    assert_false(openpgp_dearmour(armored.bytes, armored.length, &out, error, sizeof error));
    if (!strstr(error, message))
        fail_msg("\"%s\" instead of \"%s\"", error, message);
    buffer_free(&armored);
    buffer_free(&out);
}

static void test_damaged_armor_is_refused(void **state)
{
    (void)state;
    assert_damaged("mDME", "mDMF", "checksum");
    assert_damaged("=AZ8C", "=AZ8D", "checksum");
    assert_damaged("mDME", "m*ME", "base64");
    assert_damaged("-----END", "-----AND", "after its checksum");
    assert_damaged("PUBLIC", "SECRET", "of no public key");
}

static void test_fingerprints_are_gpgs(void **state)
{
    (void)state;
    struct openpgp_key keys[ROOM];
    char error[128];
    size_t count;
    struct buffer binary = load_binary("both.asc");
    assert_true(openpgp_keys(binary.bytes, binary.length, keys, ROOM, &count, error, sizeof error));
    assert_int_equal(count, 3);
    assert_string_equal(keys[0].fingerprint, RSA);
    assert_true(keys[0].primary);
    assert_true(keys[0].id == 0x636A05D478C145AD);
    assert_int_equal(keys[0].created, CREATED);
    assert_int_equal(keys[0].expires, 0);
    assert_string_equal(keys[1].fingerprint, RSA_SUB);
    assert_false(keys[1].primary);
    assert_string_equal(keys[2].fingerprint, EXPIRED);
    assert_true(keys[2].primary);
    assert_int_equal(keys[2].expires, EXPIRES);
    assert_false(openpgp_keys(binary.bytes, binary.length, keys, 2, &count, error, sizeof error));
    buffer_free(&binary);
}

static void test_selecting_keeps_the_wanted_keys_whole(void **state)
{
    (void)state;
    static const char *const rsa[] = {RSA, NULL}, *const sub[] = {RSA_SUB, NULL},
                             *const both[] = {EXPIRED, RSA, NULL};
    struct buffer binary = load_binary("both.asc"), alone = load("rsa.gpg"), out = {0};
    openpgp_select(binary.bytes, binary.length, rsa, &out);
    assert_int_equal(out.length, alone.length);
    assert_memory_equal(out.bytes, alone.bytes, out.length);
    buffer_clear(&out);
    openpgp_select(binary.bytes, binary.length, sub, &out); /* a subkey's fingerprint proves nothing */
    assert_int_equal(out.length, 0);
    openpgp_select(binary.bytes, binary.length, both, &out);
    assert_int_equal(out.length, binary.length);
    buffer_free(&binary);
    buffer_free(&alone);
    buffer_free(&out);
}

static void test_the_signer_is_named(void **state)
{
    (void)state;
    uint64_t ids[4];
    struct buffer text = load("InRelease");
    assert_int_equal(openpgp_signers(text.bytes, text.length, ids, 4), 1);
    assert_true(ids[0] == 0xEB19EB94E5E8BB63); /* gpg signed with the subkey: ids of subkeys matter */
    assert_int_equal(openpgp_signers("Origin: x\n", 10, ids, 4), 0);
    buffer_free(&text);
}

static void assert_refused(const char *bytes, size_t length, const char *message)
{
    struct openpgp_key keys[ROOM];
    char error[128] = "";
    size_t count;
    assert_false(openpgp_keys(bytes, length, keys, ROOM, &count, error, sizeof error));
    if (!strstr(error, message))
        fail_msg("\"%s\" instead of \"%s\"", error, message);
}

static void test_what_is_no_public_key_is_refused(void **state)
{
    (void)state;
    struct buffer binary = load("rsa.gpg");
    assert_refused("", 0, "empty");
    assert_refused("<html>404</html>", 16, "not an OpenPGP public key");
    assert_refused("\0\0\0\x20\x01\x01\0\0KBXf\0\0\0\0", 16, "keybox");
    assert_int_equal((unsigned char)binary.bytes[0], 0x99); /* public key, two octets of length */
    binary.bytes[0] = (char)0x95;
    assert_refused(binary.bytes, binary.length, "secret key");
    binary.bytes[0] = (char)0x99;
    binary.bytes[3] = 3; /* version */
    assert_refused(binary.bytes, binary.length, "version");
    assert_refused("\x88\x01\x04", 3, "begin with a public key");
    buffer_free(&binary);
}

/* Every beginning and every byte changed: no read beyond the end (the sanitizer looks), no endless loop. A copy of
 * exactly that size, so that a read beyond is one beyond the allocation. */
static void test_hostile_input_is_safe(void **state)
{
    (void)state;
    struct openpgp_key keys[ROOM];
    char error[128];
    size_t count;
    struct buffer binary = load_binary("both.asc"), text = load("InRelease");
    for (size_t length = 0; length < binary.length; length++) {
        char *copy = malloc(length ? length : 1);
        memcpy(copy, binary.bytes, length);
        openpgp_keys(copy, length, keys, ROOM, &count, error, sizeof error);
        free(copy);
    }
    for (size_t i = 0; i < binary.length; i++) {
        for (int value = 0; value < 256; value += 5) {
            char was = binary.bytes[i];
            binary.bytes[i] = (char)value;
            openpgp_keys(binary.bytes, binary.length, keys, ROOM, &count, error, sizeof error);
            binary.bytes[i] = was;
        }
    }
    uint64_t ids[4];
    for (size_t length = 0; length < text.length; length++) {
        char *copy = malloc(length ? length : 1);
        memcpy(copy, text.bytes, length);
        openpgp_signers(copy, length, ids, 4);
        free(copy);
    }
    buffer_free(&binary);
    buffer_free(&text);
}

static void test_fingerprints_are_read_as_people_write_them(void **state)
{
    (void)state;
    char out[OPENPGP_FINGERPRINT_SIZE];
    assert_true(openpgp_fingerprint("798a ec65 4e5c 1542 8c8e  42ee aa16 fcbc a621 e701", out));
    assert_string_equal(out, "798AEC654E5C15428C8E42EEAA16FCBCA621E701");
    assert_true(openpgp_fingerprint("0x798AEC654E5C15428C8E42EEAA16FCBCA621E701", out));
    assert_false(openpgp_fingerprint("A621E701", out));
    assert_false(openpgp_fingerprint("", out));
    assert_false(openpgp_fingerprint("G98AEC654E5C15428C8E42EEAA16FCBCA621E701", out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_armor_is_what_gpg_exports),
        cmocka_unit_test(test_armor_is_read_with_carriage_returns_and_text_around),
        cmocka_unit_test(test_damaged_armor_is_refused),
        cmocka_unit_test(test_fingerprints_are_gpgs),
        cmocka_unit_test(test_selecting_keeps_the_wanted_keys_whole),
        cmocka_unit_test(test_the_signer_is_named),
        cmocka_unit_test(test_what_is_no_public_key_is_refused),
        cmocka_unit_test(test_hostile_input_is_safe),
        cmocka_unit_test(test_fingerprints_are_read_as_people_write_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
