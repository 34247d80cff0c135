/*
 * Tests of table.h from C: a random walk beside a plain array as the model, and the same
 * walk with an allocator that fails, after which the table has to be as it was.
 *
 *     test_table [seed]
 */
#undef NDEBUG
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static long until_failure = -1; /* allocations that still succeed; -1 for all */
static bool for_good;           /* fail from then on, not once */
static long allocated = 0;      /* blocks not yet freed */

static int fails(void)
{
    if (until_failure < 0)
        return 0;
    if (until_failure == 0) {
        until_failure = for_good ? 0 : -1;
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

#define DKV_MALLOC test_malloc
#define DKV_CALLOC test_calloc
#define DKV_ALIGNED_ALLOC test_aligned_alloc
#define DKV_FREE test_free
#define DKV_CELL_FAILS fails
#include "slab.c"
#include "shard.c"
#include "table.c"
#include "whole.c"
#include "fork.c"

enum { KEYS = 3000, STEPS = 60000 };

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

static void let_go(void *owner)
{
    owners--;
    free(owner);
}

/* A value of `len` bytes; a long one now and then with an owner. */
static dkv_value make_value(size_t len, uint8_t fill, uint8_t *copy)
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

static Expected model[KEYS];
static int64_t now = 1000000;
static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (random_state >> 33) % below;
}

static size_t key_of(char *key, uint64_t n)
{
    return (size_t)sprintf(key, n % 3 ? "%llu" : "a longer key that has the number %llu",
                           (unsigned long long)n);
}

static void sound(dkv_table *t)
{
    char why[100];
    int broken = dkv_check(t, why, sizeof why);
    if (broken)
        fprintf(stderr, "dkv_check: %s\n", why);
    assert(!broken);
}

static void agrees(dkv_table *t, uint64_t n)
{
    char key[64];
    dkv_hold h;
    Expected *e = &model[n];
    int found = dkv_read(t, key, key_of(key, n), &h);
    e->there = e->there && e->deadline > now;
    assert(found == e->there);
    if (found) {
        assert(h.value.len == e->len && h.version == e->version && h.deadline == e->deadline);
        for (size_t i = 0; i < e->len; i++)
            assert(h.value.bytes[i] == e->fill);
    }
    dkv_release(&h);
}

static void all_agree(dkv_table *t)
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

static int step(dkv_table *t)
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
    dkv_release(&h);
    dkv_reap(t, let_go, 1 + draw(3));
    now += (int64_t)draw(3);
    dkv_set_clock(t, now, now);
    return rc;
}

static dkv_table *fresh_with(uint64_t limit, bool evict)
{
    dkv_table *t = dkv_new(limit, evict);
    assert(t);
    memset(model, 0, sizeof model);
    dkv_set_clock(t, now, now);
    return t;
}

static dkv_table *fresh(void)
{
    return fresh_with(0, false);
}

static void done_with(dkv_table *t)
{
    dkv_close(t);
    dkv_reap(t, let_go, SIZE_MAX);
    dkv_free(t);
    assert(allocated == 0 && owners == 0);
}

static void test_a_random_walk_agrees_with_the_model(void)
{
    dkv_table *t = fresh();
    for (int i = 0; i < STEPS; i++) {
        assert(step(t) == 0);
        if (i % 10000 == 0)
            all_agree(t);
    }
    all_agree(t);
    done_with(t);
}

/* Each allocation fails in its turn, once or from then on, and nothing is lost. */
static void test_a_failed_allocation_changes_nothing(bool from_then_on)
{
    for_good = from_then_on;
    dkv_table *t = fresh();
    long failures = 0;
    for (int i = 0; i < STEPS; i++) {
        until_failure = draw(3) ? -1 : (long)draw(2);
        int rc = step(t);
        assert(rc == 0 || rc == DKV_ENOMEM);
        failures += rc == DKV_ENOMEM;
        until_failure = -1;
        if (i % 5000 == 0) {
            until_failure = -1;
            all_agree(t);
        }
    }
    until_failure = -1;
    all_agree(t);
    assert(failures > 1000);
    done_with(t);
    until_failure = 0;
    assert(dkv_new(0, false) == NULL);
    until_failure = -1;
}

