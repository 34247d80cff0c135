/*
 * One key: finding, writing and removing it.
 */
#include "hold.h"
#include "room.h"

int dkv_acquire(dkv_table *t, const void *key, size_t key_len, dkv_hold *h)
{
    h->table = t;
    h->key = key;
    h->key_len = key_len;
    h->hash = dkv_hash(&t->secret, key, key_len);
    h->shard = dkv_shard_of(t, h->hash);
    dkv_lock(h->shard);
    if (dkv_closed(t)) {
        dkv_unlock(t, h->shard);
        return DKV_ECLOSED;
    }
    return dkv_seek(h, 0);
}

int dkv_read(dkv_table *t, const void *key, size_t key_len, dkv_hold *h)
{
    return dkv_reading(h, dkv_acquire(t, key, key_len, h));
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
            dkv_show(h, (dkv_place){e, slot});
            atomic_store_explicit(&t->any, index, memory_order_relaxed);
            return 1;
        }
        dkv_unlock(t, s);
    }
    return 0;
}

/* What writing an entry in the held place adds to the shard's memory. */
static int64_t need_of(const dkv_hold *h, dkv_value value, int64_t deadline)
{
    const dkv_table *t = h->table;
    int64_t need = (int64_t)dkv_entry_cost(h->key_len, value, deadline);
    if (h->entry)
        return need - (int64_t)dkv_entry_cost(h->key_len, h->value, h->deadline);
    return need + (int64_t)dkv_shard_growth(h->shard, 1, dkv_least(t, h->shard), dkv_cleans(t));
}

static int make_room(dkv_hold *h, dkv_value value, int64_t deadline)
{
    dkv_ours ours = {h->shard, NULL};
    if (!h->table->limit)
        return 0;
    return dkv_charge(h->table, h->shard, ours, h->entry, need_of(h, value, deadline));
}

/* Write a new entry of this version, or of the next for 0. */
int dkv_put_as(dkv_hold *h, dkv_value value, int64_t deadline, uint64_t version)
{
    dkv_table *t = h->table;
    dkv_shard *s = h->shard;
    int rc = make_room(h, value, deadline);
    if (rc < 0)
        return rc;
    dkv_place place = {h->entry, h->slot};
    if (!place.entry) {
        int moved = dkv_shard_reserve(s, 1, dkv_least(t, s), dkv_cleans(t), &t->secret);
        if (moved < 0)
            return DKV_ENOMEM;
        /* The slot found first is not the one when slots were moved or entries evicted. */
        if (place.slot == SIZE_MAX || moved || t->evict)
            place = dkv_shard_find(s, h->hash, h->key, h->key_len);
    }
    dkv_entry *e = dkv_entry_alloc(s, h->key_len, value, deadline);
    if (!e)
        return DKV_ENOMEM;
    /* Before the value is copied: a new version waits for what was written before it. */
    e->version = version ? version : dkv_shard_stamp(s, DKV_SET, h->key, h->key_len);
    dkv_entry_fill(e, h->key, h->key_len, value, deadline);
    dkv_shard_put(s, place, e, h->hash, &h->gone);
    dkv_show(h, (dkv_place){e, place.slot});
    return 0;
}

/* Write over the held entry, which the value fits. */
static int refill(dkv_hold *h, dkv_value value, int64_t deadline)
{
    int rc = dkv_takes_owner(value) ? make_room(h, value, deadline) : 0;
    if (rc < 0)
        return rc;
    /* Before the value is copied, as in dkv_put_as. */
    h->entry->version = dkv_shard_stamp(h->shard, DKV_SET, h->key, h->key_len);
    dkv_value gone = dkv_shard_refill(h->shard, h->entry, h->key, value, deadline);
    if (gone.owner)
        h->gone = gone;
    dkv_show(h, (dkv_place){h->entry, h->slot});
    return 0;
}

int dkv_put(dkv_hold *h, dkv_value value, int64_t deadline)
{
    /* A hold has room for one owner that is gone. */
    bool fits =
        h->entry && dkv_entry_fits(h->entry, value, deadline) && !(h->gone.owner && h->value.owner);
    int rc = fits ? refill(h, value, deadline) : dkv_put_as(h, value, deadline, 0);
    if (rc == 0)
        h->shard->sets++;
    return rc;
}

int dkv_expire(dkv_hold *h, int64_t deadline)
{
    dkv_value gone = h->gone;
    if (deadline == h->deadline)
        return 0;
    h->gone.owner = NULL; /* where the owner comes to, which the new entry has as well */
    int rc = dkv_put_as(h, h->value, deadline, h->version);
    h->gone = gone;
    return rc;
}

void dkv_drop(dkv_hold *h)
{
    dkv_remove(h, DKV_DELETED, &h->gone);
    dkv_shard_shrink(h->shard, dkv_least(h->table, h->shard), &h->table->secret);
}
