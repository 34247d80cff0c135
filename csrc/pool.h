/*
 * Pages of 4 KiB in regions of up to 2 MiB, for all slabs of a table. Internal to the table.
 *
 * A region whose pages are all free goes back to the system. When what a table holds becomes
 * smaller as it is written anew, pages come free all over the regions and none of those goes: a
 * table that goes on taking pages and has many more free ones gives their memory back where they
 * are. One that is being emptied does not: its regions will go as they are.
 */
#ifndef DKV_POOL_H
#define DKV_POOL_H

#include "memory.h"

#include <stdatomic.h>
#include <stdbool.h>

/* How many regions of 2 MiB that no table needs are kept for the next one. */
#ifndef DKV_KEPT
#define DKV_KEPT 16
#endif

typedef struct dkv_region dkv_region;

typedef struct {
    atomic_uint locked;
    dkv_region *regions; /* all of them, those with a free page first */
    size_t next_pages;   /* how many pages the next region has */
    size_t used;         /* pages given out */
    size_t idle;         /* free pages that are in memory */
    bool took;           /* a page was given out since memory was last given back */
} dkv_pool;

/* A page, aligned to its size, and the region it is in; NULL when there is no memory. */
void *dkv_pool_take(dkv_pool *pool, dkv_region **region);
void dkv_pool_put(dkv_pool *pool, dkv_region *region, void *page);

/* For a fork: the lock on the regions that no table needs. */
void dkv_regions_lock(void);
void dkv_regions_unlock(void);

#endif
