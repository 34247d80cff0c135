/*
 * SipHash-1-3 over bytes, after Aumasson and Bernstein, "SipHash: a fast short-input
 * PRF" (2012): one compression round a word, three to finish. Keys come from the
 * network; without the secret nobody can choose keys that collide.
 */
#ifndef DKV_SIPHASH_H
#define DKV_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint64_t k0, k1;
} dkv_secret;

static inline uint64_t dkv_rotl(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline void dkv_sipround(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = dkv_rotl(v[1], 13) ^ v[0];
    v[3] = dkv_rotl(v[3], 16) ^ v[2];
    v[0] = dkv_rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = dkv_rotl(v[1], 17) ^ v[2];
    v[3] = dkv_rotl(v[3], 21) ^ v[0];
    v[2] = dkv_rotl(v[2], 32);
}

static inline uint64_t dkv_little_endian(uint64_t word)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(word);
#else
    return word;
#endif
}

static inline uint64_t dkv_siphash(const dkv_secret *secret, const uint8_t *bytes, size_t n)
{
    uint64_t v[4] = {
        secret->k0 ^ UINT64_C(0x736f6d6570736575),
        secret->k1 ^ UINT64_C(0x646f72616e646f6d),
        secret->k0 ^ UINT64_C(0x6c7967656e657261),
        secret->k1 ^ UINT64_C(0x7465646279746573),
    };
    uint64_t last = (uint64_t)n << 56;
    for (; n >= 8; n -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        word = dkv_little_endian(word);
        v[3] ^= word;
        dkv_sipround(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < n; i++)
        last |= (uint64_t)bytes[i] << (8 * i);
    v[3] ^= last;
    dkv_sipround(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    dkv_sipround(v);
    dkv_sipround(v);
    dkv_sipround(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The hash of a key. With DKV_WEAK_HASH, for tests, there are only sixteen: two shards, two
   tags and four places to begin at, so that nothing works by luck. */
static inline uint64_t dkv_hash(const dkv_secret *secret, const uint8_t *key, size_t n)
{
#ifdef DKV_WEAK_HASH
    return dkv_siphash(secret, key, n) & UINT64_C(0x80000001c0000000);
#else
    return dkv_siphash(secret, key, n);
#endif
}

#endif
