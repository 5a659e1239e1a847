/* Fuzzer of the configuration parser and editor (libFuzzer): texts that are no configuration are refused, the others
 * come back as they were, and edits of them change what they shall (hcl_edits.h). `make fuzz`; tests/fuzz/run bounds
 * it. */
#include "hcl_edits.h"

#include <stdint.h>

#define EDITS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trial trial = {.name = "fuzz", .value = "", .what = "parse", .random = 0x9E3779B97F4A7C15u};
    struct buffer arena = {0};
    struct hcl_document document;
    struct hcl_fault fault = {0};
    struct hcl_path path;
    buffer_append(&trial.before, data, size);
    for (size_t i = 0; i < size; i++)
        trial.random = (trial.random ^ data[i]) * 0x100000001B3u;
    trial.random |= 1;
    if (!hcl_parse(buffer_text(&trial.before), size, &arena, &document, &fault))
        hcl_explain(buffer_text(&trial.before), size, &fault, true, "fuzz", &trial.failure);
    for (unsigned i = 0; i < EDITS && fault.wanted == NULL && document.count > 0; i++)
        run_trial(&trial, &document);
    hcl_path_read((const char *)buffer_text(&trial.before), size < 200 ? size : 200, &path, &trial.failure);
    hcl_path_free(&path);
    buffer_free(&trial.before);
    buffer_free(&trial.path);
    buffer_free(&arena);
    return 0;
}
