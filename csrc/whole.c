/*
 * Work on the table as a whole, which Python calls without the GIL: one shard's lock at a
 * time where it can be, and for no longer than a slice.
 */
#include "locks.h"

/* Sweep one slice of a shard: how many went, or a code. */
static int64_t sweep_slice(dkv_table *t, dkv_shard *s, int64_t now, bool *more)
{
    dkv_lock(s);
    if (dkv_closed(t)) {
        dkv_unlock(t, s);
        return DKV_ECLOSED;
    }
    uint32_t gone = dkv_shard_sweep_slice(s, now, more);
    if (!*more)
        dkv_shard_shrink(s, dkv_least(t, s), &t->secret);
    dkv_unlock(t, s);
    return gone;
}

int64_t dkv_sweep(dkv_table *t)
{
    int64_t swept = 0;
    int64_t now = dkv_now(t);
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        bool more = true;
        while (more) {
            int64_t gone = sweep_slice(t, &t->shards[i], now, &more);
            if (gone < 0)
                return gone;
            swept += gone;
        }
    }
    return swept;
}

int64_t dkv_next_expiry(dkv_table *t)
{
    int64_t first = DKV_NEVER;
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard *s = &t->shards[i];
        dkv_lock(s);
        if (s->next_deadline < first)
            first = s->next_deadline;
        dkv_unlock(t, s);
    }
    if (dkv_closed(t) || first == DKV_NEVER)
        return -1;
    int64_t now = dkv_now(t);
    return first > now ? first - now : 0;
}

bool dkv_wakes(dkv_table *t)
{
    return !atomic_load_explicit(&t->awake, memory_order_relaxed) &&
           !atomic_exchange(&t->awake, true);
}

/* Asks after it has said so: a deadline written in between wakes somebody, or is seen. */
int dkv_rest(dkv_table *t)
{
    atomic_store(&t->awake, false);
    return dkv_next_expiry(t) < 0 || !dkv_wakes(t);
}

int dkv_count(dkv_table *t, dkv_counts *out)
{
    *out = (dkv_counts){.memory_bytes = sizeof *t};
    int64_t now = dkv_now(t);
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard *s = &t->shards[i];
        dkv_lock(s);
        if (dkv_closed(t)) {
            dkv_unlock(t, s);
            return DKV_ECLOSED;
        }
        dkv_shard_sweep(s, now);
        out->entries += s->live;
        out->data_bytes += s->data_bytes;
        out->memory_bytes += s->memory;
        out->hits += s->hits;
        out->misses += s->misses;
        out->sets += s->sets;
        out->deletes += s->deletes;
        out->expired += s->expired;
        out->evicted += s->evicted;
        dkv_unlock(t, s);
    }
    return 0;
}

/* Take all slots out of all shards, which the caller has locked, and unlock; then free the
   entries in slices. */
static void empty_and_unlock(dkv_table *t)
{
    uint64_t *slots[DKV_SHARDS];
    uint32_t caps[DKV_SHARDS];
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard *s = &t->shards[i];
        slots[i] = s->slots;
        caps[i] = s->cap;
        s->slots = NULL;
        s->cap = s->live = s->used = s->limit = s->first = s->hand = s->sweep_at = 0;
        s->data_bytes = s->memory = 0;
        s->next_deadline = s->sweep_deadline = DKV_NEVER;
    }
    dkv_unlock_all(t);
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard *s = &t->shards[i];
        size_t at = 0;
        bool more = true;
        while (more) {
            dkv_lock(s);
            more = dkv_shard_discard_slice(s, slots[i], caps[i], &at);
            dkv_slab_trim(&s->slab, s->pool);
            dkv_unlock(t, s);
        }
        DKV_FREE(slots[i]);
    }
}

int dkv_clear(dkv_table *t)
{
    int64_t now = dkv_now(t);
    unsigned noting = 0;
    dkv_lock_all(t);
    if (dkv_closed(t)) {
        dkv_unlock_all(t);
        return DKV_ECLOSED;
    }
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard_sweep(&t->shards[i], now);
        t->shards[i].deletes += t->shards[i].live;
        noting |= t->shards[i].noting;
        if (t->shards[i].noting & DKV_NOTE_CHANGES)
            dkv_changes_lose(&t->shards[i].changes);
    }
    if (noting & DKV_NOTE_EVENTS)
        (void)dkv_happened(&t->events, DKV_CLEARED, NULL, 0);
    empty_and_unlock(t);
    return 0;
}

void dkv_close(dkv_table *t)
{
    dkv_lock_all(t);
    atomic_store_explicit(&t->closed, true, memory_order_release);
    empty_and_unlock(t);
}

/* Where a walk is: a shard, of a shard with many entries a slice, and how many slices there
   are. That is settled at its first slice: later ones have to be of the same division. The
   finest division keeps the looks at slots that are of another slice in bounds. */
typedef struct {
    size_t shard;
    unsigned bits, slice;
} Place;

enum { SLICE = 1024, FINEST = 6 };

static Place place_at(uint64_t cursor)
{
    return (Place){cursor >> 16, (unsigned)(cursor >> 8) & 0xff, (unsigned)cursor & 0xff};
}

static uint64_t cursor_after(Place at)
{
    if (++at.slice == 1U << at.bits)
        at = (Place){at.shard + 1, 0, 0};
    return at.shard == DKV_SHARDS ? 0 : (uint64_t)at.shard << 16 | at.bits << 8 | at.slice;
}

int dkv_walk(dkv_table *t, uint64_t *cursor, dkv_each *each, void *arg)
{
    Place at = place_at(*cursor);
    dkv_shard *s = &t->shards[at.shard];
    int rc = 0;
    int64_t now = dkv_now(t);
    dkv_lock(s);
    if (dkv_closed(t)) {
        rc = DKV_ECLOSED;
    } else {
        dkv_shard_sweep(s, now);
        while (at.slice == 0 && at.bits < FINEST && s->live >> at.bits > SLICE)
            at.bits++;
        size_t i = dkv_shard_next_in(s, 0, at.bits, at.slice);
        for (; i < s->cap && rc == 0; i = dkv_shard_next_in(s, i + 1, at.bits, at.slice)) {
            const dkv_entry *e = dkv_shard_at(s, i);
            rc = each(arg, dkv_entry_key(e), e->key_len);
        }
    }
    dkv_unlock(t, s);
    if (rc == 0)
        *cursor = cursor_after(at);
    return rc;
}

int dkv_check(dkv_table *t, char *why, size_t size)
{
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard *s = &t->shards[i];
        dkv_lock(s);
        uint64_t last = atomic_load(&t->events.last_version);
        const char *broken = dkv_shard_check(s, i, &t->secret, last);
        dkv_unlock(t, s);
        if (broken) {
            strncpy(why, broken, size - 1);
            why[size - 1] = 0;
            return DKV_ECORRUPT;
        }
    }
    return 0;
}
