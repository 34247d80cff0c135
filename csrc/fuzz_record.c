/*
 * Fuzzes the decoder of record bodies: it stays within them, and what it takes for operations
 * encodes to just the bytes it read.
 */
#undef NDEBUG
#include "crc32.c"
#include "record.c"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    dkv_buffer buffer = {NULL, 0, 0};
    dkv_operation operation;
    size_t at = 0, before = 0;
    while (at < n && !dkv_decode(bytes, n, &at, &operation)) {
        assert(at > before && at <= n);
        assert(dkv_encode(&buffer, &operation));
        assert(buffer.used == at);
        before = at;
    }
    assert(!before || memcmp(buffer.bytes, bytes, before) == 0);
    dkv_buffer_free(&buffer);
    if (n >= DKV_HEAD) {
        int64_t size = dkv_record_size(1, 2, bytes, n);
        assert(size <= (int64_t)n);
    }
    return 0;
}
