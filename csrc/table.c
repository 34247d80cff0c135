/*
 * The shards, their locks, the clocks and the versions: what table.h promises, built
 * on shard.h.
 *
 * A lock is one word, taken with one exchange and given back with one store; who has
 * to wait spins briefly and then lets other threads run. It is held for one probe and
 * one copy, or for one shard's growth, sweep or walk. A function that needs several
 * shards takes them in ascending order; every other has one at a time.
 */
#include "shard.h"

#include <sched.h>
#include <time.h>
#include <unistd.h>

#if defined(__APPLE__)
#include <sys/random.h>
#endif

#ifdef CLOCK_REALTIME_COARSE
#define WALL_CLOCK CLOCK_REALTIME_COARSE /* 4 ms steps, a fifth of the price */
#else
#define WALL_CLOCK CLOCK_REALTIME
#endif

struct dkv_table {
    dkv_shard shards[DKV_SHARDS];
    dkv_secret secret;
    atomic_uint_least64_t last_version;
    atomic_size_t any; /* the shard dkv_acquire_any begins with */
    atomic_bool closed;
    bool stopped; /* the clocks stand at these: */
    int64_t monotonic, wall;
};

/* Locks */

static void lock(dkv_shard *s)
{
    unsigned spins = 0;
    while (atomic_exchange_explicit(&s->locked, 1, memory_order_acquire)) {
        while (atomic_load_explicit(&s->locked, memory_order_relaxed)) {
            if (++spins % 64 == 0)
                sched_yield();
        }
    }
}

static void unlock(dkv_shard *s)
{
    atomic_store_explicit(&s->locked, 0, memory_order_release);
}

static void lock_all(dkv_table *t)
{
    for (size_t i = 0; i < DKV_SHARDS; i++)
        lock(&t->shards[i]);
}

static void unlock_all(dkv_table *t)
{
    for (size_t i = 0; i < DKV_SHARDS; i++)
        unlock(&t->shards[i]);
}

/* Clocks and versions */

static int64_t microseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t dkv_now(const dkv_table *t)
{
    return t->stopped ? t->monotonic : microseconds(CLOCK_MONOTONIC);
}

int64_t dkv_wall(const dkv_table *t)
{
    return t->stopped ? t->wall : microseconds(CLOCK_REALTIME);
}

void dkv_set_clock(dkv_table *t, int64_t monotonic, int64_t wall)
{
    t->monotonic = monotonic;
    t->wall = wall;
    t->stopped = true;
}

static uint64_t next_version(dkv_table *t)
{
    uint64_t wall = (uint64_t)(t->stopped ? t->wall : microseconds(WALL_CLOCK));
    uint64_t last = atomic_load_explicit(&t->last_version, memory_order_relaxed);
    uint64_t next;
    do {
        next = last + 1 > wall ? last + 1 : wall;
    } while (!atomic_compare_exchange_weak(&t->last_version, &last, next));
    return next;
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

/* Shards start with 8 to 15 slots, so that they double at different times. */
static uint32_t least_cap(const dkv_table *t, const dkv_shard *s)
{
    return 8 + (uint32_t)((s - t->shards) % 8);
}

dkv_table *dkv_new(void)
{
    size_t size = (sizeof(dkv_table) + 63) & ~(size_t)63;
    dkv_table *t = DKV_ALIGNED_ALLOC(64, size);
    if (!t)
        return NULL;
    memset(t, 0, size);
    if (make_secret(&t->secret) != 0) {
        DKV_FREE(t);
        return NULL;
    }
    for (size_t i = 0; i < DKV_SHARDS; i++)
        t->shards[i].next_deadline = DKV_NEVER;
    return t;
}

void dkv_free(dkv_table *t)
{
    if (!t)
        return;
    dkv_close(t);
    DKV_FREE(t);
}

bool dkv_closed(const dkv_table *t)
{
    return atomic_load_explicit(&t->closed, memory_order_acquire);
}

/* One key */

static void show(dkv_hold *h, dkv_place place)
{
    dkv_entry *e = place.entry;
    h->entry = e;
    h->slot = place.slot;
    h->value = e ? dkv_entry_value(e) : NULL;
    h->value_len = e ? e->value_len : 0;
    h->version = e ? e->version : 0;
    h->deadline = e ? dkv_entry_deadline(e) : DKV_NEVER;
}

static void drop(dkv_hold *h)
{
    dkv_shard_drop(h->shard, h->slot);
    dkv_shard_shrink(h->shard, least_cap(h->table, h->shard), &h->table->secret);
    show(h, (dkv_place){NULL, SIZE_MAX});
}

int dkv_acquire(dkv_table *t, const void *key, size_t key_len, dkv_hold *h)
{
    h->table = t;
    h->key = key;
    h->key_len = key_len;
    h->hash = dkv_siphash(&t->secret, key, key_len);
    h->shard = &t->shards[dkv_shard_index(h->hash)];
    lock(h->shard);
    if (dkv_closed(t)) {
        unlock(h->shard);
        return DKV_ECLOSED;
    }
    show(h, dkv_shard_find(h->shard, h->hash, key, key_len));
    if (h->deadline != DKV_NEVER && h->deadline <= dkv_now(t)) {
        h->shard->expired++;
        drop(h);
    }
    return h->entry != NULL;
}

int dkv_read(dkv_table *t, const void *key, size_t key_len, dkv_hold *h)
{
    int found = dkv_acquire(t, key, key_len, h);
    if (found > 0)
        h->shard->hits++;
    else if (found == 0)
        h->shard->misses++;
    return found;
}

void dkv_release(dkv_hold *h)
{
    unlock(h->shard);
}

int dkv_acquire_any(dkv_table *t, dkv_hold *h)
{
    size_t begin = atomic_load_explicit(&t->any, memory_order_relaxed);
    int64_t now = dkv_now(t);
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        size_t index = (begin + i) % DKV_SHARDS;
        dkv_shard *s = &t->shards[index];
        lock(s);
        if (dkv_closed(t)) {
            unlock(s);
            return DKV_ECLOSED;
        }
        dkv_shard_sweep(s, now);
        size_t slot = dkv_shard_next(s, s->first);
        s->first = (uint32_t)slot;
        if (slot < s->cap) {
            dkv_entry *e = dkv_shard_at(s, slot);
            *h = (dkv_hold){.table = t, .shard = s, .key = dkv_entry_key(e), .key_len = e->key_len};
            show(h, (dkv_place){e, slot});
            atomic_store_explicit(&t->any, index, memory_order_relaxed);
            return 1;
        }
        unlock(s);
    }
    return 0;
}

