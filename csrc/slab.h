/*
 * Memory for entries: cells of fixed sizes in pages of 4 KiB, without a header for each
 * cell, in a few large regions that huge pages can back. Internal to the table.
 *
 * A shard has a slab, which its lock guards: for each size of cell a list of the pages
 * that have a free one. All slabs of a table draw pages from one pool, which has a lock of
 * its own, taken last. A page whose cells are all free goes back to the pool, for any size
 * and any shard; a region whose pages are all free goes back to the system. What is too
 * large for a cell is malloc's.
 *
 * When sizes change over time, pages of a size that is no longer wanted would stay for the
 * sake of a few cells each. So for each page a slab takes it may empty another: it moves
 * that page's cells into free ones elsewhere, which takes someone who knows who points at
 * them.
 */
#ifndef DKV_SLAB_H
#define DKV_SLAB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

/* The C tests put allocators that fail on purpose here. */
#ifndef DKV_MALLOC
#define DKV_MALLOC malloc
#define DKV_CALLOC calloc
#define DKV_ALIGNED_ALLOC aligned_alloc
#define DKV_FREE free
#define DKV_PAGES_NEW dkv_pages_new
#define DKV_PAGES_FREE munmap
#define DKV_CELL_FAILS() false
#endif

/* How many regions of 2 MiB that no table needs are kept for the next one. */
#ifndef DKV_KEPT
#define DKV_KEPT 16
#endif

enum { DKV_PAGE = 4096, DKV_CLASSES = 37, DKV_LARGEST_CELL = 1344 };

/* Memory from the kernel, all of it nought, that goes back to it with munmap; or NULL. */
void *dkv_pages_new(size_t size);

typedef struct dkv_page dkv_page;
typedef struct dkv_region dkv_region;

typedef struct {
    atomic_uint locked;
    dkv_region *regions; /* all of them, those with a free page first */
    size_t next_pages;   /* how many pages the next region has */
} dkv_pool;

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

/* For a fork: the lock on the regions that no table needs. */
void dkv_regions_lock(void);
void dkv_regions_unlock(void);

/* Give back the pages a slab keeps for its next cells. */
void dkv_slab_trim(dkv_slab *slab, dkv_pool *pool);

/* What a block of malloc takes of memory: glibc keeps 8 bytes and rounds up to 16. */
static inline uint64_t dkv_block_cost(size_t size)
{
    return (size + 8 + 15) & ~(uint64_t)15;
}

#endif