static void test_put_many_writes_all_or_nothing(void)
{
    enum { MANY = 2000 };
    static char keys[MANY][64];
    static dkv_pair pairs[MANY];
    for (long until = 0;; until++) {
        dkv_table *t = fresh();
        for (uint64_t n = 0; n < MANY; n++)
            pairs[n] = (dkv_pair){.key = (uint8_t *)keys[n],
                                  .key_len = key_of(keys[n], n / 2),
                                  .value = {(uint8_t *)keys[n], n % 2 ? 3 : 1, NULL}};
        until_failure = until;
        int rc = dkv_put_many(t, pairs, MANY, DKV_NEVER);
        until_failure = -1;
        dkv_counts counts;
        assert(dkv_count(t, &counts) == 0);
        sound(t);
        assert(counts.entries == (rc ? 0 : MANY / 2) && counts.sets == (rc ? 0 : MANY));
        done_with(t);
        if (rc == 0)
            return;
        if (until > 200)
            until += 97;
    }
}

static const dkv_value V = {(const uint8_t *)"v", 1, NULL};

/* The figure the limit is over is what the shards say, and never above the limit. */
static uint64_t used_by(dkv_table *t)
{
    dkv_counts counts;
    assert(dkv_count(t, &counts) == 0);
    assert(dkv_used(t) == counts.memory_bytes && counts.memory_bytes <= dkv_limit(t));
    return counts.memory_bytes;
}

static void test_a_full_table_refuses_and_keeps_what_it_has(void)
{
    dkv_table *t = fresh_with(200000, false);
    long refused = 0;
    for (int i = 0; i < STEPS; i++) {
        int rc = step(t);
        assert(rc == 0 || rc == DKV_EFULL);
        refused += rc == DKV_EFULL;
        used_by(t);
        if (i % 10000 == 0)
            all_agree(t);
    }
    all_agree(t);
    assert(refused > 1000);
    done_with(t);
}

static void test_eviction_makes_room_for_every_write(void)
{
    static uint8_t copy[5000];
    dkv_table *t = fresh_with(150000, true);
    dkv_counts counts;
    char key[64];
    dkv_hold h;
    for (int i = 0; i < STEPS; i++) {
        uint64_t n = draw(KEYS);
        size_t len = draw(10) ? draw(200) : draw(sizeof copy);
        int found = dkv_read(t, key, key_of(key, n), &h);
        uint64_t version = h.version;
        dkv_value value = make_value(len, (uint8_t)n, copy);
        assert(found >= 0 && dkv_put(&h, value, DKV_NEVER) == 0 && h.version > version);
        dkv_release(&h);
        dkv_reap(t, let_go, 8);
        used_by(t);
    }
    sound(t);
    assert(dkv_count(t, &counts) == 0 && counts.evicted > STEPS / 4 && counts.entries > 100);
    done_with(t);
}

static void test_put_many_keeps_the_limit(bool evict)
{
    enum { MANY = 500 };
    static char keys[MANY][64];
    static dkv_pair pairs[MANY];
    static uint8_t value[900];
    dkv_table *t = fresh_with(300000, evict);
    long refused = 0;
    for (int round = 0; round < 300; round++) {
        size_t n = 1 + draw(MANY);
        for (size_t i = 0; i < n; i++)
            pairs[i] = (dkv_pair){.key = (uint8_t *)keys[i],
                                  .key_len = key_of(keys[i], draw(KEYS)),
                                  .value = {value, draw(sizeof value), NULL}};
        dkv_counts before, after;
        assert(dkv_count(t, &before) == 0);
        int rc = dkv_put_many(t, pairs, n, DKV_NEVER);
        assert(dkv_count(t, &after) == 0);
        assert(rc == DKV_EFULL || rc == 0);
        assert(after.sets == before.sets + (rc ? 0 : n));
        refused += rc != 0;
        used_by(t);
        sound(t);
        if (draw(9) == 0)
            assert(dkv_clear(t) == 0);
    }
    assert(evict ? refused < 30 : refused > 20);
    done_with(t);
}

