#include "room.h"

#include "log.h"

/* 1, 0 when the shard has nothing to drop, or a code. */
static int evict_from(dkv_table *t, size_t index, dkv_ours ours, const dkv_entry *keep)
{
    dkv_shard *s = &t->shards[index];
    bool held = s == ours.shard || (ours.span && dkv_wants(ours.span, index));
    if (!held && !dkv_try_lock(s))
        return DKV_EBUSY;
    size_t slot = dkv_shard_victim(s, s == ours.shard ? keep : NULL);
    int done = slot != SIZE_MAX;
    if (done && t->log && !dkv_log_evicts(t->log, dkv_shard_at(s, slot)))
        done = DKV_ENOMEM;
    if (done > 0)
        dkv_shard_drop(s, slot, DKV_EVICTED, NULL);
    if (held)
        dkv_settle(t, s);
    else
        dkv_unlock(t, s);
    return done;
}

/* Drop one entry: from the shard that is written to when it has a choice of them, else
   from the others in turn. That all were empty when looked at says nothing while others
   evict or remove: an entry may have gone from a shard before its turn, and the one it made
   room for come to a shard after it. */
static int evict_one(dkv_table *t, dkv_ours ours, const dkv_entry *keep, uint64_t used)
{
    enum { A_CHOICE = 8 };
    bool busy = false;
    if (ours.shard && ours.shard->live > A_CHOICE)
        return evict_from(t, (size_t)(ours.shard - t->shards), ours, keep);
    size_t first = atomic_fetch_add(&t->victim, 1), evictions = atomic_load(&t->evictions);
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        int evicted = evict_from(t, (first + i) % DKV_SHARDS, ours, keep);
        if (evicted > 0)
            atomic_fetch_add(&t->evictions, 1);
        if (evicted != 0 && evicted != DKV_EBUSY)
            return evicted;
        busy |= evicted == DKV_EBUSY;
    }
    busy |= atomic_load(&t->evictions) != evictions || dkv_used(t) != used;
    return busy ? DKV_EBUSY : DKV_EFULL;
}

int dkv_charge(dkv_table *t, dkv_shard *s, dkv_ours ours, const dkv_entry *keep, int64_t need)
{
    if (!t->limit || need <= 0)
        return 0;
    uint64_t bytes = (uint64_t)need;
    if (bytes > t->limit)
        return DKV_EFULL;
    uint64_t used = dkv_used(t);
    for (;;) {
        if (used > t->limit - bytes) {
            int rc = t->evict ? evict_one(t, ours, keep, used) : DKV_EFULL;
            if (rc < 0)
                return rc;
            used = dkv_used(t);
        } else if (atomic_compare_exchange_weak(&t->used, &used, used + bytes)) {
            s->settled += bytes;
            return 0;
        }
    }
}
