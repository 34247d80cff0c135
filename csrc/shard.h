/*
 * One shard of the table: an open-addressed array of tagged pointers to entries.
 * Internal to the table; whoever calls holds the shard's lock.
 *
 * A slot is 64 bits: 16 bits of the key's hash on top, so that a probe for an absent key
 * hardly ever touches an entry; below them an entry's address; and in the address's low
 * bits, which alignment leaves free, how often the entry was read of late. Probing is
 * linear: neighbours share a cache line. A removed entry leaves a tombstone unless the
 * next slot is free. The array may be of any size (the hash is scaled to it, not masked),
 * and every shard starts at another one, so that shards grow at different times and
 * neither memory nor pauses come in steps.
 *
 * Entries are one cell of the shard's slab each: header, deadline if there is one, key,
 * value. Of a value that has an owner the entry keeps two pointers, to the object and its
 * bytes.
 *
 * Eviction is CLOCK over the slots: a read counts an entry up to USES, the hand counts it
 * down as it passes, and takes the first at nought. A new entry starts at nought, so that
 * a scan of many keys pushes out itself and not what is read again and again.
 */
#ifndef DKV_SHARD_H
#define DKV_SHARD_H

#include "changes.h"
#include "events.h"
#include "siphash.h"
#include "slab.h"
#include "table.h"

struct dkv_entry {
    union {
        uint64_t version;
        dkv_entry *next; /* in the list of the dead */
    };
    uint32_t value_len;
    uint16_t key_len;
    bool timed : 1;   /* a deadline stands before the key */
    bool owned : 1;   /* the value is its owner's */
    bool counted : 1; /* by a sum over many keys that is under way */
    uint8_t rest : 5; /* written with them, so that nobody waits to read them first */
    uint8_t bytes[];
};

/* Entries that are gone but for the owners of their values. */
typedef struct {
    dkv_entry *head, *tail;
} dkv_dead;

enum { DKV_NOTE_CHANGES = 1, DKV_NOTE_EVENTS = 2 };

