/*
 * The encoding of records: both ways to a checksum agree, what is encoded comes back, anything
 * cut or changed does not, and with every allocation failing in turn nothing is lost or left.
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long until_failure = -1, allocated = 0;

static void *test_malloc(size_t n)
{
    if (until_failure == 0)
        return NULL;
    until_failure -= until_failure > 0;
    allocated++;
    return malloc(n);
}

static void test_free(void *block)
{
    allocated -= block != NULL;
    free(block);
}

#define DKV_MALLOC test_malloc
#define DKV_CALLOC calloc
#define DKV_ALIGNED_ALLOC aligned_alloc
#define DKV_FREE test_free
#define DKV_CELL_FAILS() false
#include "crc32.c"
#include "record.c"

enum { LONG = 3000, OFFSET = 40, SEED = 12345 };

static uint8_t noise[LONG + 16];

static void checksums_agree(void)
{
    assert(dkv_crc32_plain(0, "123456789", 9) == 0xCBF43926); /* the check value of CRC-32 */
    for (size_t n = 0; n < 700; n++) {
        for (size_t from = 0; from < 16; from++) {
            uint32_t seed = (uint32_t)rand();
            uint32_t whole = dkv_crc32(seed, noise + from, n);
            assert(whole == dkv_crc32_plain(seed, noise + from, n));
            size_t part = n ? (size_t)rand() % n : 0;
            assert(dkv_crc32(dkv_crc32(seed, noise + from, part), noise + from + part, n - part) ==
                   whole);
        }
    }
}

static const dkv_operation every[] = {
    {.kind = DKV_OP_SYNCED, .number = 77},
    {.kind = DKV_OP_SET, .key = noise, .key_len = 3, .value = noise, .value_len = 5, .version = 9},
    {.kind = DKV_OP_SET, .key = noise, .key_len = 1, .version = INT64_MAX, .expiry = 1},
    {.kind = DKV_OP_SET,
     .key = noise + 1,
     .key_len = 300,
     .value = noise,
     .value_len = LONG,
     .version = 1,
     .expiry = DKV_EXPIRY_CEILING},
    {.kind = DKV_OP_DELETE, .key = noise, .key_len = 16},
    {.kind = DKV_OP_CLEAR},
    {.kind = DKV_OP_EXPIRE, .key = noise, .key_len = 2, .expiry = 4},
    {.kind = DKV_OP_END, .number = UINT64_MAX},
};

enum { EVERY = sizeof every / sizeof *every };

static bool same(const dkv_operation *a, const dkv_operation *b)
{
    return a->kind == b->kind && a->key_len == b->key_len && a->value_len == b->value_len &&
           a->version == b->version && a->expiry == b->expiry && a->number == b->number &&
           (!a->key_len || memcmp(a->key, b->key, a->key_len) == 0) &&
           (!a->value_len || memcmp(a->value, b->value, a->value_len) == 0);
}

static bool build(dkv_buffer *buffer)
{
    if (!dkv_buffer_want(buffer, DKV_HEAD))
        return false;
    buffer->used = DKV_HEAD;
    for (size_t i = 0; i < EVERY; i++) {
        size_t before = buffer->used;
        if (!dkv_encode(buffer, &every[i])) {
            assert(buffer->used == before);
            return false;
        }
        assert(buffer->used == before + dkv_encoded_size(&every[i]));
    }
    dkv_seal(SEED, OFFSET, buffer->bytes, buffer->used);
    return true;
}

static void what_is_encoded_comes_back(void)
{
    dkv_buffer buffer = {NULL, 0, 0};
    dkv_operation got;
    assert(build(&buffer));
    int64_t size = dkv_record_size(SEED, OFFSET, buffer.bytes, buffer.used + 7);
    assert(size == (int64_t)buffer.used);
    size_t at = DKV_HEAD;
    for (size_t i = 0; i < EVERY; i++) {
        assert(!dkv_decode(buffer.bytes, buffer.used, &at, &got));
        assert(same(&got, &every[i]));
    }
    assert(at == buffer.used);
    for (size_t left = 0; left < buffer.used; left++)
        assert(dkv_record_size(SEED, OFFSET, buffer.bytes, left) == DKV_CUT);
    assert(dkv_record_size(SEED, OFFSET + 1, buffer.bytes, buffer.used) == DKV_WRONG);
    assert(dkv_record_size(SEED + 1, OFFSET, buffer.bytes, buffer.used) == DKV_WRONG);
    for (size_t i = 4; i < buffer.used; i++) {
        buffer.bytes[i] ^= 1;
        assert(dkv_record_size(SEED, OFFSET, buffer.bytes, buffer.used) == DKV_WRONG);
        buffer.bytes[i] ^= 1;
    }
    assert(dkv_record_size(SEED, OFFSET, (const uint8_t *)"\0\0\0\0", 4) == 0);
    dkv_buffer_free(&buffer);
}

/* Of an operation that is cut anywhere nothing is read past the end: a copy of just its bytes
   is what the sanitizer watches. */
static void a_cut_operation_is_refused(void)
{
    dkv_operation got;
    for (size_t i = 0; i < EVERY; i++) {
        dkv_buffer buffer = {NULL, 0, 0};
        assert(dkv_encode(&buffer, &every[i]));
        for (size_t n = 0; n < buffer.used; n++) {
            uint8_t *copy = malloc(n + (n == 0));
            size_t at = 0;
            assert(copy);
            memcpy(copy, buffer.bytes, n);
            assert(dkv_decode(copy, n, &at, &got));
            free(copy);
        }
        dkv_buffer_free(&buffer);
    }
}

static void nonsense_is_refused(void)
{
    static const dkv_operation bad[] = {
        {.kind = DKV_OP_SET, .version = 1},
        {.kind = DKV_OP_SET, .key = noise, .key_len = 1},
        {.kind = DKV_OP_SET, .key = noise, .key_len = 1, .version = UINT64_C(1) << 63},
        {.kind = DKV_OP_SET, .key = noise, .key_len = 1, .version = 1, .expiry = -1},
        {.kind = DKV_OP_EXPIRE, .key = noise, .key_len = 1, .expiry = DKV_EXPIRY_CEILING + 1},
        {.kind = DKV_OP_DELETE},
        {.kind = (dkv_kind)0},
        {.kind = (dkv_kind)7},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dkv_buffer buffer = {NULL, 0, 0};
        dkv_operation got;
        size_t at = 0;
        assert(dkv_encode(&buffer, &bad[i]));
        assert(dkv_decode(buffer.bytes, buffer.used, &at, &got));
        dkv_buffer_free(&buffer);
    }
}

static void without_memory_nothing_changes(void)
{
    for (long n = 0;; n++) {
        dkv_buffer buffer = {NULL, 0, 0};
        until_failure = n;
        bool done = build(&buffer);
        until_failure = -1;
        dkv_buffer_free(&buffer);
        assert(allocated == 0);
        if (done)
            return;
    }
}

int main(void)
{
    srand(1);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)rand();
    checksums_agree();
    what_is_encoded_comes_back();
    a_cut_operation_is_refused();
    nonsense_is_refused();
    without_memory_nothing_changes();
    puts("test_record: ok");
}
