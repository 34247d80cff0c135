/*
 * Tests of the pool of pages: no page is given out twice or loses what is in it, the pool's books
 * agree, and the memory of idle pages goes back when it ought to and not before.
 *
 *     test_pool [seed]
 */
#include "test_model.h"

enum { MOST = 4000 };

static dkv_pool pool;
static struct {
    uint64_t *page;
    dkv_region *region;
    uint64_t stamp;
} out[MOST];
static size_t count;

static bool take_one(void)
{
    static uint64_t stamps;
    if (count == MOST)
        return false;
    uint64_t *page = dkv_pool_take(&pool, &out[count].region);
    if (!page)
        return false;
    assert((uintptr_t)page % DKV_PAGE == 0);
    out[count].page = page;
    out[count].stamp = page[0] = page[DKV_PAGE / 8 - 1] = ++stamps;
    count++;
    return true;
}

static void put_one(void)
{
    uint64_t i = draw(count);
    uint64_t *page = out[i].page;
    assert(page[0] == out[i].stamp && page[DKV_PAGE / 8 - 1] == out[i].stamp);
    dkv_pool_put(&pool, out[i].region, page);
    out[i] = out[--count];
}

static size_t pages_in(const Pages set)
{
    size_t n = 0;
    for (size_t i = 0; i < WORDS; i++)
        n += (size_t)__builtin_popcountll(set[i]);
    return n;
}

static bool in_memory(const dkv_region *r, size_t page)
{
    unsigned char there;
    assert(mincore(r->base + DKV_PAGE * page, DKV_PAGE, &there) == 0);
    return there & 1;
}

/* That the books agree; how many regions there are. */
static size_t pool_agrees(void)
{
    size_t used = 0, idle = 0, regions = 0;
    bool full = false;
    for (const dkv_region *r = pool.regions; r; r = r->next, regions++) {
        assert(r->used && r->used + pages_in(r->idle) + pages_in(r->absent) == r->pages);
        assert(pages_in(r->idle) == r->idle_count);
        for (size_t i = 0; i < WORDS; i++)
            assert(!(r->idle[i] & r->absent[i]));
        assert(!full || !has_page(r)); /* those with a free page come first */
        full = !has_page(r);
        used += r->used;
        idle += r->idle_count;
    }
    assert(used == count && used == pool.used && idle == pool.idle);
    assert((size_t)allocated == 2 * regions);
    return regions;
}

static void put_all(void)
{
    while (count)
        put_one();
    assert(pool_agrees() == 0);
    pool = (dkv_pool){.regions = NULL};
}

static void test_pages_keep_what_is_in_them(void)
{
    for (int turn = 0; turn < 60; turn++) {
        uint64_t more = draw(101); /* of a hundred steps, so many take */
        for (int i = 0; i < 2000; i++) {
            if (draw(100) < more)
                (void)take_one();
            else if (count)
                put_one();
        }
        (void)pool_agrees();
    }
    put_all();
}

static void test_what_is_emptied_keeps_its_memory_until_a_region_is_free(void)
{
    while (take_one())
        ;
    put_one();
    pool.took = false;
    while (count > MOST / 20) {
        size_t regions = pool_agrees(), idle = pool.idle;
        put_one();
        assert(pool.idle == idle + 1 || pool_agrees() < regions);
    }
    put_all();
}

static void test_what_shrinks_while_it_takes_gives_memory_back(void)
{
    while (take_one())
        ;
    while (count > MOST / 8) {
        put_one(), put_one(), put_one();
        assert(take_one());
        assert(pool.idle <= pool.used / IDLE_PART + WORTH * pool_agrees());
    }
    size_t absent = 0, there = 0;
    for (const dkv_region *r = pool.regions; r; r = r->next) {
        for (size_t page = 0; page < r->pages; page++) {
            absent += has(r->absent, page);
            there += has(r->absent, page) && in_memory(r, page);
        }
    }
    assert(absent > MOST / 2 && there < absent / 10); /* some were never given out */
    put_all();
}

static void test_without_memory_there_is_no_page(void)
{
    for (long n = 0; n < 2; n++) {
        until_failure = n;
        assert(!take_one() && pool_agrees() == 0);
        until_failure = -1;
        assert(take_one() && pool_agrees() == 1);
        put_all();
    }
}

int main(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    printf("test_pool: seed %llu\n", (unsigned long long)random_state);
    test_pages_keep_what_is_in_them();
    test_what_is_emptied_keeps_its_memory_until_a_region_is_free();
    test_what_shrinks_while_it_takes_gives_memory_back();
    test_without_memory_there_is_no_page();
    puts("test_pool: 4 passed, 0 failed");
    return 0;
}
