/* Purpose: the rival of decoding: yajl alone, the library that reads JSON in moonbook too, on the same bytes.
 *   decode FILE COUNT HOW     COUNT times; HOW: "tree" makes yajl's own tree of the text and releases it,
 *                             "callbacks" does nothing with what was read */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>
#include <yajl/yajl_tree.h>

static char *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "r");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        return NULL;
    *length = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(*length + 1);
    if (!text || fread(text, 1, *length, file) != *length)
        return NULL;
    text[*length] = '\0';
    fclose(file);
    return text;
}

static int parse_tree(const char *text)
{
    char error[256] = "";
    yajl_val tree = yajl_tree_parse(text, error, sizeof error);
    if (!tree)
        fprintf(stderr, "decode: %s\n", error);
    yajl_tree_free(tree);
    return tree != NULL;
}

static int on_event(void *context)
{
    (void)context;
    return 1;
}

static int on_boolean(void *context, int value)
{
    (void)context, (void)value;
    return 1;
}

static int on_number(void *context, const char *text, size_t length)
{
    (void)context, (void)text, (void)length;
    return 1;
}

static int on_string(void *context, const unsigned char *text, size_t length)
{
    (void)context, (void)text, (void)length;
    return 1;
}

static int parse_callbacks(const char *text, size_t length)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = on_event,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_event,
        .yajl_map_key = on_string,
        .yajl_end_map = on_event,
        .yajl_start_array = on_event,
        .yajl_end_array = on_event,
    };
    yajl_handle handle = yajl_alloc(&callbacks, NULL, NULL);
    int good = handle && yajl_parse(handle, (const unsigned char *)text, length) == yajl_status_ok &&
               yajl_complete_parse(handle) == yajl_status_ok;
    if (handle)
        yajl_free(handle);
    return good;
}

int main(int argc, char **argv)
{
    size_t length;
    char *text = argc == 4 ? read_file(argv[1], &length) : NULL;
    if (!text)
        return 64;
    int tree = strcmp(argv[3], "tree") == 0, good = 1;
    for (long left = strtol(argv[2], NULL, 10); good && left > 0; left--)
        good = tree ? parse_tree(text) : parse_callbacks(text, length);
    free(text);
    return !good;
}
