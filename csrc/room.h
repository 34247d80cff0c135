/*
 * The memory limit. Internal to the table.
 */
#ifndef DKV_ROOM_H
#define DKV_ROOM_H

#include "locks.h"

/* Whose locks the caller has: one shard's, or those a span wants. */
typedef struct {
    const dkv_shard *shard;
    const dkv_span *span;
} dkv_ours;

/* Take `need` bytes from what the limit leaves, on the account of a shard that is ours: 0,
   DKV_EFULL or DKV_EBUSY. May evict any entry but `keep`. */
int dkv_charge(dkv_table *t, dkv_shard *s, dkv_ours ours, const dkv_entry *keep, int64_t need);

/* Under a limit, slots are cleaned of tombstones rather than doubled for as long as that
   gives room: what was removed can then be written again. */
static inline bool dkv_cleans(const dkv_table *t)
{
    return t->limit != 0;
}

#endif
