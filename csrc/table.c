/*
 * One key and many: what table.h promises of them, built on shard.h and locks.h. The work
 * on the whole table is in whole.c.
 */
#include "locks.h"

#include <unistd.h>

#if defined(__APPLE__)
#include <sys/random.h>
#endif

/* Clocks and versions */

int64_t dkv_now(const dkv_table *t)
{
    if (atomic_load_explicit(&t->stopped, memory_order_acquire))
        return atomic_load_explicit(&t->monotonic, memory_order_relaxed);
    return dkv_microseconds(CLOCK_MONOTONIC);
}

static int64_t wall_by(const dkv_table *t, clockid_t clock)
{
    if (atomic_load_explicit(&t->stopped, memory_order_acquire))
        return atomic_load_explicit(&t->wall, memory_order_relaxed);
    return dkv_microseconds(clock);
}

int64_t dkv_wall(const dkv_table *t)
{
    return wall_by(t, CLOCK_REALTIME);
}

void dkv_set_clock(dkv_table *t, int64_t monotonic, int64_t wall)
{
    atomic_store_explicit(&t->monotonic, monotonic, memory_order_relaxed);
    atomic_store_explicit(&t->wall, wall, memory_order_relaxed);
    atomic_store_explicit(&t->stopped, true, memory_order_release);
}

static uint64_t next_version(dkv_table *t)
{
    uint64_t wall = (uint64_t)wall_by(t, DKV_WALL_CLOCK);
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
    }
    dkv_fork_keep(t);
    return t;
}

void dkv_free(dkv_table *t)
{
    dkv_fork_forget(t);
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
        dkv_shard *s = &t->shards[dkv_shard_index(hash)];
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

/* One key */

static void show(dkv_hold *h, dkv_place place)
{
    dkv_entry *e = place.entry;
    h->entry = e;
    h->slot = place.slot;
    h->value = e ? dkv_entry_value(e) : (dkv_value){NULL, 0, NULL};
    h->version = e ? e->version : 0;
    h->deadline = e ? dkv_entry_deadline(e) : DKV_NEVER;
}

static void drop(dkv_hold *h)
{
    dkv_shard_drop(h->shard, h->slot);
    show(h, (dkv_place){NULL, SIZE_MAX});
}

/* The key's hold, its shard locked; an entry that has expired is dropped. */
static int seek(dkv_hold *h)
{
    show(h, dkv_shard_find(h->shard, h->hash, h->key, h->key_len));
    if (h->deadline != DKV_NEVER && h->deadline <= dkv_now(h->table)) {
        h->shard->expired++;
        drop(h);
    }
    return h->entry != NULL;
}

static int reading(dkv_hold *h, int found)
{
    if (found > 0) {
        h->shard->hits++;
        if (h->table->evict)
            dkv_shard_use(h->shard, h->slot);
    } else if (found == 0) {
        h->shard->misses++;
    }
    return found;
}

int dkv_acquire(dkv_table *t, const void *key, size_t key_len, dkv_hold *h)
{
    h->table = t;
    h->key = key;
    h->key_len = key_len;
    h->hash = dkv_hash(&t->secret, key, key_len);
    h->shard = &t->shards[dkv_shard_index(h->hash)];
    dkv_lock(h->shard);
    if (dkv_closed(t)) {
        dkv_unlock(t, h->shard);
        return DKV_ECLOSED;
    }
    return seek(h);
}

int dkv_read(dkv_table *t, const void *key, size_t key_len, dkv_hold *h)
{
    return reading(h, dkv_acquire(t, key, key_len, h));
}

void dkv_release(dkv_hold *h)
{
    dkv_unlock(h->table, h->shard);
}

int dkv_acquire_any(dkv_table *t, dkv_hold *h)
{
    size_t begin = atomic_load_explicit(&t->any, memory_order_relaxed);
    int64_t now = dkv_now(t);
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        size_t index = (begin + i) % DKV_SHARDS;
        dkv_shard *s = &t->shards[index];
        dkv_lock(s);
        if (dkv_closed(t)) {
            dkv_unlock(t, s);
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
        dkv_unlock(t, s);
    }
    return 0;
}

/* Room */

/* Whose locks the caller has: one shard's, or those a span wants. */
typedef struct {
    const dkv_shard *shard;
    const dkv_span *span;
} Ours;

/* 1, 0 when the shard has nothing to drop, or DKV_EBUSY. */
static int evict_from(dkv_table *t, size_t index, Ours ours, const dkv_entry *keep)
{
    dkv_shard *s = &t->shards[index];
    bool held = s == ours.shard || (ours.span && ours.span->wanted[index]);
    if (!held && !dkv_try_lock(s))
        return DKV_EBUSY;
    bool done = dkv_shard_evict(s, s == ours.shard ? keep : NULL);
    if (held)
        dkv_settle(t, s);
    else
        dkv_unlock(t, s);
    return done;
}

/* Drop one entry: from the shard that is written to when it has a choice of them, else
   from the others in turn. */
static int evict_one(dkv_table *t, Ours ours, const dkv_entry *keep)
{
    enum { A_CHOICE = 8 };
    int rc = DKV_EFULL;
    if (ours.shard && ours.shard->live > A_CHOICE)
        return evict_from(t, (size_t)(ours.shard - t->shards), ours, keep);
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        size_t index = atomic_fetch_add_explicit(&t->victim, 1, memory_order_relaxed);
        int evicted = evict_from(t, index % DKV_SHARDS, ours, keep);
        if (evicted > 0)
            return evicted;
        if (evicted < 0)
            rc = evicted;
    }
    return rc;
}