static void test_a_sweep_in_slices_finds_all(void)
{
    dkv_table *t = fresh();
    dkv_hold h;
    char key[64];
    enum { MANY = 700000 }; /* more than a slice in each shard */
    for (uint64_t n = 0; n < MANY; n++) {
        assert(dkv_acquire(t, key, key_of(key, n), &h) == 0);
        assert(dkv_put(&h, V, now + 1 + (int64_t)(n % 1000)) == 0);
        dkv_release(&h);
    }
    assert(dkv_next_expiry(t) == 1);
    now += 500;
    dkv_set_clock(t, now, now);
    assert(dkv_sweep(t) == MANY / 2);
    assert(dkv_next_expiry(t) == 1);
    sound(t);
    now += 500;
    dkv_set_clock(t, now, now);
    assert(dkv_wakes(t) && !dkv_wakes(t));
    assert(!dkv_rest(t) && dkv_sweep(t) == MANY / 2);
    assert(dkv_next_expiry(t) == -1 && dkv_rest(t));
    sound(t);
    done_with(t);
}

static void test_any_finds_every_entry(void)
{
    dkv_table *t = fresh();
    dkv_hold h;
    char key[64];
    for (uint64_t n = 0; n < KEYS; n++) {
        assert(dkv_acquire(t, key, key_of(key, n), &h) == 0);
        assert(dkv_put(&h, V, DKV_NEVER) == 0);
        dkv_release(&h);
    }
    for (uint64_t n = 0; n < KEYS; n++) {
        assert(dkv_acquire_any(t, &h) == 1);
        dkv_drop(&h);
        dkv_release(&h);
    }
    assert(dkv_acquire_any(t, &h) == 0);
    sound(t);
    done_with(t);
}

static void test_a_closed_table_answers_so(void)
{
    dkv_table *t = fresh();
    dkv_hold h;
    dkv_counts counts;
    assert(dkv_acquire(t, "a", 1, &h) == 0);
    assert(dkv_put(&h, V, DKV_NEVER) == 0);
    dkv_release(&h);
    dkv_close(t);
    dkv_close(t);
    assert(dkv_closed(t));
    assert(dkv_acquire(t, "a", 1, &h) == DKV_ECLOSED);
    assert(dkv_acquire_any(t, &h) == DKV_ECLOSED);
    assert(dkv_put_many(t, NULL, 0, DKV_NEVER) == DKV_ECLOSED);
    assert(dkv_count(t, &counts) == DKV_ECLOSED);
    assert(dkv_sweep(t) == DKV_ECLOSED);
    assert(dkv_clear(t) == DKV_ECLOSED);
    done_with(t);
}

/* Bytes 0, 1, 2 .. under the key 0, 1, 2 .. 15, as in the test vectors of the SipHash
   paper; the sums are those of a second implementation, in Python, which with two and four
   rounds gives the paper's. */
static void test_siphash_is_siphash_1_3(void)
{
    dkv_secret secret;
    uint8_t bytes[16];
    for (uint8_t i = 0; i < 16; i++)
        bytes[i] = i;
    memcpy(&secret, bytes, 16);
    assert(dkv_siphash(&secret, bytes, 0) == UINT64_C(0xabac0158050fc4dc));
    assert(dkv_siphash(&secret, bytes, 8) == UINT64_C(0x369095118d299a8e));
    assert(dkv_siphash(&secret, bytes, 15) == UINT64_C(0xd320d86d2a519956));
}

int main(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    printf("test_table: seed %llu\n", (unsigned long long)random_state);
    test_siphash_is_siphash_1_3();
    test_a_random_walk_agrees_with_the_model();
    test_a_failed_allocation_changes_nothing(false);
    test_a_failed_allocation_changes_nothing(true);
    test_put_many_writes_all_or_nothing();
    test_a_full_table_refuses_and_keeps_what_it_has();
    test_eviction_makes_room_for_every_write();
    test_put_many_keeps_the_limit(false);
    test_put_many_keeps_the_limit(true);
    test_a_sweep_in_slices_finds_all();
    test_any_finds_every_entry();
    test_a_closed_table_answers_so();
    puts("test_table: 12 passed, 0 failed");
    return 0;
}
