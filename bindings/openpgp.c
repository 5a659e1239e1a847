/* OpenPGP public keys: armor, packets, fingerprints. Every length is checked against what is left. */
#include "openpgp.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum packet_tag {
    PACKET_SIGNATURE = 2,
    PACKET_SECRET_KEY = 5,
    PACKET_PUBLIC_KEY = 6,
    PACKET_SECRET_SUBKEY = 7,
    PACKET_MARKER = 10,
    PACKET_TRUST = 12,
    PACKET_USER_ID = 13,
    PACKET_PUBLIC_SUBKEY = 14,
    PACKET_USER_ATTRIBUTE = 17,
    PACKET_PADDING = 21,
};

enum subpacket_type {
    SUBPACKET_CREATED = 2,
    SUBPACKET_KEY_EXPIRES = 9,
    SUBPACKET_ISSUER = 16,
    SUBPACKET_ISSUER_FINGERPRINT = 33
};

/* Bytes that are left to read. */
struct view {
    const unsigned char *at;
    size_t left;
};

static bool fail(char *error, size_t size, const char *text)
{
    snprintf(error, size, "%s", text);
    return false;
}

static bool take(struct view *view, size_t count, struct view *out)
{
    if (count > view->left)
        return false;
    *out = (struct view){view->at, count};
    view->at += count;
    view->left -= count;
    return true;
}

static bool take_number(struct view *view, size_t bytes, uint64_t *number)
{
    struct view digits;
    if (!take(view, bytes, &digits))
        return false;
    *number = 0;
    for (size_t i = 0; i < bytes; i++)
        *number = *number << 8 | digits.at[i];
    return true;
}

/* ---- armor (RFC 4880, 6.2) ---- */

static bool next_line(struct view *text, struct view *line)
{
    if (!text->left)
        return false;
    const unsigned char *end = memchr(text->at, '\n', text->left);
    size_t length = end ? (size_t)(end - text->at) : text->left;
    struct view whole = *text;
    take(text, end ? length + 1 : length, &whole);
    while (length && strchr(" \t\r", whole.at[length - 1]) && whole.at[length - 1])
        length--;
    *line = (struct view){whole.at, length};
    return true;
}

static bool line_is(struct view line, const char *text)
{
    return line.left == strlen(text) && memcmp(line.at, text, line.left) == 0;
}

static int base64_value(unsigned char letter)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = letter ? strchr(alphabet, letter) : NULL;
    return found ? (int)(found - alphabet) : -1;
}

/* Base64 over several lines: what is left of one goes on in the next. */
struct base64 {
    uint32_t bits;
    unsigned count;
    bool padded;
};

static bool base64_line(struct base64 *state, struct view line, struct buffer *out)
{
    for (size_t i = 0; i < line.left; i++) {
        if (line.at[i] == '=') {
            state->padded = true;
            continue;
        }
        int value = base64_value(line.at[i]);
        if (value < 0 || state->padded)
            return false;
        state->bits = state->bits << 6 | (uint32_t)value;
        state->count += 6;
        if (state->count >= 8) {
            state->count -= 8;
            char byte = (char)(state->bits >> state->count & 0xff);
            buffer_append(out, &byte, 1);
        }
    }
    return true;
}

static uint32_t crc24(const unsigned char *bytes, size_t length)
{
    uint32_t crc = 0xb704ce;
    for (size_t i = 0; i < length; i++) {
        crc ^= (uint32_t)bytes[i] << 16;
        for (int bit = 0; bit < 8; bit++) {
            crc <<= 1;
            if (crc & 0x1000000)
                crc ^= 0x1864cfb;
        }
    }
    return crc & 0xffffff;
}

static bool checksum_matches(struct view line, const char *bytes, size_t length)
{
    struct buffer sum = {0};
    struct base64 state = {0};
    line.at++;
    line.left--;
    bool right = base64_line(&state, line, &sum) && sum.length == 3;
    if (right) {
        const unsigned char *digits = (const unsigned char *)sum.bytes;
        uint32_t wanted = (uint32_t)digits[0] << 16 | (uint32_t)digits[1] << 8 | digits[2];
        right = wanted == crc24((const unsigned char *)bytes, length);
    }
    buffer_free(&sum);
    return right;
}

