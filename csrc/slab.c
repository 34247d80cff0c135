#include "slab.h"

#include <assert.h>
#include <string.h>

#if defined(__has_feature) /* clang's way to say it */
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(at, n) __asan_poison_memory_region(at, n)
#define UNPOISON(at, n) __asan_unpoison_memory_region(at, n)
#else
#define POISON(at, n) ((void)(at), (void)(n))
#define UNPOISON(at, n) ((void)(at), (void)(n))
#endif

enum {
    HEADER = 64,
    STEP = 16, /* between the sizes of small cells */
    SMALL = 512,
    SMALL_CLASSES = SMALL / STEP,
};

struct dkv_page {
    dkv_page *next, *prev; /* in the slab's ring */
    dkv_region *region;
    uint16_t used;      /* cells given out */
    uint16_t untouched; /* cells never given out begin at this offset */
    uint16_t freed;     /* offset of a cell that came back, 0 for none; each has the next */
    uint16_t cells;     /* all of them */
};

_Static_assert(sizeof(dkv_page) <= HEADER, "a page's header leaves its cells aligned");
_Static_assert((DKV_PAGE - HEADER) / 3 >= DKV_LARGEST_CELL, "three of the largest fit");

/* Sizes */

/* Of each class; the last ones are a 7th, 6th, 5th, 4th and 3rd of a page. */
#define STEPS(of, cell) of(cell), of((cell) + STEP), of((cell) + 2 * STEP), of((cell) + 3 * STEP)
#define CLASSES(of)                                                                                \
    STEPS(of, 16), STEPS(of, 80), STEPS(of, 144), STEPS(of, 208), STEPS(of, 272), STEPS(of, 336),  \
        STEPS(of, 400), STEPS(of, 464), of(576), of(672), of(800), of(1008), of(DKV_LARGEST_CELL)
#define SIZE(cell) (cell)
#define CELLS(cell) ((DKV_PAGE - HEADER) / (cell))
#define COST(cell) (DKV_PAGE / CELLS(cell))

/* By class: the bytes of a cell, the cells in a page, and what one takes of it. */
static const uint16_t SIZE_OF[] = {CLASSES(SIZE)};
static const uint16_t CELLS_IN[DKV_CLASSES] = {CLASSES(CELLS)};
static const uint16_t COST_OF[DKV_CLASSES] = {CLASSES(COST)};
_Static_assert(sizeof SIZE_OF / sizeof *SIZE_OF == DKV_CLASSES, "all classes");

static size_t class_of(size_t size)
{
    if (size <= SMALL)
        return (size + STEP - 1) / STEP - 1;
    size_t c = SMALL_CLASSES;
    while (size > SIZE_OF[c])
        c++;
    return c;
}

static size_t cell_of(size_t class)
{
    return class < SMALL_CLASSES ? (class + 1) * STEP : SIZE_OF[class];
}

size_t dkv_cell_capacity(size_t size)
{
    return size <= DKV_LARGEST_CELL ? cell_of(class_of(size)) : dkv_block_cost(size) - 8;
}

uint64_t dkv_cell_cost(size_t size)
{
    return size > DKV_LARGEST_CELL ? dkv_block_cost(size) : COST_OF[class_of(size)];
}

/* Pages */

/* Behind all others: the fullest are the first to be filled, the emptiest drain. */
static void link_page(dkv_slab *slab, size_t class, dkv_page *page)
{
    dkv_page *first = slab->open[class];
    if (!first) {
        slab->open[class] = page->next = page->prev = page;
        return;
    }
    page->next = first;
    page->prev = first->prev;
    first->prev->next = page;
    first->prev = page;
}

static void unlink_page(dkv_slab *slab, size_t class, dkv_page *page)
{
    if (slab->open[class] == page)
        slab->open[class] = page->next == page ? NULL : page->next;
    page->prev->next = page->next;
    page->next->prev = page->prev;
}

static dkv_page *page_new(dkv_slab *slab, dkv_pool *pool, size_t class)
{
    dkv_region *region;
    dkv_page *page = dkv_pool_take(pool, &region);
    if (!page)
        return NULL;
    page->region = region;
    page->used = page->freed = 0;
    page->untouched = HEADER;
    page->cells = CELLS_IN[class];
    link_page(slab, class, page);
    slab->free[class] += page->cells;
    slab->grew = true;
    POISON((char *)page + HEADER, DKV_PAGE - HEADER);
    return page;
}

static void page_free(dkv_slab *slab, dkv_pool *pool, size_t class, dkv_page *page)
{
    unlink_page(slab, class, page);
    slab->free[class] -= page->cells;
    dkv_pool_put(pool, page->region, page);
}

/* Cells */

/* Ask for the memory of the cell that comes next, which will be written to. */
static void prefetch_next(const dkv_page *page, size_t size)
{
    const char *next = (const char *)page + (page->freed ? page->freed : page->untouched);
    for (size_t at = 0; at < size && at < 320; at += 64)
        __builtin_prefetch(next + at, 1);
}