/* Take `need` bytes from what the limit leaves, on the account of a shard that is ours. */
static int charge(dkv_table *t, dkv_shard *s, Ours ours, const dkv_entry *keep, int64_t need)
{
    if (!t->limit || need <= 0)
        return 0;
    uint64_t bytes = (uint64_t)need;
    if (bytes > t->limit)
        return DKV_EFULL;
    uint64_t used = dkv_used(t);
    for (;;) {
        if (used > t->limit - bytes) {
            int rc = t->evict ? evict_one(t, ours, keep) : DKV_EFULL;
            if (rc < 0)
                return rc;
            used = dkv_used(t);
        } else if (atomic_compare_exchange_weak(&t->used, &used, used + bytes)) {
            s->settled += bytes;
            return 0;
        }
    }
}

/* Under a limit, slots are cleaned of tombstones rather than doubled for as long as that
   gives room: what was removed can then be written again. */
static bool cleans(const dkv_table *t)
{
    return t->limit != 0;
}

/* What writing an entry in the held place adds to the shard's memory. */
static int64_t need_of(const dkv_hold *h, dkv_value value, int64_t deadline)
{
    const dkv_table *t = h->table;
    int64_t need = (int64_t)dkv_entry_cost(h->key_len, value, deadline);
    if (h->entry)
        return need - (int64_t)dkv_entry_cost(h->key_len, h->value, h->deadline);
    return need + (int64_t)dkv_shard_growth(h->shard, 1, dkv_least(t, h->shard), cleans(t));
}

/* Write an entry of this version, or of a new one for 0. */
static int place_entry(dkv_hold *h, dkv_value value, int64_t deadline, uint64_t version)
{
    dkv_table *t = h->table;
    dkv_shard *s = h->shard;
    int rc = charge(t, s, (Ours){s, NULL}, h->entry, need_of(h, value, deadline));
    if (rc < 0)
        return rc;
    dkv_entry *e = dkv_entry_new(s, h->key, h->key_len, value, deadline);
    if (!e)
        return DKV_ENOMEM;
    dkv_place place = {h->entry, h->slot};
    if (!place.entry) {
        int moved = dkv_shard_reserve(s, 1, dkv_least(t, s), cleans(t), &t->secret);
        if (moved < 0) {
            dkv_entry_free(s, e);
            return DKV_ENOMEM;
        }
        /* The slot found first is not the one when slots were moved or entries evicted. */
        if (place.slot == SIZE_MAX || moved || t->evict)
            place = dkv_shard_find(s, h->hash, h->key, h->key_len);
    }
    dkv_shard_put(s, place, e, h->hash);
    e->version = version ? version : next_version(t);
    show(h, (dkv_place){e, place.slot});
    return 0;
}

