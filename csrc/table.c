/*
 * A table from its making to its end, and its clocks.
 */
#include "log.h"

#include <unistd.h>

#if defined(__APPLE__)
#include <sys/random.h>
#endif

/* Clocks */

int64_t dkv_now(const dkv_table *t)
{
    return dkv_clock_now(&t->events.clock);
}

int64_t dkv_wall(const dkv_table *t)
{
    return dkv_clock_wall(&t->events.clock, CLOCK_REALTIME);
}

void dkv_set_clock(dkv_table *t, int64_t monotonic, int64_t wall)
{
    dkv_clock_stop(&t->events.clock, monotonic, wall);
}

/* Life */

static int make_secret(dkv_secret *secret)
{
    const char *seed = getenv("DUMBKV_HASH_SEED");
    if (seed && *seed) {
        secret->k0 = strtoull(seed, NULL, 10);
        secret->k1 = ~secret->k0;
        return 0;
    }
    return getentropy(secret, sizeof *secret);
}

dkv_table *dkv_new(uint64_t limit, bool evict)
{
    size_t size = (sizeof(dkv_table) + 63) & ~(size_t)63;
    dkv_table *t = DKV_ALIGNED_ALLOC(64, size);
    if (!t)
        return NULL;
    memset(t, 0, size);
    t->limit = limit;
    t->evict = evict;
    atomic_init(&t->used, size);
    if (make_secret(&t->secret) != 0) {
        DKV_FREE(t);
        return NULL;
    }
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        t->shards[i].next_deadline = t->shards[i].sweep_deadline = DKV_NEVER;
        t->shards[i].pool = &t->pool;
        t->shards[i].events = &t->events;
    }
    dkv_fork_keep(t);
    return t;
}

void dkv_free(dkv_table *t)
{
    dkv_fork_forget(t);
    for (size_t i = 0; i < DKV_SHARDS; i++)
        DKV_FREE(t->shards[i].changes.bytes);
    DKV_FREE(t->events.ring);
    dkv_log_free(t);
    DKV_FREE(t);
}

bool dkv_has_dead(const dkv_table *t)
{
    return atomic_load_explicit(&t->dead, memory_order_relaxed) != NULL;
}

/* Cuts off what it takes before it lets go of anything, so others may do the same. */
void dkv_reap(dkv_table *t, void (*let_go)(void *owner), size_t most)
{
    dkv_lock_word(&t->dead_locked);
    dkv_entry *first = atomic_load_explicit(&t->dead, memory_order_relaxed);
    dkv_entry *rest = first;
    size_t taken = 0;
    for (; rest && taken < most; taken++)
        rest = rest->next;
    atomic_store_explicit(&t->dead, rest, memory_order_relaxed);
    dkv_unlock_word(&t->dead_locked);
    while (taken--) {
        dkv_entry *next = first->next;
        let_go(dkv_entry_value(first).owner);
        uint64_t hash = dkv_hash(&t->secret, dkv_entry_key(first), first->key_len);
        dkv_shard *s = dkv_shard_of(t, hash);
        dkv_lock(s);
        dkv_entry_free(s, first);
        if (!s->live)
            dkv_slab_trim(&s->slab, s->pool);
        dkv_unlock(t, s);
        first = next;
    }
}

uint64_t dkv_limit(const dkv_table *t)
{
    return t->limit;
}

uint64_t dkv_used(const dkv_table *t)
{
    return atomic_load_explicit(&t->used, memory_order_relaxed);
}

bool dkv_closed(const dkv_table *t)
{
    return atomic_load_explicit(&t->closed, memory_order_acquire);
}
