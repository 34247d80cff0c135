#include "pool.h"

#include "lock.h"

enum {
    FIRST_REGION = 16,    /* pages: 64 KiB */
    LARGEST_REGION = 512, /* 2 MiB */
    WORDS = LARGEST_REGION / 64,
    WORTH = 16,    /* idle pages of a region, to give their memory back */
    IDLE_PART = 8, /* of the pages in use, of which so many may be idle beside */
};

/* A set of a region's pages, a bit each. */
typedef uint64_t Pages[WORDS];

struct dkv_region {
    dkv_region *next, *prev;
    char *base;
    Pages idle;   /* free, and in memory */
    Pages absent; /* free, and never given out or given back to the system */
    size_t idle_count;
    size_t pages; /* all of them */
    size_t used;  /* pages given out */
};

static bool has(const Pages set, size_t page)
{
    return set[page / 64] >> page % 64 & 1;
}

static void add(Pages set, size_t page)
{
    set[page / 64] |= UINT64_C(1) << page % 64;
}

/* The first page of a set that is not empty, taken out of it. */
static size_t take_first(Pages set)
{
    size_t i = 0;
    while (!set[i])
        i++;
    size_t page = i * 64 + (size_t)__builtin_ctzll(set[i]);
    set[i] &= set[i] - 1;
    return page;
}

/* The pool's list */

static void unlink_region(dkv_pool *pool, dkv_region *r)
{
    *(r->prev ? &r->prev->next : &pool->regions) = r->next;
    if (r->next)
        r->next->prev = r->prev;
}

static void link_region(dkv_pool *pool, dkv_region *r)
{
    r->prev = NULL;
    r->next = pool->regions;
    if (r->next)
        r->next->prev = r;
    pool->regions = r;
}

static void link_last(dkv_pool *pool, dkv_region *r)
{
    dkv_region *last = pool->regions;
    if (!last) {
        link_region(pool, r);
        return;
    }
    while (last->next)
        last = last->next;
    last->next = r;
    r->prev = last;
    r->next = NULL;
}

/* Kept regions */

/* A few of the largest regions are kept for the next table, whichever it is: memory that
   was written to before is there at once, and new memory takes as long as the write. */
static void *kept[DKV_KEPT + 1];
static size_t kept_count;
static atomic_uint kept_locked;

void dkv_regions_lock(void)
{
    dkv_lock_word(&kept_locked);
}

void dkv_regions_unlock(void)
{
    dkv_unlock_word(&kept_locked);
}

static void *kept_base(void)
{
    dkv_regions_lock();
    void *base = kept_count ? kept[--kept_count] : NULL;
    dkv_regions_unlock();
    return base;
}

static bool keep_base(void *base)
{
    dkv_regions_lock();
    bool room = kept_count + 1 <= DKV_KEPT;
    if (room)
        kept[kept_count++] = base;
    dkv_regions_unlock();
    return room;
}

/* Regions */

static char *base_new(size_t size)
{
    char *base = DKV_ALIGNED_ALLOC(size, size);
#ifdef MADV_POPULATE_WRITE
    /* All pages in one call and not a fault for each. Huge pages would do the same, but are
       made by the kernel with pauses of milliseconds. */
    if (base)
        (void)madvise(base, size, MADV_POPULATE_WRITE);
#endif
    return base;
}

static dkv_region *region_new(dkv_pool *pool)
{
    size_t pages = pool->next_pages ? pool->next_pages : FIRST_REGION;
    dkv_region *r = DKV_CALLOC(1, sizeof *r);
    char *base = r ? kept_base() : NULL;
    if (base)
        pages = LARGEST_REGION; /* a small table has that in memory as it is */
    else if (r)
        base = base_new(pages * DKV_PAGE);
    if (!base) {
        DKV_FREE(r);
        return NULL;
    }
    r->base = base;
    r->pages = pages;
    for (size_t page = 0; page < pages; page++)
        add(r->absent, page);
    pool->next_pages = pages < LARGEST_REGION ? pages * 2 : pages;
    link_region(pool, r);
    return r;
}

static void region_free(dkv_region *r)
{
    if (r->pages != LARGEST_REGION || !keep_base(r->base))
        DKV_FREE(r->base);
    DKV_FREE(r);
}

static bool has_page(const dkv_region *r)
{
    return r->used < r->pages;
}

/* Give the memory of idle pages back to the system, as many in a call as lie together. */
static void return_idle(dkv_pool *pool, dkv_region *r)
{
    for (size_t page = 0; page < r->pages; page++) {
        size_t first = page;
        for (; page < r->pages && has(r->idle, page); page++)
            add(r->absent, page);
        if (page > first)
            (void)madvise(r->base + DKV_PAGE * first, DKV_PAGE * (page - first), MADV_DONTNEED);
    }
    for (size_t i = 0; i < WORDS; i++)
        r->idle[i] = 0;
    pool->idle -= r->idle_count;
    r->idle_count = 0;
    pool->took = false;
}

/* Pages */

static void *page_of(dkv_pool *pool, dkv_region *r)
{
    bool idle = r->idle_count;
    r->idle_count -= idle;
    pool->idle -= idle;
    pool->used++;
    pool->took = true;
    if (++r->used == r->pages) {
        unlink_region(pool, r);
        link_last(pool, r);
    }
    return r->base + DKV_PAGE * take_first(idle ? r->idle : r->absent);
}

void *dkv_pool_take(dkv_pool *pool, dkv_region **region)
{
    dkv_lock_word(&pool->locked);
    dkv_region *r = pool->regions;
    if (!r || !has_page(r))
        r = region_new(pool);
    void *page = r ? page_of(pool, r) : NULL;
    dkv_unlock_word(&pool->locked);
    *region = r;
    return page;
}

void dkv_pool_put(dkv_pool *pool, dkv_region *r, void *page)
{
    dkv_lock_word(&pool->locked);
    add(r->idle, (size_t)((char *)page - r->base) / DKV_PAGE);
    r->idle_count++;
    pool->idle++;
    pool->used--;
    unlink_region(pool, r);
    if (--r->used) {
        link_region(pool, r);
        if (r->idle_count >= WORTH && pool->took && pool->idle > pool->used / IDLE_PART)
            return_idle(pool, r);
    } else {
        pool->idle -= r->idle_count;
        region_free(r);
    }
    dkv_unlock_word(&pool->locked);
}
