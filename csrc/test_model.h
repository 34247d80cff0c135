/*
 * What the tests of the table share: an allocator that fails on purpose, values with owners,
 * and a plain array as the model of what a table ought to hold. Takes in the table's sources,
 * so that they use the allocator.
 */
#ifndef DKV_TEST_MODEL_H
#define DKV_TEST_MODEL_H

#undef NDEBUG
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static long until_failure = -1; /* allocations that still succeed; -1 for all */
static bool for_good;           /* fail from then on, not once */
static long allocated = 0;      /* blocks not yet freed */
static long failures = 0;       /* allocations that did not succeed */

static int fails(void)
{
    if (until_failure < 0)
        return 0;
    if (until_failure == 0) {
        until_failure = for_good ? 0 : -1;
        failures++;
        return 1;
    }
    until_failure--;
    return 0;
}

static void *counted(void *block)
{
    allocated += block != NULL;
    return block;
}

static void *test_malloc(size_t n)
{
    return fails() ? NULL : counted(malloc(n));
}

static void *test_calloc(size_t n, size_t size)
{
    return fails() ? NULL : counted(calloc(n, size));
}

static void *test_aligned_alloc(size_t to, size_t size)
{
    return fails() ? NULL : counted(aligned_alloc(to, size));
}

static void test_free(void *block)
{
    allocated -= block != NULL;
    free(block);
}

static void test_pages_free(void *pages, size_t size)
{
    (void)size;
    test_free(pages);
}

#define DKV_MALLOC test_malloc
#define DKV_CALLOC test_calloc
#define DKV_ALIGNED_ALLOC test_aligned_alloc
#define DKV_FREE test_free
#define DKV_PAGES_NEW test_malloc
#define DKV_PAGES_FREE test_pages_free
#define DKV_CELL_FAILS fails
#define DKV_KEPT 0
#define DKV_RING (1 << 18)
#include "pool.c"
#include "slab.c"
#include "events.c"
#include "entry.c"
#include "shard.c"
#include "table.c"
#include "room.c"
#include "one.c"
#include "many.c"
#include "whole.c"
#include "sorted.c"
#include "watch.c"
#include "fork.c"
#include "crc32.c"
#include "record.c"
#include "log.c"
#include "logfile.c"
#include "replay.c"

#ifndef TEST_KEYS
#define TEST_KEYS 3000
#endif
enum { KEYS = TEST_KEYS, STEPS = 60000 };

/* What the table ought to hold: for key n a value of `len` bytes `fill`, until `deadline`. */
typedef struct {
    bool there;
    size_t len;
    uint8_t fill;
    int64_t deadline;
    uint64_t version;
} Expected;

/* An object that owns a value, as the caller's language would have it. */
typedef struct {
    uint8_t bytes[5000];
} Owner;

static long owners = 0; /* not yet let go of */

static inline void let_go(void *owner)
{
    owners--;
    free(owner);
}

/* A value of `len` bytes; a long one now and then with an owner. */
static inline dkv_value make_value(size_t len, uint8_t fill, uint8_t *copy)
{
    if (len < DKV_OWNED_FROM || fill % 2) {
        memset(copy, fill, len);
        return (dkv_value){copy, len, NULL};
    }
    Owner *owner = malloc(sizeof *owner);
    assert(owner);
    owners++;
    memset(owner->bytes, fill, len);
    return (dkv_value){owner->bytes, len, owner};
}

/* Release a hold, and let go of what it gave back. */
static inline void release(dkv_hold *h)
{
    dkv_release(h);
    if (h->gone.owner)
        let_go(h->gone.owner);
}

static Expected model[KEYS];
static int64_t now = 1000000;
static uint64_t random_state;

static inline uint64_t draw(uint64_t below)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (random_state >> 33) % below;
}

static inline size_t key_of(char *key, uint64_t n)
{
    return (size_t)sprintf(key, n % 3 ? "%llu" : "a longer key that has the number %llu",
                           (unsigned long long)n);
}

/* The number of a key that key_of made. */
static inline uint64_t number_of(const uint8_t *key, size_t key_len)
{
    uint64_t n = 0;
    for (size_t i = 0; i < key_len; i++) {
        if (key[i] >= '0' && key[i] <= '9')
            n = n * 10 + (uint64_t)(key[i] - '0');
    }
    return n;
}

static inline void sound(dkv_table *t)
{
    char why[100];
    int broken = dkv_check(t, why, sizeof why);
    if (broken)
        fprintf(stderr, "dkv_check: %s\n", why);
    assert(!broken);
}

static inline void agrees(dkv_table *t, uint64_t n)
{
    char key[64];
    dkv_hold h;
    Expected *e = &model[n];
    int found = dkv_read(t, key, key_of(key, n), &h);
    e->there = e->there && e->deadline > now;
    assert(found == e->there || (t->evict && !found));
    e->there = found;
    if (found) {
        assert(h.value.len == e->len && h.version == e->version && h.deadline == e->deadline);
        for (size_t i = 0; i < e->len; i++)
            assert(h.value.bytes[i] == e->fill);
    }
    release(&h);
}

static inline void all_agree(dkv_table *t)
{
    uint64_t there = 0;
    dkv_counts counts;
    for (uint64_t n = 0; n < KEYS; n++) {
        agrees(t, n);
        there += model[n].there;
    }
    assert(dkv_count(t, &counts) == 0 && counts.entries == there);
    sound(t);
}

static inline int step(dkv_table *t)
{
    static uint8_t copy[5000];
    char key[64];
    uint64_t n = draw(KEYS);
    Expected *e = &model[n];
    dkv_hold h;
    int rc = 0;
    int found = dkv_acquire(t, key, key_of(key, n), &h);
    e->there = e->there && e->deadline > now;
    assert(found == e->there);
    switch (draw(4)) {
    case 0:
        if (found)
            dkv_drop(&h);
        e->there = false;
        break;
    case 1:
        if (found) {
            int64_t deadline = draw(2) ? now + (int64_t)draw(5000) + 1 : DKV_NEVER;
            rc = dkv_expire(&h, deadline);
            if (rc == 0)
                e->deadline = deadline;
        }
        break;
    default: {
        size_t len = draw(10) ? draw(200) : draw(sizeof copy);
        int64_t deadline = draw(3) ? DKV_NEVER : now + (int64_t)draw(5000) + 1;
        dkv_value value = make_value(len, (uint8_t)draw(251), copy);
        rc = dkv_put(&h, value, deadline);
        if (rc == 0)
            *e = (Expected){true, len, len ? h.value.bytes[0] : 0, deadline, h.version};
        else if (value.owner)
            let_go(value.owner);
    }
    }
    release(&h);
    dkv_reap(t, let_go, 1 + draw(3));
    now += (int64_t)draw(3);
    dkv_set_clock(t, now, now);
    return rc;
}

static inline dkv_table *fresh_with(uint64_t limit, bool evict)
{
    dkv_table *t = dkv_new(limit, evict);
    assert(t);
    memset(model, 0, sizeof model);
    dkv_set_clock(t, now, now);
    return t;
}

static inline dkv_table *fresh(void)
{
    return fresh_with(0, false);
}

static inline void done_with(dkv_table *t)
{
    dkv_close(t);
    dkv_reap(t, let_go, SIZE_MAX);
    dkv_free(t);
    assert(allocated == 0 && owners == 0);
}

#endif
