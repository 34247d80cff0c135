/*
 * The limit on memory, with threads that want more than there is: never passed, and nothing
 * that fits beside all others is refused.
 *
 *     test_threads_limit [rounds]
 */
#include "test_threads.h"

/* Little more than what the threads write needs together. */
enum { LIMIT = 290000 };

static void *writes_what_fits(void *arg)
{
    Thread thread = enter(arg);
    dkv_table *t = thread.run->table;
    uint8_t copy[1000];
    for (int i = 0; i < rounds / 40; i++) {
        char keys[TOGETHER][32];
        dkv_pair pairs[TOGETHER];
        dkv_hold h;
        memset(copy, i, sizeof copy);
        pairs_of(pairs, keys, (dkv_value){copy, sizeof copy, NULL});
        for (size_t k = 0; k < TOGETHER; k++)
            pairs[k].key_len = key_of(keys[k], (uint64_t)thread.number * TOGETHER + k);
        assert(dkv_commit(t, pairs, TOGETHER, &(size_t){0}) == 0);
        for (size_t k = 0; k < TOGETHER; k++) {
            assert(dkv_acquire(t, keys[k], pairs[k].key_len, &h) == 1);
            dkv_drop(&h);
            assert(dkv_put(&h, (dkv_value){copy, 990, NULL}, DKV_NEVER) == 0);
            dkv_release(&h);
        }
        for (size_t k = 0; k < TOGETHER; k++) {
            assert(dkv_acquire(t, keys[k], pairs[k].key_len, &h) == 1);
            dkv_drop(&h);
            release(&h);
        }
    }
    atomic_fetch_sub(&thread.run->working, 1);
    return NULL;
}

static void *writes_too_much(void *arg)
{
    static uint8_t value[LIMIT - 50000];
    Thread thread = enter(arg);
    dkv_table *t = thread.run->table;
    dkv_hold h;
    assert(dkv_acquire(t, "stays", 5, &h) == 0);
    assert(dkv_put(&h, (dkv_value){value, 50000, NULL}, DKV_NEVER) == 0);
    release(&h);
    while (atomic_load(&thread.run->working)) {
        assert(dkv_acquire(t, "stays", 5, &h) == 1);
        assert(dkv_put(&h, (dkv_value){value, sizeof value + 40000, NULL}, 5) == DKV_EFULL);
        release(&h);
    }
    return NULL;
}

static void *watches_the_limit(void *arg)
{
    Thread thread = enter(arg);
    while (atomic_load(&thread.run->working))
        assert(dkv_used(thread.run->table) <= LIMIT);
    return NULL;
}

static void test_the_limit_is_kept_and_what_fits_is_written(void)
{
    static Work *const others[] = {writes_too_much, watches_the_limit, NULL};
    dkv_table *t = dkv_new(LIMIT, false);
    assert(t);
    together(t, THREADS, writes_what_fits, others);
    sum_is_right(t);
    sound(t);
    done_with(t);
}

static void large_at(Thread *thread, uint64_t n, const uint8_t *value, size_t len)
{
    char key[32];
    size_t key_len = key_of(key, n);
    int rc;
    do {
        dkv_hold h;
        assert(dkv_acquire(thread->run->table, key, key_len, &h) >= 0);
        rc = dkv_put(&h, (dkv_value){value, len, NULL}, DKV_NEVER);
        release(&h);
    } while (rc == DKV_EBUSY);
    assert(rc == 0);
}

/* Few large values, so that a shard seldom has another entry to evict than the held one. */
static void *writes_large(void *arg)
{
    Thread thread = enter(arg);
    dkv_table *t = thread.run->table;
    static const uint8_t value[60000];
    for (int i = 0; i < rounds / 4; i++) {
        char keys[TOGETHER][32];
        dkv_pair pairs[TOGETHER];
        large_at(&thread, draw(&thread, 40), value, draw(&thread, sizeof value));
        pairs_of(pairs, keys, (dkv_value){value, 100, NULL});
        if (i % 16 == 0)
            assert(dkv_commit(t, pairs, TOGETHER, &(size_t){0}) == 0);
        if (i % 64 == 0)
            assert(dkv_clear(t) == 0);
    }
    atomic_fetch_sub(&thread.run->working, 1);
    return NULL;
}

static void test_eviction_takes_every_write_of_every_thread(void)
{
    static Work *const others[] = {watches_the_limit, NULL};
    dkv_table *t = dkv_new(LIMIT, true);
    assert(t);
    together(t, THREADS, writes_large, others);
    sum_is_right(t);
    sound(t);
    done_with(t);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = atoi(argv[1]);
    test_the_limit_is_kept_and_what_fits_is_written();
    test_eviction_takes_every_write_of_every_thread();
    puts("test_threads_limit: 2 passed, 0 failed");
    return 0;
}