int dkv_put(dkv_hold *h, const void *value, size_t value_len, int64_t deadline)
{
    dkv_shard *s = h->shard;
    dkv_place place = {h->entry, h->slot};
    dkv_entry *e = h->entry;
    size_t old_len = h->value_len;
    if (e && dkv_entry_refill(e, h->key, value, value_len, deadline)) {
        s->data_bytes += value_len - old_len;
        if (deadline < s->next_deadline)
            s->next_deadline = deadline;
    } else {
        e = dkv_entry_new(h->key, h->key_len, value, value_len, deadline);
        if (!e)
            return DKV_ENOMEM;
        if (!place.entry && (place.slot == SIZE_MAX || !dkv_shard_has_room(s))) {
            if (dkv_shard_reserve(s, 1, least_cap(h->table, s), &h->table->secret) < 0) {
                dkv_entry_free(e);
                return DKV_ENOMEM;
            }
            place = dkv_shard_find(s, h->hash, h->key, h->key_len);
        }
        dkv_shard_put(s, place, e, h->hash);
    }
    e->version = next_version(h->table);
    s->sets++;
    show(h, (dkv_place){e, place.slot});
    return 0;
}

int dkv_expire(dkv_hold *h, int64_t deadline)
{
    dkv_shard *s = h->shard;
    uint64_t version = h->version;
    if (deadline == h->deadline)
        return 0;
    dkv_entry *e = dkv_entry_new(h->key, h->key_len, h->value, h->value_len, deadline);
    if (!e)
        return DKV_ENOMEM;
    e->version = version;
    dkv_shard_put(s, (dkv_place){h->entry, h->slot}, e, h->hash);
    show(h, (dkv_place){e, h->slot});
    return 0;
}

void dkv_drop(dkv_hold *h)
{
    h->shard->deletes++;
    drop(h);
}

/* Many keys */

static void lock_some(dkv_table *t, const size_t wanted[DKV_SHARDS])
{
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        if (wanted[i])
            lock(&t->shards[i]);
    }
}

static void unlock_some(dkv_table *t, const size_t wanted[DKV_SHARDS])
{
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        if (wanted[i])
            unlock(&t->shards[i]);
    }
}

/* Everything that can fail, before anything changes. */
static int prepare(dkv_table *t, dkv_pair *pairs, size_t n, const size_t wanted[DKV_SHARDS],
                   int64_t deadline)
{
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard *s = &t->shards[i];
        if (wanted[i] && dkv_shard_reserve(s, wanted[i], least_cap(t, s), &t->secret) < 0)
            return DKV_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        dkv_pair *p = &pairs[i];
        p->entry = dkv_entry_new(p->key, p->key_len, p->value, p->value_len, deadline);
        if (!p->entry) {
            while (i--)
                dkv_entry_free(pairs[i].entry);
            return DKV_ENOMEM;
        }
    }
    return 0;
}