/* The next free cell of a page that has one. */
static char *take(dkv_slab *slab, size_t class, dkv_page *page)
{
    char *cell = (char *)page + page->untouched;
    if (page->freed) {
        cell = (char *)page + page->freed;
        UNPOISON(cell, sizeof page->freed);
        page->freed = *(uint16_t *)(void *)cell;
    } else {
        page->untouched = (uint16_t)(page->untouched + cell_of(class));
    }
    slab->free[class]--;
    if (++page->used == page->cells)
        unlink_page(slab, class, page);
    else
        prefetch_next(page, cell_of(class));
    UNPOISON(cell, cell_of(class));
    return cell;
}

void *dkv_cell_new(dkv_slab *slab, dkv_pool *pool, size_t size)
{
    if (DKV_CELL_FAILS())
        return NULL;
    if (size > DKV_LARGEST_CELL)
        return DKV_MALLOC(dkv_cell_capacity(size));
    size_t class = class_of(size);
    dkv_page *page = slab->open[class];
    if (!page)
        page = page_new(slab, pool, class);
    return page ? take(slab, class, page) : NULL;
}

/* Put a cell back; whether its page is then empty and can go. The last open page stays, or
   a cell that comes and goes would take it along each time. */
static bool put_back(dkv_slab *slab, size_t class, dkv_page *page, char *cell)
{
    assert(page->used && "a cell is freed twice");
    *(uint16_t *)(void *)cell = page->freed;
    page->freed = (uint16_t)(cell - (char *)page);
    POISON(cell, cell_of(class));
    slab->free[class]++;
    if (page->used-- == page->cells)
        link_page(slab, class, page);
    return !page->used && page->next != page;
}

void dkv_cell_free(dkv_slab *slab, dkv_pool *pool, void *cell, size_t size)
{
    if (size > DKV_LARGEST_CELL) {
        DKV_FREE(cell);
        return;
    }
    size_t class = class_of(size);
    dkv_page *page = (dkv_page *)((uintptr_t)cell & ~(uintptr_t)(DKV_PAGE - 1));
    if (put_back(slab, class, page, cell))
        page_free(slab, pool, class, page);
}

/* Compaction */

/* The emptiest of the first open pages, which are the oldest, of a class that could do
   with two pages fewer. */
static dkv_page *sparse_page(const dkv_slab *slab, size_t *class)
{
    enum { SOME = 8 };
    for (*class = 0; *class < DKV_CLASSES; ++*class) {
        dkv_page *found = slab->open[*class];
        if (slab->free[*class] < 2U * CELLS_IN[*class])
            continue;
        dkv_page *page = found;
        for (int i = 0; i < SOME; i++, page = page->next) {
            if (page->used < found->used)
                found = page;
        }
        return found;
    }
    return NULL;
}

/* Mark the cells of a page that are not in use. */
static void mark_free(const dkv_page *page, size_t cell, bool *free)
{
    for (uint16_t at = page->freed; at;) {
        const char *freed = (const char *)page + at;
        free[(at - HEADER) / cell] = true;
        UNPOISON(freed, sizeof at);
        memcpy(&at, freed, sizeof at);
        POISON(freed, cell);
    }
    for (size_t i = (page->untouched - HEADER) / cell; i < page->cells; i++)
        free[i] = true;
}

/* Move the cells of a page to others of their class; the page goes if none has to stay. */
static void empty(dkv_slab *slab, dkv_pool *pool, size_t class, dkv_page *page, dkv_moved *moved,
                  void *arg)
{
    bool free[CELLS(STEP)] = {false};
    size_t cell = cell_of(class);
    mark_free(page, cell, free);
    unlink_page(slab, class, page); /* so that no cell moves within it */
    for (size_t i = 0; i < page->cells; i++) {
        char *from = (char *)page + HEADER + i * cell;
        if (free[i])
            continue;
        dkv_page *other = slab->open[class];
        char *to = take(slab, class, other);
        memcpy(to, from, cell);
        if (moved(arg, from, to)) {
            *(uint16_t *)(void *)from = page->freed;
            page->freed = (uint16_t)(from - (char *)page);
            page->used--;
            slab->free[class]++;
            POISON(from, cell);
        } else {
            put_back(slab, class, other, to);
        }
    }
    link_page(slab, class, page);
    if (!page->used)
        page_free(slab, pool, class, page);
}

void dkv_slab_compact(dkv_slab *slab, dkv_pool *pool, dkv_moved *moved, void *arg)
{
    size_t class;
    dkv_page *page = sparse_page(slab, &class);
    slab->grew = false;
    if (page)
        empty(slab, pool, class, page, moved, arg);
}

void dkv_slab_trim(dkv_slab *slab, dkv_pool *pool)
{
    for (size_t class = 0; class < DKV_CLASSES; class++) {
        dkv_page *page = slab->open[class];
        if (page && !page->used)
            page_free(slab, pool, class, page);
    }
}