/* Reads the block after its BEGIN line. The checksum is optional, as RFC 9580 makes it. */
static bool armor_body(struct view *text, const char *end, struct buffer *out, char *error, size_t error_size)
{
    struct view line;
    struct base64 state = {0};
    size_t start = out->length;
    bool headers = true, summed = false;
    while (next_line(text, &line)) {
        if (line_is(line, end))
            return out->length > start || fail(error, error_size, "the armor is empty");
        if (headers && (!line.left || memchr(line.at, ':', line.left))) {
            headers = line.left > 0;
            continue;
        }
        headers = false;
        if (!line.left)
            continue;
        if (summed)
            return fail(error, error_size, "the armor goes on after its checksum");
        if (line.left == 5 && line.at[0] == '=') {
            if (!checksum_matches(line, buffer_text(out) + start, out->length - start))
                return fail(error, error_size, "the armor's checksum is wrong: the text is damaged");
            summed = true;
        } else if (!base64_line(&state, line, out)) {
            return fail(error, error_size, "the armor holds what is not base64");
        }
    }
    return fail(error, error_size, "the armor has no end");
}

bool openpgp_is_armored(const char *bytes, size_t length)
{
    return memmem(bytes, length, "-----BEGIN PGP ", 15) != NULL;
}

/* Decodes every block of that label; returns how many, -1 when one is damaged. */
static int dearmour_all(const char *bytes, size_t length, const char *label, struct buffer *out, char *error,
                        size_t error_size)
{
    char begin[80], end[80];
    snprintf(begin, sizeof begin, "-----BEGIN PGP %s-----", label);
    snprintf(end, sizeof end, "-----END PGP %s-----", label);
    struct view text = {(const unsigned char *)bytes, length}, line;
    int blocks = 0;
    while (next_line(&text, &line)) {
        if (!line_is(line, begin))
            continue;
        if (!armor_body(&text, end, out, error, error_size))
            return -1;
        blocks++;
    }
    return blocks;
}

bool openpgp_dearmour(const char *bytes, size_t length, struct buffer *binary, char *error, size_t error_size)
{
    if (!openpgp_is_armored(bytes, length)) {
        buffer_append(binary, bytes, length);
        return true;
    }
    int blocks = dearmour_all(bytes, length, "PUBLIC KEY BLOCK", binary, error, error_size);
    if (blocks == 0)
        return fail(error, error_size, "it is OpenPGP armor, but of no public key");
    return blocks > 0;
}

/* ---- packets ---- */

struct packet {
    int tag;
    struct view body;
};

static bool new_length(struct view *view, uint64_t *length)
{
    uint64_t first, second;
    if (!take_number(view, 1, &first))
        return false;
    if (first < 192) {
        *length = first;
        return true;
    }
    if (first < 224) {
        if (!take_number(view, 1, &second))
            return false;
        *length = ((first - 192) << 8) + second + 192;
        return true;
    }
    return first == 255 &&
           take_number(view, 4, length); /* no partial bodies: keys and signatures have none */
}

static bool next_packet(struct view *view, struct packet *packet)
{
    uint64_t head, length;
    if (!take_number(view, 1, &head) || !(head & 0x80))
        return false;
    if (head & 0x40) {
        packet->tag = head & 0x3f;
        if (!new_length(view, &length))
            return false;
    } else {
        packet->tag = head >> 2 & 0x0f;
        if ((head & 3) == 3 || !take_number(view, (size_t)1 << (head & 3), &length))
            return false;
    }
    return length <= view->left && take(view, (size_t)length, &packet->body);
}

/* ---- keys ---- */

static void write_hex(const unsigned char *bytes, size_t length, char *out)
{
    for (size_t i = 0; i < length; i++)
        snprintf(out + 2 * i, 3, "%02X", bytes[i]);
}

static uint64_t number_of(const unsigned char *bytes)
{
    struct view view = {bytes, 8};
    uint64_t number = 0;
    take_number(&view, 8, &number);
    return number;
}

/* A digest over a prefix with the body's length and the body: SHA-1 for version 4 (its id is the end of it),
 * SHA-256 for 5 and 6 (its beginning). */