int dkv_put(dkv_hold *h, dkv_value value, int64_t deadline)
{
    dkv_shard *s = h->shard;
    if (h->entry && dkv_shard_refill(s, h->entry, h->key, value, deadline)) {
        h->entry->version = next_version(h->table);
        show(h, (dkv_place){h->entry, h->slot});
    } else {
        int rc = place_entry(h, value, deadline, 0);
        if (rc < 0)
            return rc;
    }
    s->sets++;
    return 0;
}

int dkv_expire(dkv_hold *h, int64_t deadline)
{
    dkv_value value = h->value;
    if (deadline == h->deadline)
        return 0;
    int rc = place_entry(h, value, deadline, h->version);
    if (rc == 0 && value.owner)
        dkv_shard_disown(h->shard); /* the new entry has the owner */
    return rc;
}

void dkv_drop(dkv_hold *h)
{
    h->shard->deletes++;
    drop(h);
    dkv_shard_shrink(h->shard, dkv_least(h->table, h->shard), &h->table->secret);
}

/* Many keys */

int dkv_begin(dkv_table *t, dkv_pair *pairs, size_t n, dkv_span *span)
{
    memset(span, 0, sizeof *span);
    for (size_t i = 0; i < n; i++) {
        pairs[i].hash = dkv_hash(&t->secret, pairs[i].key, pairs[i].key_len);
        span->wanted[dkv_shard_index(pairs[i].hash)]++;
    }
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        if (span->wanted[i])
            dkv_lock(&t->shards[i]);
    }
    if (!dkv_closed(t))
        return 0;
    dkv_end(t, span);
    return DKV_ECLOSED;
}

void dkv_end(dkv_table *t, const dkv_span *span)
{
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        if (span->wanted[i])
            dkv_unlock(t, &t->shards[i]);
    }
}

/* Ask for the memory of keys some turns ahead: the waits for it then overlap. */
static void prefetch(dkv_table *t, const dkv_pair *pairs, size_t n, size_t i)
{
    enum { SLOTS_AHEAD = 12, ENTRIES_AHEAD = 6 };
    if (i + SLOTS_AHEAD < n) {
        uint64_t hash = pairs[i + SLOTS_AHEAD].hash;
        dkv_shard_prefetch_slot(&t->shards[dkv_shard_index(hash)], hash);
    }
    if (i + ENTRIES_AHEAD < n) {
        uint64_t hash = pairs[i + ENTRIES_AHEAD].hash;
        dkv_shard_prefetch_entry(&t->shards[dkv_shard_index(hash)], hash);
    }
}

int dkv_find(dkv_table *t, const dkv_pair *pairs, size_t n, size_t i, bool read, dkv_hold *h)
{
    const dkv_pair *pair = &pairs[i];
    prefetch(t, pairs, n, i);
    h->table = t;
    h->key = pair->key;
    h->key_len = pair->key_len;
    h->hash = pair->hash;
    h->shard = &t->shards[dkv_shard_index(h->hash)];
    int found = seek(h);
    return read ? reading(h, found) : found;
}

/* The bytes of the entries that the pairs will replace, each once; of what each shard has to
   make room for, `extra`, their keys are taken off. */
static int64_t replaced(dkv_table *t, dkv_pair *pairs, size_t n, size_t extra[DKV_SHARDS])
{
    int64_t bytes = 0;
    dkv_hold h;
    for (size_t i = 0; i < n; i++) {
        pairs[i].entry = NULL;
        if (!dkv_find(t, pairs, n, i, false, &h))
            continue;
        extra[dkv_shard_index(pairs[i].hash)]--;
        if (h.entry->counted) /* the same key came before */
            continue;
        bytes += (int64_t)dkv_entry_cost(h.key_len, h.value, h.deadline);
        h.entry->counted = true;
        pairs[i].entry = h.entry;
    }
    for (size_t i = 0; i < n; i++) {
        if (pairs[i].entry)
            pairs[i].entry->counted = false;
    }
    return bytes;
}

