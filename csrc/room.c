#include "room.h"

/* 1, 0 when the shard has nothing to drop, or DKV_EBUSY. */
static int evict_from(dkv_table *t, size_t index, dkv_ours ours, const dkv_entry *keep)
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
static int evict_one(dkv_table *t, dkv_ours ours, const dkv_entry *keep)
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
