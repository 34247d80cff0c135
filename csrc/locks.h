/*
 * The table's struct and its locks. Internal to the table.
 *
 * A shard's lock is held for one probe and one copy, or for one shard's growth, or one
 * slice of a sweep or walk. A function that waits for several shards takes them in
 * ascending order; one that has some and wants another beside them only tries. The locks
 * of the pool, the events and the dead come last, and one at a time.
 *
 * The sum `used` follows the shards' own figures: each settles its difference when it is
 * unlocked. A write that needs more charges it first, so the sum never passes the limit.
 */
#ifndef DKV_LOCKS_H
#define DKV_LOCKS_H

#include "lock.h"
#include "shard.h"

struct dkv_table {
    dkv_shard shards[DKV_SHARDS];
    dkv_pool pool;
    dkv_events events;
    dkv_secret secret;
    uint64_t limit; /* bytes, 0 for none */
    bool evict;
    atomic_uint_least64_t used; /* kept only when there is a limit */
    atomic_size_t any;          /* the shard dkv_acquire_any begins with */
    atomic_size_t victim;       /* the shard eviction begins with */
    atomic_size_t evictions;    /* from other shards than the one that is written to */
    atomic_bool closed;
    atomic_bool awake; /* somebody calls dkv_sweep */
    atomic_uint dead_locked;
    _Atomic(dkv_entry *) dead; /* entries whose owners are to be let go of */
    dkv_table *next, **to_me;  /* in the list of all tables */
    struct dkv_log *log;       /* of a table whose changes go to a file first, else NULL */
};

/* The shard that the keys of a hash are in. */
static inline dkv_shard *dkv_shard_of(dkv_table *t, uint64_t hash)
{
    return &t->shards[dkv_shard_index(hash)];
}

/* Put a table on the list of those whose locks a fork takes, and take it off. */
void dkv_fork_keep(dkv_table *t);
void dkv_fork_forget(dkv_table *t);

static inline void dkv_lock(dkv_shard *s)
{
    dkv_lock_word(&s->locked);
}

static inline bool dkv_try_lock(dkv_shard *s)
{
    return !atomic_exchange_explicit(&s->locked, 1, memory_order_acquire);
}

static inline void dkv_lock_all(dkv_table *t)
{
    for (size_t i = 0; i < DKV_SHARDS; i++)
        dkv_lock(&t->shards[i]);
}

static inline void dkv_bury(dkv_table *t, dkv_dead *dead)
{
    if (!dead->head)
        return;
    dkv_lock_word(&t->dead_locked);
    dead->tail->next = atomic_load_explicit(&t->dead, memory_order_relaxed);
    atomic_store_explicit(&t->dead, dead->head, memory_order_relaxed);
    dkv_unlock_word(&t->dead_locked);
    *dead = (dkv_dead){NULL, NULL};
}

static inline void dkv_settle(dkv_table *t, dkv_shard *s)
{
    if (t->limit && s->memory != s->settled) {
        atomic_fetch_add_explicit(&t->used, s->memory - s->settled, memory_order_relaxed);
        s->settled = s->memory;
    }
}

static inline void dkv_unlock(dkv_table *t, dkv_shard *s)
{
    dkv_settle(t, s);
    dkv_bury(t, &s->dead);
    if (s->slab.grew)
        dkv_shard_compact(s, &t->secret);
    dkv_unlock_word(&s->locked);
}

static inline void dkv_unlock_all(dkv_table *t)
{
    for (size_t i = 0; i < DKV_SHARDS; i++)
        dkv_unlock(t, &t->shards[i]);
}

/* Shards start with 8 to 15 slots, so that they double at different times. */
static inline uint32_t dkv_least(const dkv_table *t, const dkv_shard *s)
{
    return 8 + (uint32_t)((s - t->shards) % 8);
}

#endif