static bool have_room(const dkv_table *t, const size_t extra[DKV_SHARDS])
{
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        if (extra[i] && t->shards[i].used + extra[i] > t->shards[i].limit) /* only ours */
            return false;
    }
    return true;
}

/* What the pairs take, and the slots for them. A new key that comes twice counts twice. */
static int64_t taken(const dkv_table *t, const dkv_pair *pairs, size_t n,
                     const size_t extra[DKV_SHARDS], int64_t deadline)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += (int64_t)dkv_entry_cost(pairs[i].key_len, pairs[i].value, deadline);
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        const dkv_shard *s = &t->shards[i];
        if (extra[i])
            bytes += (int64_t)dkv_shard_growth(s, extra[i], dkv_least(t, s), cleans(t));
    }
    return bytes;
}

static dkv_shard *shard_of(dkv_table *t, const dkv_pair *pair)
{
    return &t->shards[dkv_shard_index(pair->hash)];
}

static int make_entries(dkv_table *t, dkv_pair *pairs, size_t n, int64_t deadline)
{
    for (size_t i = 0; i < n; i++) {
        dkv_pair *p = &pairs[i];
        p->entry = dkv_entry_new(shard_of(t, p), p->key, p->key_len, p->value, deadline);
        if (!p->entry) {
            while (i--)
                dkv_entry_free(shard_of(t, &pairs[i]), pairs[i].entry);
            return DKV_ENOMEM;
        }
    }
    return 0;
}

/* Everything that can fail, before anything changes. A table that evicts may drop a key
   before its turn, so there none counts as replaced. */
static int prepare(dkv_table *t, dkv_pair *pairs, size_t n, const dkv_span *span, int64_t deadline)
{
    size_t extra[DKV_SHARDS];
    int64_t less = 0;
    memcpy(extra, span->wanted, sizeof extra);
    if (!t->evict && (t->limit || !have_room(t, extra)))
        less = replaced(t, pairs, n, extra);
    if (t->limit && n) {
        int64_t need = taken(t, pairs, n, extra, deadline) - less;
        int rc = charge(t, shard_of(t, &pairs[0]), (Ours){NULL, span}, NULL, need);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard *s = &t->shards[i];
        if (extra[i] && dkv_shard_reserve(s, extra[i], dkv_least(t, s), cleans(t), &t->secret) < 0)
            return DKV_ENOMEM;
    }
    return make_entries(t, pairs, n, deadline);
}

/* What was charged to one shard, settled with all at once: one by one, the sum would pass
   the limit until that shard has its turn. */
static void settle(dkv_table *t, const dkv_span *span)
{
    uint64_t more = 0;
    if (!t->limit)
        return;
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard *s = &t->shards[i];
        if (span->wanted[i]) {
            more += s->memory - s->settled;
            s->settled = s->memory;
        }
    }
    atomic_fetch_add_explicit(&t->used, more, memory_order_relaxed);
}

static int put_many(dkv_table *t, dkv_pair *pairs, size_t n, int64_t deadline)
{
    dkv_span span;
    int rc = dkv_begin(t, pairs, n, &span);
    if (rc < 0)
        return rc;
    rc = prepare(t, pairs, n, &span, deadline);
    for (size_t i = 0; i < n && rc == 0; i++) {
        dkv_entry *e = pairs[i].entry;
        dkv_hold h;
        if (!dkv_find(t, pairs, n, i, false, &h)) /* an expired entry's slot is no place */
            h.slot = dkv_shard_find(h.shard, h.hash, h.key, h.key_len).slot;
        e->version = next_version(t);
        dkv_shard_put(h.shard, (dkv_place){h.entry, h.slot}, e, h.hash);
        h.shard->sets++;
    }
    settle(t, &span);
    dkv_end(t, &span);
    return rc;
}

int dkv_put_many(dkv_table *t, dkv_pair *pairs, size_t n, int64_t deadline)
{
    int rc;
    while ((rc = put_many(t, pairs, n, deadline)) == DKV_EBUSY)
        sched_yield();
    return rc;
}
