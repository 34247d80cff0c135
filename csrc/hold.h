/*
 * Holds on keys, as one key and many have them. Internal to the table.
 */
#ifndef DKV_HOLD_H
#define DKV_HOLD_H

#include "locks.h"

static inline void dkv_show(dkv_hold *h, dkv_place place)
{
    dkv_entry *e = place.entry;
    h->entry = e;
    h->slot = place.slot;
    h->value = e ? dkv_entry_value(e) : (dkv_value){NULL, 0, NULL};
    h->version = e ? e->version : 0;
    h->deadline = e ? dkv_entry_deadline(e) : DKV_NEVER;
}

static inline void dkv_remove(dkv_hold *h, dkv_event why, dkv_value *gone)
{
    dkv_shard_drop(h->shard, h->slot, why, gone);
    dkv_show(h, (dkv_place){NULL, SIZE_MAX});
}

/* A time at which nothing has expired. */
#define DKV_BEFORE_ALL (INT64_MIN + 1)

/* Find the hold's key, its shard locked; an entry that has expired is dropped. The clock is
   looked at only when it has to be, if `now` is 0. */
static inline int dkv_seek(dkv_hold *h, int64_t now)
{
    h->gone.owner = NULL;
    dkv_show(h, dkv_shard_find(h->shard, h->hash, h->key, h->key_len));
    if (h->deadline != DKV_NEVER && h->deadline <= (now ? now : dkv_now(h->table)))
        dkv_remove(h, DKV_EXPIRED, NULL);
    return h->entry != NULL;
}

/* Write an entry of this version under the held key, told to nobody. */
int dkv_put_as(dkv_hold *h, dkv_value value, int64_t deadline, uint64_t version);

static inline int dkv_reading(dkv_hold *h, int found)
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

#endif