static bool fingerprint(struct view body, struct openpgp_key *key)
{
    int version = body.at[0];
    struct buffer text = {0};
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    unsigned char head[5] = {(unsigned char)(version == 4 ? 0x99 : version == 5 ? 0x9a : 0x9b)};
    size_t bytes = version == 4 ? 2 : 4;
    for (size_t i = 0; i < bytes; i++)
        head[1 + i] = (unsigned char)(body.left >> 8 * (bytes - 1 - i));
    buffer_append(&text, head, 1 + bytes);
    buffer_append(&text, body.at, body.left);
    bool done =
        EVP_Digest(text.bytes, text.length, digest, &length, version == 4 ? EVP_sha1() : EVP_sha256(), NULL);
    buffer_free(&text);
    if (!done)
        return false;
    write_hex(digest, length, key->fingerprint);
    key->id = number_of(version == 4 ? digest + length - 8 : digest);
    return true;
}

static bool read_key(struct view body, struct openpgp_key *key, char *error, size_t error_size)
{
    uint64_t created;
    struct view rest = body;
    if (body.left < 6 || body.at[0] < 4 || body.at[0] > 6 || (body.at[0] == 4 && body.left > 0xffff))
        return fail(error, error_size, "a key of a version that is not supported (only 4 to 6 are)");
    rest.at++;
    rest.left--;
    take_number(&rest, 4, &created);
    key->created = (int64_t)created;
    return fingerprint(body, key) || fail(error, error_size, "the library refuses SHA-1 (FIPS mode?)");
}

/* What matters of a signature. */
struct signature {
    int type;
    uint64_t created, key_expires, issuer;
    bool has_issuer;
};

static void read_subpacket(int type, struct view body, bool hashed, struct signature *signature)
{
    struct view rest = body;
    uint64_t number;
    if (type == SUBPACKET_CREATED && hashed && take_number(&rest, 4, &number)) {
        signature->created = number;
    } else if (type == SUBPACKET_KEY_EXPIRES && hashed && take_number(&rest, 4, &number)) {
        signature->key_expires = number;
    } else if (type == SUBPACKET_ISSUER && body.left == 8) {
        signature->issuer = number_of(body.at);
        signature->has_issuer = true;
    } else if (type == SUBPACKET_ISSUER_FINGERPRINT && (body.left == 21 || body.left == 33)) {
        signature->issuer = number_of(body.at[0] == 4 ? body.at + body.left - 8 : body.at + 1);
        signature->has_issuer = true;
    }
}

static bool read_subpackets(struct view area, bool hashed, struct signature *signature)
{
    while (area.left) {
        uint64_t length;
        struct view body;
        /* 224 to 254 are two-octet lengths here, unlike those of packets. */
        if (area.at[0] >= 224 && area.at[0] < 255) {
            if (area.left < 2)
                return false;
            length = ((uint64_t)(area.at[0] - 192) << 8) + area.at[1] + 192;
            area.at += 2;
            area.left -= 2;
        } else if (!new_length(&area, &length)) {
            return false;
        }
        if (!length || length > area.left || !take(&area, (size_t)length, &body))
            return false;
        struct view content = {body.at + 1, body.left - 1};
        read_subpacket(body.at[0] & 0x7f, content, hashed, signature);
    }
    return true;
}

static bool read_signature(struct view body, struct signature *signature)
{
    *signature = (struct signature){0};
    uint64_t version, type, algorithms, length;
    struct view area;
    if (!take_number(&body, 1, &version) || version < 4 || version > 6)
        return false; /* version 3 has no subpackets and is long gone */
    size_t bytes = version == 6 ? 4 : 2;
    if (!take_number(&body, 1, &type) || !take_number(&body, 2, &algorithms))
        return false;
    signature->type = (int)type;
    for (int hashed = 1; hashed >= 0; hashed--)
        if (!take_number(&body, bytes, &length) || length > body.left ||
            !take(&body, (size_t)length, &area) || !read_subpackets(area, hashed, signature))
            return false;
    return true;
}

/* A certification of the primary key by itself (0x10-0x13, 0x1f) says when it expires; the newest counts. */
static void note_expiry(struct view body, struct openpgp_key *primary, uint64_t *newest)
{
    struct signature signature;
    if (!read_signature(body, &signature) || signature.issuer != primary->id || signature.created < *newest)
        return;
    if (signature.type != 0x1f && (signature.type < 0x10 || signature.type > 0x13))
        return;
    *newest = signature.created;
    primary->expires = signature.key_expires ? primary->created + (int64_t)signature.key_expires : 0;
}

