/*
 * One shard of the table: an open-addressed array of tagged pointers to entries.
 * Internal to the table; whoever calls holds the shard's lock.
 *
 * A slot is 64 bits: an entry's address in the low 48, and above it 16 bits of the
 * key's hash, so that a probe for an absent key hardly ever touches an entry. Probing
 * is linear: neighbours share a cache line. A removed entry leaves a tombstone unless
 * the next slot is free. The array may be of any size (the hash is scaled to it, not
 * masked), and every shard starts at another one, so that shards grow at different
 * times and neither memory nor pauses come in steps.
 *
 * Entries are one allocation each: header, deadline if there is one, key, value.
 */
#ifndef DKV_SHARD_H
#define DKV_SHARD_H

#include "siphash.h"
#include "table.h"

#include <stdatomic.h>
#include <stdlib.h>

/* The C tests put allocators that fail on purpose here. */
#ifndef DKV_MALLOC
#define DKV_MALLOC malloc
#define DKV_CALLOC calloc
#define DKV_ALIGNED_ALLOC aligned_alloc
#define DKV_FREE free
#endif

struct dkv_entry {
    uint64_t version;
    uint32_t value_len;
    uint16_t key_len;
    bool timed; /* a deadline stands before the key */
    uint8_t bytes[];
};

struct dkv_shard {
    _Alignas(64) atomic_uint locked;
    uint32_t cap;   /* slots */
    uint32_t live;  /* of them with an entry */
    uint32_t used;  /* with an entry or a tombstone; at most `limit` */
    uint32_t limit; /* 4/5 of cap */
    uint32_t first; /* no entry stands in a slot below */
    uint64_t *slots;
    uint64_t hits;
    uint64_t misses;
    int64_t next_deadline; /* no entry's deadline is earlier */
    uint64_t sets;
    uint64_t deletes;
    uint64_t expired;
    uint64_t data_bytes;
};

/* What a look for a key found: where it is, or where it would go. */
typedef struct {
    dkv_entry *entry; /* NULL when absent */
    size_t slot;
} dkv_place;

static inline const uint8_t *dkv_entry_key(const dkv_entry *e)
{
    return e->bytes + (e->timed ? sizeof(int64_t) : 0);
}

static inline const uint8_t *dkv_entry_value(const dkv_entry *e)
{
    return dkv_entry_key(e) + e->key_len;
}

static inline int64_t dkv_entry_deadline(const dkv_entry *e)
{
    int64_t deadline = DKV_NEVER;
    if (e->timed)
        memcpy(&deadline, e->bytes, sizeof deadline);
    return deadline;
}

/* A new entry with version 0, or NULL. */
dkv_entry *dkv_entry_new(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
                         int64_t deadline);

/* Write another value over an entry when its allocation fits it: whether it did. */
bool dkv_entry_refill(dkv_entry *e, const uint8_t *key, const uint8_t *value, size_t value_len,
                      int64_t deadline);

void dkv_entry_free(dkv_entry *e);

dkv_place dkv_shard_find(const dkv_shard *s, uint64_t hash, const uint8_t *key, size_t key_len);

/* Make room for `extra` entries more: 0 or DKV_ENOMEM. Moves slots: find again. */
int dkv_shard_reserve(dkv_shard *s, size_t extra, uint32_t least, const dkv_secret *secret);

static inline bool dkv_shard_has_room(const dkv_shard *s)
{
    return s->used < s->limit;
}

/* Put an entry where `place` says its key is or would go, and free the one before.
   There has to be room for it. */
void dkv_shard_put(dkv_shard *s, dkv_place place, dkv_entry *e, uint64_t hash);

/* Take the entry of a slot out and free it. */
void dkv_shard_drop(dkv_shard *s, size_t slot);

/* The first slot from `from` on with an entry, or cap. */
size_t dkv_shard_next(const dkv_shard *s, size_t from);
dkv_entry *dkv_shard_at(const dkv_shard *s, size_t slot);

/* Drop what has expired, if anything can have: how many. O(slots). */
uint32_t dkv_shard_sweep(dkv_shard *s, int64_t now);

/* Give back slots when few are in use; does nothing when memory is short. */
void dkv_shard_shrink(dkv_shard *s, uint32_t least, const dkv_secret *secret);

/* Free an array of slots and every entry in it. */
void dkv_slots_free(uint64_t *slots, size_t cap);

/* A sentence on the first broken invariant, or NULL. O(slots). */
const char *dkv_shard_check(const dkv_shard *s, size_t index, const dkv_secret *secret,
                            uint64_t last_version);

static inline size_t dkv_shard_index(uint64_t hash)
{
    return (size_t)(hash >> (64 - DKV_SHARD_BITS));
}

#endif
