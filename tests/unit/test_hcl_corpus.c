/* A corpus of configurations and jobs (tests/data/hcl): each is read, comes back as it was to the byte, and stands 500
 * edits that its name chooses: only the lines concerned change, and what is read is what was set. */
#include "../fuzz/hcl_edits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>

#define EDITS       500
#define FILES_LEAST 60

static void read_whole(const char *path, struct buffer *out)
{
    char piece[4096];
    size_t length;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    while ((length = fread(piece, 1, sizeof piece, file)) > 0)
        buffer_append(out, piece, length);
    fclose(file);
}

static glob_t corpus(void)
{
    glob_t found;
    assert_int_equal(glob("tests/data/hcl/*", 0, NULL, &found), 0);
    return found;
}

/* The text again, from its nodes and what is between them: nothing overlaps, nothing is outside. */
static void check_spans(const char *name, const struct hcl_document *document)
{
    for (uint32_t i = 1; i < document->count; i++) {
        const struct hcl_node *node = hcl_at(document, i), *parent = hcl_at(document, node->parent);
        uint32_t end = node->next != 0 ? hcl_at(document, node->next)->begin : parent->end;
        if (node->begin > node->end || node->end > end || node->begin < parent->begin)
            fail_msg("%s: node %u is not within its place", name, i);
    }
}

static void every_file_is_read(void **state)
{
    (void)state;
    glob_t files = corpus();
    for (size_t i = 0; i < files.gl_pathc; i++) {
        struct buffer text = {0};
        struct hcl_editor editor;
        struct hcl_fault fault;
        read_whole(files.gl_pathv[i], &text);
        if (!hcl_editor_open(&editor, buffer_text(&text), text.length, &fault))
            fail_msg("%s: byte %zu: %s is wanted", files.gl_pathv[i], fault.at, fault.wanted);
        assert_int_equal(editor.text.length, text.length);
        assert_memory_equal(buffer_text(&editor.text), buffer_text(&text), text.length);
        check_spans(files.gl_pathv[i], &editor.document);
        hcl_editor_close(&editor);
        buffer_free(&text);
    }
    assert_true(files.gl_pathc >= FILES_LEAST);
    globfree(&files);
}

static uint64_t seed_of(const char *name)
{
    uint64_t seed = 0xCBF29CE484222325u;
    for (; *name != '\0'; name++)
        seed = (seed ^ (unsigned char)*name) * 0x100000001B3u;
    return seed | 1;
}

/* Each edit is made of the file as it is. */
static void edit_file(const char *path, unsigned *done)
{
    struct trial trial = {.name = path, .random = seed_of(strrchr(path, '/'))};
    struct buffer arena = {0};
    struct hcl_document document;
    struct hcl_fault fault;
    read_whole(path, &trial.before);
    assert_true(hcl_parse(buffer_text(&trial.before), trial.before.length, &arena, &document, &fault));
    for (unsigned i = 0; i < 20 * EDITS && trial.done < EDITS; i++)
        run_trial(&trial, &document); /* some are refused: a block is no number */
    assert_int_equal(trial.done, EDITS);
    *done += trial.done;
    buffer_free(&arena);
    buffer_free(&trial.before);
    buffer_free(&trial.path);
}

static void every_file_stands_edits(void **state)
{
    (void)state;
    unsigned done = 0;
    glob_t files = corpus();
    for (size_t i = 0; i < files.gl_pathc; i++)
        edit_file(files.gl_pathv[i], &done);
    print_message("# %u edits of %zu files were made\n", done, files.gl_pathc);
    assert_int_equal(done, files.gl_pathc * EDITS);
    globfree(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_is_read),
        cmocka_unit_test(every_file_stands_edits),
    };
    return cmocka_run_group_tests_name("hcl corpus", tests, NULL, NULL);
}