static const char *refusal(int tag)
{
    switch (tag) {
    case PACKET_SECRET_KEY:
    case PACKET_SECRET_SUBKEY:
        return "it holds a secret key";
    case PACKET_SIGNATURE:
    case PACKET_MARKER:
    case PACKET_TRUST:
    case PACKET_USER_ID:
    case PACKET_USER_ATTRIBUTE:
    case PACKET_PADDING:
    case PACKET_PUBLIC_KEY:
    case PACKET_PUBLIC_SUBKEY:
        return NULL;
    default:
        return "it holds what does not belong to a public key";
    }
}

bool openpgp_keys(const char *bytes, size_t length, struct openpgp_key *keys, size_t room, size_t *count,
                  char *error, size_t error_size)
{
    struct view view = {(const unsigned char *)bytes, length};
    struct packet packet;
    struct openpgp_key *primary = NULL;
    uint64_t newest = 0;
    *count = 0;
    if (length >= 12 && memcmp(bytes + 8, "KBXf", 4) == 0)
        return fail(error, error_size, "it is a keybox file of gpg; export the key with gpg --export");
    while (view.left) {
        if (!next_packet(&view, &packet))
            return fail(error, error_size, "it is not an OpenPGP public key");
        const char *why = refusal(packet.tag);
        if (why)
            return fail(error, error_size, why);
        bool is_primary = packet.tag == PACKET_PUBLIC_KEY;
        if (!is_primary && !primary && packet.tag != PACKET_MARKER)
            return fail(error, error_size, "it does not begin with a public key");
        if (is_primary || packet.tag == PACKET_PUBLIC_SUBKEY) {
            if (*count == room)
                return fail(error, error_size, "it holds too many keys");
            struct openpgp_key *key = &keys[(*count)++];
            *key = (struct openpgp_key){.primary = is_primary};
            if (!read_key(packet.body, key, error, error_size))
                return false;
            primary = is_primary ? key : primary;
            newest = is_primary ? 0 : newest;
        } else if (packet.tag == PACKET_SIGNATURE) {
            note_expiry(packet.body, primary, &newest);
        }
    }
    return *count > 0 || fail(error, error_size, "it is empty");
}

static bool is_wanted(struct view body, const char *const *wanted)
{
    struct openpgp_key key = {0};
    char error[128];
    if (!read_key(body, &key, error, sizeof error))
        return false;
    for (; *wanted; wanted++)
        if (strcmp(key.fingerprint, *wanted) == 0)
            return true;
    return false;
}

void openpgp_select(const char *bytes, size_t length, const char *const *wanted, struct buffer *out)
{
    struct view view = {(const unsigned char *)bytes, length};
    bool selected = false;
    while (view.left) {
        struct packet packet;
        const unsigned char *start = view.at;
        if (!next_packet(&view, &packet))
            return;
        if (packet.tag == PACKET_PUBLIC_KEY)
            selected = is_wanted(packet.body, wanted);
        if (selected)
            buffer_append(out, start, (size_t)(view.at - start));
    }
}

size_t openpgp_signers(const char *text, size_t length, uint64_t *ids, size_t room)
{
    struct buffer binary = {0};
    char error[128];
    size_t count = 0;
    if (dearmour_all(text, length, "SIGNATURE", &binary, error, sizeof error) > 0) {
        struct view view = {(const unsigned char *)binary.bytes, binary.length};
        struct packet packet;
        struct signature signature;
        while (count < room && next_packet(&view, &packet))
            if (packet.tag == PACKET_SIGNATURE && read_signature(packet.body, &signature) &&
                signature.has_issuer)
                ids[count++] = signature.issuer;
    }
    buffer_free(&binary);
    return count;
}

bool openpgp_fingerprint(const char *text, char out[OPENPGP_FINGERPRINT_SIZE])
{
    size_t length = 0;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        text += 2;
    for (; *text; text++) {
        if (*text == ' ' || *text == ':')
            continue;
        if (!isxdigit((unsigned char)*text) || length == OPENPGP_FINGERPRINT_SIZE - 1)
            return false;
        out[length++] = (char)toupper((unsigned char)*text);
    }
    out[length] = '\0';
    return length == 40 || length == 64;
}
