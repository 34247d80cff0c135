/*
 * The steps in which many keys are changed as one. Internal to the table.
 */
#ifndef DKV_SPAN_H
#define DKV_SPAN_H

#include "locks.h"

/* The shard of the lowest bit. */
static inline dkv_shard *dkv_span_first(const dkv_span *span, uint64_t left)
{
    return &span->table->shards[__builtin_ctzll(left)];
}

static inline bool dkv_pair_writes(const dkv_pair *pair)
{
    return pair->act != DKV_DROP && pair->act != DKV_LOOK;
}

/* Lock the shards of a span that dkv_begin made. */
void dkv_span_lock(const dkv_span *span);

/* Everything that can fail, before anything changes: 0 or a code. */
int dkv_span_prepare(const dkv_span *span, size_t *at);

/* Free the entries that were made for the first `n` pairs. */
void dkv_span_free(const dkv_span *span, size_t n);

/* After all is done: give back slots, and add up what was charged. */
void dkv_span_shrink(const dkv_span *span);
void dkv_span_settle(const dkv_span *span);

#endif