static void commit(dkv_table *t, const dkv_pair *p, int64_t now)
{
    dkv_shard *s = &t->shards[dkv_shard_index(p->hash)];
    dkv_place place = dkv_shard_find(s, p->hash, p->key, p->key_len);
    s->expired += place.entry && dkv_entry_deadline(place.entry) <= now;
    p->entry->version = next_version(t);
    dkv_shard_put(s, place, p->entry, p->hash);
    s->sets++;
}

int dkv_put_many(dkv_table *t, dkv_pair *pairs, size_t n, int64_t deadline)
{
    size_t wanted[DKV_SHARDS] = {0};
    for (size_t i = 0; i < n; i++) {
        pairs[i].hash = dkv_siphash(&t->secret, pairs[i].key, pairs[i].key_len);
        wanted[dkv_shard_index(pairs[i].hash)]++;
    }
    lock_some(t, wanted);
    int rc = dkv_closed(t) ? DKV_ECLOSED : prepare(t, pairs, n, wanted, deadline);
    if (rc == 0) {
        int64_t now = dkv_now(t);
        for (size_t i = 0; i < n; i++)
            commit(t, &pairs[i], now);
    }
    unlock_some(t, wanted);
    return rc;
}

/* The whole table */

int64_t dkv_sweep(dkv_table *t)
{
    int64_t swept = 0;
    int64_t now = dkv_now(t);
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard *s = &t->shards[i];
        lock(s);
        if (dkv_closed(t)) {
            unlock(s);
            return DKV_ECLOSED;
        }
        uint32_t gone = dkv_shard_sweep(s, now);
        if (gone)
            dkv_shard_shrink(s, least_cap(t, s), &t->secret);
        unlock(s);
        swept += gone;
    }
    return swept;
}

int dkv_count(dkv_table *t, dkv_counts *out)
{
    *out = (dkv_counts){0};
    int64_t now = dkv_now(t);
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard *s = &t->shards[i];
        lock(s);
        if (dkv_closed(t)) {
            unlock(s);
            return DKV_ECLOSED;
        }
        dkv_shard_sweep(s, now);
        out->entries += s->live;
        out->data_bytes += s->data_bytes;
        out->hits += s->hits;
        out->misses += s->misses;
        out->sets += s->sets;
        out->deletes += s->deletes;
        out->expired += s->expired;
        unlock(s);
    }
    return 0;
}

/* Take all slots out of all shards, which the caller has locked, then unlock and free:
   nobody waits for that. */
static void empty_and_unlock(dkv_table *t)
{
    uint64_t *slots[DKV_SHARDS];
    uint32_t caps[DKV_SHARDS];
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard *s = &t->shards[i];
        slots[i] = s->slots;
        caps[i] = s->cap;
        s->slots = NULL;
        s->cap = s->live = s->used = s->limit = s->first = 0;
        s->data_bytes = 0;
        s->next_deadline = DKV_NEVER;
    }
    unlock_all(t);
    for (size_t i = 0; i < DKV_SHARDS; i++)
        dkv_slots_free(slots[i], caps[i]);
}

int dkv_clear(dkv_table *t)
{
    int64_t now = dkv_now(t);
    lock_all(t);
    if (dkv_closed(t)) {
        unlock_all(t);
        return DKV_ECLOSED;
    }
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard_sweep(&t->shards[i], now);
        t->shards[i].deletes += t->shards[i].live;
    }
    empty_and_unlock(t);
    return 0;
}

void dkv_close(dkv_table *t)
{
    lock_all(t);
    atomic_store_explicit(&t->closed, true, memory_order_release);
    empty_and_unlock(t);
}

int dkv_walk(dkv_table *t, size_t shard, dkv_each *each, void *arg)
{
    dkv_shard *s = &t->shards[shard];
    int rc = 0;
    int64_t now = dkv_now(t);
    lock(s);
    if (dkv_closed(t)) {
        rc = DKV_ECLOSED;
    } else {
        dkv_shard_sweep(s, now);
        for (size_t i = dkv_shard_next(s, 0); i < s->cap && rc == 0; i = dkv_shard_next(s, i + 1)) {
            const dkv_entry *e = dkv_shard_at(s, i);
            rc = each(arg, dkv_entry_key(e), e->key_len);
        }
    }
    unlock(s);
    return rc;
}

int dkv_check(dkv_table *t, char *why, size_t size)
{
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard *s = &t->shards[i];
        lock(s);
        uint64_t last = atomic_load(&t->last_version);
        const char *broken = dkv_shard_check(s, i, &t->secret, last);
        unlock(s);
        if (broken) {
            strncpy(why, broken, size - 1);
            why[size - 1] = 0;
            return DKV_ECORRUPT;
        }
    }
    return 0;
}