struct dkv_shard {
    _Alignas(64) atomic_uint locked;
    uint32_t cap;    /* slots */
    uint32_t live;   /* of them with an entry */
    uint32_t used;   /* with an entry or a tombstone; at most `limit` */
    uint32_t limit;  /* 4/5 of cap */
    uint32_t first;  /* no entry stands in a slot below */
    uint32_t noting; /* what it tells others */
    uint64_t *slots;
    uint64_t hits;
    uint64_t misses;
    int64_t next_deadline; /* no entry's deadline is earlier */
    uint64_t memory;       /* bytes of slots, entries and owned values */
    uint64_t settled;      /* of them the table's sum has already */
    uint64_t sets;
    uint64_t deletes;
    uint64_t expired;
    uint64_t evicted;
    uint64_t data_bytes;
    uint32_t hand;          /* the slot eviction looks at next */
    uint32_t sweep_at;      /* the slot a sweep in slices looks at next, 0 for none begun */
    int64_t sweep_deadline; /* no entry below it has an earlier deadline */
    dkv_dead dead;
    dkv_pool *pool; /* the table's */
    dkv_events *events;
    dkv_changes changes;
    dkv_slab slab;
    bool reserved; /* slots have to stay for what is about to be put */
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

static inline int64_t dkv_entry_deadline(const dkv_entry *e)
{
    int64_t deadline = DKV_NEVER;
    if (e->timed)
        memcpy(&deadline, e->bytes, sizeof deadline);
    return deadline;
}

static inline dkv_value dkv_entry_value(const dkv_entry *e)
{
    const uint8_t *at = dkv_entry_key(e) + e->key_len;
    dkv_value value = {at, e->value_len, NULL};
    if (e->owned) {
        memcpy(&value.owner, at, sizeof value.owner);
        memcpy(&value.bytes, at + sizeof value.owner, sizeof value.bytes);
    }
    return value;
}

/* Memory for an entry, nothing of it written, or NULL. */
dkv_entry *dkv_entry_alloc(dkv_shard *s, size_t key_len, dkv_value value, int64_t deadline);

/* A new entry with version 0, or NULL. */
dkv_entry *dkv_entry_new(dkv_shard *s, const uint8_t *key, size_t key_len, dkv_value value,
                         int64_t deadline);

/* What an entry takes, with its owned value: one there would be, and one there is. */
uint64_t dkv_entry_cost(size_t key_len, dkv_value value, int64_t deadline);
uint64_t dkv_entry_memory(const dkv_entry *e);

/* Write what there is to an entry, in memory that it fits; its version stays. */
void dkv_entry_fill(dkv_entry *e, const uint8_t *key, size_t key_len, dkv_value value,
                    int64_t deadline);

void dkv_entry_free(dkv_shard *s, dkv_entry *e);

dkv_place dkv_shard_find(const dkv_shard *s, uint64_t hash, const uint8_t *key, size_t key_len);

/* What dkv_shard_reserve would add to the shard's memory. */
uint64_t dkv_shard_growth(const dkv_shard *s, size_t extra, uint32_t least, bool clean);

/* Make room for `extra` entries more: 0 when there was, 1 when slots were moved for it and
   places have to be found again, or DKV_ENOMEM. With `clean` it rather clears tombstones
   away, more often, than take more memory. */
int dkv_shard_reserve(dkv_shard *s, size_t extra, uint32_t least, bool clean,
                      const dkv_secret *secret);

/* Put an entry where `place` says its key is or would go, instead of the one before.
   There has to be room for it. A value with an owner that goes with the one before is put in
   `*gone` when that has none, and in the list of the dead otherwise or without `gone`. */
void dkv_shard_put(dkv_shard *s, dkv_place place, dkv_entry *e, uint64_t hash, dkv_value *gone);

/* Whether another value can be written over an entry, and doing it: the value it had. */
bool dkv_entry_fits(const dkv_entry *e, dkv_value value, int64_t deadline);
dkv_value dkv_shard_refill(dkv_shard *s, dkv_entry *e, const uint8_t *key, dkv_value value,
                           int64_t deadline);

/* Take the entry of a slot out, its owner as with dkv_shard_put, uncounted and untold. */
void dkv_shard_take(dkv_shard *s, size_t slot, dkv_value *gone);

/* The same, counted and told. */
void dkv_shard_drop(dkv_shard *s, size_t slot, dkv_event why, dkv_value *gone);

/* The version for something that happens to a key, which is told to those who watch. */
static inline uint64_t dkv_shard_stamp(const dkv_shard *s, dkv_event what, const uint8_t *key,
                                       size_t key_len)
{
    return s->noting & DKV_NOTE_EVENTS ? dkv_happened(s->events, what, key, key_len)
                                       : dkv_next_version(s->events);
}

/* Count a read of the entry in a slot. */
void dkv_shard_use(dkv_shard *s, size_t slot);

/* The slot of an entry that was not read lately, but not of `keep`; SIZE_MAX when there is none. */
size_t dkv_shard_victim(dkv_shard *s, const dkv_entry *keep);

/* The first slot from `from` on with an entry, or cap. */
size_t dkv_shard_next(const dkv_shard *s, size_t from);

/* The same for entries of one slice of 2**bits, at most 16: which one an entry is in comes
   from its key's hash alone. */
size_t dkv_shard_next_in(const dkv_shard *s, size_t from, unsigned bits, unsigned slice);
dkv_entry *dkv_shard_at(const dkv_shard *s, size_t slot);

/* Ask for the memory of the slot, and of the entry, where the search for a hash begins. */
void dkv_shard_prefetch_slot(const dkv_shard *s, uint64_t hash);
void dkv_shard_prefetch_entry(const dkv_shard *s, uint64_t hash);

/* Drop what has expired, if anything can have: how many. O(slots). */
uint32_t dkv_shard_sweep(dkv_shard *s, int64_t now);

/* The same for some slots; `*more` while there are others to look at. */
uint32_t dkv_shard_sweep_slice(dkv_shard *s, int64_t now, bool *more);

/* Give back slots when few are in use, and pages when none is; does nothing when memory is
   short. */
void dkv_shard_shrink(dkv_shard *s, uint32_t least, const dkv_secret *secret);

/* Discard the entries in slots that were the shard's, from `*at` on and for one slice:
   whether there are more. */
bool dkv_shard_discard_slice(dkv_shard *s, uint64_t *slots, size_t cap, size_t *at);

/* Move some entries together, so that a page of memory gets free. No pointer to an entry
   stays good. */
void dkv_shard_compact(dkv_shard *s, const dkv_secret *secret);

/* A sentence on the first broken invariant, or NULL. O(slots). */
const char *dkv_shard_check(const dkv_shard *s, size_t index, const dkv_secret *secret,
                            uint64_t last_version);

static inline size_t dkv_shard_index(uint64_t hash)
{
    return (size_t)(hash >> (64 - DKV_SHARD_BITS));
}

#endif
