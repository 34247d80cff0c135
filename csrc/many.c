/*
 * Many keys as one step: the shards of all of them are locked together.
 */
#include "hold.h"
#include "room.h"

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
    int found = dkv_seek(h);
    return read ? dkv_reading(h, found) : found;
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
            bytes += (int64_t)dkv_shard_growth(s, extra[i], dkv_least(t, s), dkv_cleans(t));
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
        int rc = dkv_charge(t, shard_of(t, &pairs[0]), (dkv_ours){NULL, span}, NULL, need);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard *s = &t->shards[i];
        if (extra[i] &&
            dkv_shard_reserve(s, extra[i], dkv_least(t, s), dkv_cleans(t), &t->secret) < 0)
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
        e->version = dkv_next_version(t);
        dkv_shard_put(h.shard, (dkv_place){h.entry, h.slot}, e, h.hash, NULL);
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
