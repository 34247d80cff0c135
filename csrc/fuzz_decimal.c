/*
 * Fuzzes decimal.h beside the C library: bytes spell an integer when strtoll reads one from
 * them and printing it gives the same bytes.
 */
#undef NDEBUG
#include "decimal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reference(const uint8_t *bytes, size_t n, int64_t *number)
{
    char text[32] = "", printed[32];
    if (n >= sizeof text)
        return false;
    if (n)
        memcpy(text, bytes, n);
    errno = 0;
    *number = strtoll(text, NULL, 10);
    int len = snprintf(printed, sizeof printed, "%lld", (long long)*number);
    return !errno && (size_t)len == n && memcmp(printed, text, n) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    int64_t ours = 0, theirs = 0;
    bool is = dkv_decimal(bytes, n, &ours);
    assert(is == reference(bytes, n, &theirs));
    assert(!is || ours == theirs);
    return 0;
}
