/*
 * Two ways to one number. The plain one looks up eight bytes at a time in eight tables. The
 * other folds 64 bytes at a time with carry-less multiplications, as Gopal and others describe
 * ("Fast CRC Computation for Generic Polynomials Using PCLMULQDQ", Intel 2009), whose constants
 * for this polynomial are x^n mod P, bits reversed.
 */
#include "crc32.h"

#include <string.h>

enum { LOOKUPS = 8 };

#define POLYNOMIAL 0xEDB88320U

static uint32_t partial[LOOKUPS][256];

/* As the module is loaded: nobody has to ask later whether it is done. */
__attribute__((constructor)) static void fill(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        partial[0][i] = crc;
    }
    for (int table = 1; table < LOOKUPS; table++) {
        for (int i = 0; i < 256; i++)
            partial[table][i] =
                partial[table - 1][i] >> 8 ^ partial[0][partial[table - 1][i] & 0xff];
    }
}

/* `crc` comes and goes as it is inside: all bits turned. */
static uint32_t plain(uint32_t crc, const uint8_t *at, size_t n)
{
    for (; n >= 8; at += 8, n -= 8) {
        uint32_t low, high;
        memcpy(&low, at, sizeof low);
        memcpy(&high, at + 4, sizeof high);
        low ^= crc;
        crc = partial[7][low & 0xff] ^ partial[6][low >> 8 & 0xff] ^ partial[5][low >> 16 & 0xff] ^
              partial[4][low >> 24] ^ partial[3][high & 0xff] ^ partial[2][high >> 8 & 0xff] ^
              partial[1][high >> 16 & 0xff] ^ partial[0][high >> 24];
    }
    if (n >= 4) {
        uint32_t word;
        memcpy(&word, at, sizeof word);
        word ^= crc;
        crc = partial[3][word & 0xff] ^ partial[2][word >> 8 & 0xff] ^
              partial[1][word >> 16 & 0xff] ^ partial[0][word >> 24];
        at += 4;
        n -= 4;
    }
    for (; n; at++, n--)
        crc = crc >> 8 ^ partial[0][(crc ^ *at) & 0xff];
    return crc;
}

uint32_t dkv_crc32_plain(uint32_t crc, const void *bytes, size_t n)
{
    return ~plain(~crc, bytes, n);
}

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

enum { LEAST = 64 };

#define FOLDING __attribute__((target("pclmul,sse4.1")))

FOLDING static inline __m128i load(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* What `sum` comes to further on, where the constants say, added to what stands there. */
FOLDING static inline __m128i fold(__m128i sum, __m128i constants, __m128i there)
{
    __m128i low = _mm_clmulepi64_si128(sum, constants, 0x00);
    __m128i high = _mm_clmulepi64_si128(sum, constants, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), there);
}

/* At least 64 bytes, and whole groups of 16. */
FOLDING static uint32_t folded(uint32_t crc, const uint8_t *at, size_t n)
{
    const __m128i by_64 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
    const __m128i by_16 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    const __m128i by_8 = _mm_set_epi64x(0, 0x163cd6124);
    const __m128i barrett = _mm_set_epi64x(0x1f7011641, 0x1db710641);
    const __m128i low_32 = _mm_set_epi32(0, 0, 0, -1);
    __m128i sums[4];
    for (int i = 0; i < 4; i++)
        sums[i] = load(at + 16 * i);
    sums[0] = _mm_xor_si128(sums[0], _mm_cvtsi32_si128((int)crc));
    for (at += 64, n -= 64; n >= 64; at += 64, n -= 64) {
        for (int i = 0; i < 4; i++)
            sums[i] = fold(sums[i], by_64, load(at + 16 * i));
    }
    __m128i sum = sums[0];
    for (int i = 1; i < 4; i++)
        sum = fold(sum, by_16, sums[i]);
    for (; n >= 16; at += 16, n -= 16)
        sum = fold(sum, by_16, load(at));
    /* 128 bits to 96, those to 64, and those by Barrett's reduction to 32. */
    sum = _mm_xor_si128(_mm_srli_si128(sum, 8), _mm_clmulepi64_si128(sum, by_16, 0x10));
    sum = _mm_xor_si128(_mm_srli_si128(sum, 4),
                        _mm_clmulepi64_si128(_mm_and_si128(sum, low_32), by_8, 0x00));
    __m128i part = _mm_clmulepi64_si128(_mm_and_si128(sum, low_32), barrett, 0x10);
    part = _mm_clmulepi64_si128(_mm_and_si128(part, low_32), barrett, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(sum, part), 1);
}

uint32_t dkv_crc32(uint32_t crc, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    crc = ~crc;
    if (n >= LEAST && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1")) {
        size_t whole = n & ~(size_t)15;
        crc = folded(crc, at, whole);
        at += whole;
        n -= whole;
    }
    return ~plain(crc, at, n);
}

#else

uint32_t dkv_crc32(uint32_t crc, const void *bytes, size_t n)
{
    return dkv_crc32_plain(crc, bytes, n);
}

#endif
