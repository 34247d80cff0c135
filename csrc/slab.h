/*
 * Memory for entries: cells of fixed sizes in pages of 4 KiB, without a header for each
 * cell. Internal to the table.
 *
 * A shard has a slab, which its lock guards: for each size of cell a list of the pages
 * that have a free one. All slabs of a table draw pages from one pool, which has a lock of
 * its own, taken last. A page whose cells are all free goes back to the pool, for any size
 * and any shard. What is too large for a cell is malloc's.
 *
 * When sizes change over time, pages of a size that is no longer wanted would stay for the
 * sake of a few cells each. So for each page a slab takes it may empty another: it moves
 * that page's cells into free ones elsewhere, which takes someone who knows who points at
 * them.
 */
#ifndef DKV_SLAB_H
#define DKV_SLAB_H

#include "pool.h"

#include <stdbool.h>

enum { DKV_CLASSES = 37, DKV_LARGEST_CELL = 1344 };

typedef struct dkv_page dkv_page;

typedef struct {
    dkv_page *open[DKV_CLASSES]; /* pages with a free cell, by class, in a ring */
    uint32_t free[DKV_CLASSES];  /* cells in them that are free */
    bool grew;                   /* it took a page and has not emptied one for it */
} dkv_slab;

/* Told that a cell's contents were copied; false when that cell has to stay. */
typedef bool dkv_moved(void *arg, void *from, void *to);

/* The bytes there are for something of this size: what a cell or a block of malloc has. */
size_t dkv_cell_capacity(size_t size);

/* What it takes of memory, with its share of the page's header. */
uint64_t dkv_cell_cost(size_t size);

/* Memory for `size` bytes, aligned to 16, or NULL. */
void *dkv_cell_new(dkv_slab *slab, dkv_pool *pool, size_t size);

/* Give it back; `size` as it was asked for, or any other of the same capacity. */
void dkv_cell_free(dkv_slab *slab, dkv_pool *pool, void *cell, size_t size);

/* Empty one page into others of its class, if there is one worth it. */
void dkv_slab_compact(dkv_slab *slab, dkv_pool *pool, dkv_moved *moved, void *arg);

/* Give back the pages a slab keeps for its next cells. */
void dkv_slab_trim(dkv_slab *slab, dkv_pool *pool);

#endif
