/*
 * Threads on one table, from C: no GIL hides a race here. Built with ThreadSanitizer, which
 * sees the races, and run as it is, which sees what they do.
 *
 *     test_threads [rounds]
 */
#undef NDEBUG
#include "table.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, KEYS = 300 };

static int rounds = 20000;

/* One run: threads that start together on a table, and what they share. */
typedef struct {
    dkv_table *table;
    pthread_barrier_t start;
    atomic_int working; /* threads that have not finished; the others go on until it is 0 */
    atomic_int next;
} Run;

typedef struct {
    Run *run;
    uint64_t random;
    int number;
} Thread;

static Thread enter(void *arg)
{
    Run *run = arg;
    int number = atomic_fetch_add(&run->next, 1);
    pthread_barrier_wait(&run->start);
    return (Thread){run, (uint64_t)number + 1, number};
}

static uint64_t draw(Thread *thread, uint64_t below)
{
    thread->random = thread->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (thread->random >> 33) % below;
}

typedef void *Work(void *run);

/* Run `workers` threads of one kind, who end by themselves, beside one each of others. */
static void together(dkv_table *t, int workers, Work *work, Work *const *others)
{
    pthread_t threads[16];
    unsigned n = 0, beside = 0;
    Run run = {.table = t};
    while (others[beside])
        beside++;
    atomic_init(&run.working, workers);
    pthread_barrier_init(&run.start, NULL, (unsigned)workers + beside);
    for (int i = 0; i < workers; i++)
        assert(pthread_create(&threads[n++], NULL, work, &run) == 0);
    for (unsigned i = 0; i < beside; i++)
        assert(pthread_create(&threads[n++], NULL, others[i], &run) == 0);
    while (n)
        pthread_join(threads[--n], NULL);
    pthread_barrier_destroy(&run.start);
}

/* Owners */

static atomic_long owners;

static void let_go(void *owner)
{
    atomic_fetch_sub(&owners, 1);
    free(owner);
}

/* A value of one byte many times over; a long one has an owner. */
static dkv_value make_value(size_t len, uint8_t fill, uint8_t *copy)
{
    uint8_t *owner = len < DKV_OWNED_FROM ? NULL : malloc(len);
    if (owner)
        atomic_fetch_add(&owners, 1);
    memset(owner ? owner : copy, fill, len);
    return (dkv_value){owner ? owner : copy, len, owner};
}

static void release(dkv_hold *h)
{
    dkv_release(h);
    if (h->gone.owner)
        let_go(h->gone.owner);
}

static void whole(dkv_value value)
{
    for (size_t i = 1; i < value.len; i++)
        assert(value.bytes[i] == value.bytes[0]);
}

static size_t key_of(char *key, uint64_t n)
{
    return (size_t)sprintf(key, "key %llu", (unsigned long long)n);
}

/* What the limit is held against is what there is. */
static void sum_is_right(dkv_table *t)
{
    dkv_counts counts;
    assert(dkv_count(t, &counts) == 0 && dkv_used(t) == counts.memory_bytes);
}

static void sound(dkv_table *t)
{
    char why[100] = "";
    int rc = dkv_check(t, why, sizeof why);
    if (rc == DKV_ECORRUPT)
        fprintf(stderr, "dkv_check: %s\n", why);
    assert(rc == 0);
}

static void done_with(dkv_table *t)
{
    dkv_close(t);
    dkv_reap(t, let_go, SIZE_MAX);
    dkv_free(t);
    assert(atomic_load(&owners) == 0);
}

/* Everything at once */

static int one_key(Thread *thread, uint8_t *copy)
{
    static const size_t lengths[] = {0, 7, 100, 2000};
    dkv_table *t = thread->run->table;
    char key[32];
    dkv_hold h;
    size_t key_len = key_of(key, draw(thread, KEYS));
    bool read = draw(thread, 2);
    int found = read ? dkv_read(t, key, key_len, &h) : dkv_acquire(t, key, key_len, &h);
    if (found < 0)
        return found;
    whole(h.value);
    uint64_t what = draw(thread, 6);
    int64_t deadline = draw(thread, 2) ? DKV_NEVER : dkv_now(t) + (int64_t)draw(thread, 300);
    dkv_value value = {NULL, 0, NULL};
    int rc = 0;
    if (what < 3) {
        value = make_value(lengths[draw(thread, 4)], (uint8_t)draw(thread, 256), copy);
        rc = dkv_put(&h, value, deadline);
    } else if (what == 3 && found) {
        rc = dkv_expire(&h, deadline);
    } else if (what == 4 && found) {
        dkv_drop(&h);
    }
    release(&h);
    if (rc < 0 && dkv_takes_owner(value))
        let_go(value.owner);
    assert(rc == 0 || ((rc == DKV_EFULL || rc == DKV_EBUSY) && dkv_limit(t)));
    return 0;
}

static int many_keys(Thread *thread, uint8_t *copy)
{
    enum { MANY = 20 };
    dkv_table *t = thread->run->table;
    char keys[MANY][32];
    dkv_pair pairs[MANY];
    dkv_span span;
    for (size_t i = 0; i < MANY; i++)
        pairs[i] = (dkv_pair){.key = (uint8_t *)keys[i],
                              .key_len = key_of(keys[i], draw(thread, KEYS)),
                              .value = make_value(i % 5 ? 30 : 1500, 7, copy),
                              .deadline = DKV_NEVER};
    size_t at;
    int rc = dkv_commit(t, pairs, MANY, &at);
    for (size_t i = 0; i < MANY && rc < 0; i++) {
        if (dkv_takes_owner(pairs[i].value))
            let_go(pairs[i].value.owner);
    }
    assert(rc == 0 || rc == DKV_ECLOSED || (rc == DKV_EFULL && dkv_limit(t)));
    rc = dkv_begin(t, pairs, MANY, &span);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < MANY; i++) {
        dkv_hold h;
        if (dkv_find(&span, i, true, &h)) {
            whole(h.value);
            if (draw(thread, 4) == 0) {
                dkv_drop(&h);
                if (h.gone.owner)
                    let_go(h.gone.owner);
            }
        }
    }
    dkv_end(&span);
    return 0;
}

static void *mixed(void *arg)
{
    Thread thread = enter(arg);
    uint8_t copy[2000];
    dkv_table *t = thread.run->table;
    dkv_hold h;
    int rc = 0;
    for (int i = 0; i < rounds && rc >= 0; i++) {
        rc = i % 64 ? one_key(&thread, copy) : many_keys(&thread, copy);
        if (i % 100 == 99 && dkv_acquire_any(t, &h) > 0) {
            dkv_drop(&h);
            release(&h);
        }
        if (i % 8 == 0 && dkv_has_dead(t))
            dkv_reap(t, let_go, 5);
    }
    assert(rc >= 0 || rc == DKV_ECLOSED);
    atomic_fetch_sub(&thread.run->working, 1);
    return NULL;
}

static int see(void *arg, const uint8_t *key, size_t key_len)
{
    *(size_t *)arg += key_len + key[0];
    return 0;
}

static void *whole_table(void *arg)
{
    Thread thread = enter(arg);
    dkv_table *t = thread.run->table;
    dkv_counts counts;
    size_t seen = 0;
    while (atomic_load(&thread.run->working) && !dkv_closed(t)) {
        dkv_sweep(t);
        dkv_count(t, &counts);
        sound(t);
        dkv_walk(t, draw(&thread, DKV_SHARDS), see, &seen);
        dkv_next_expiry(t);
        if (dkv_wakes(t))
            dkv_rest(t);
        if (draw(&thread, 40) == 0)
            dkv_clear(t);
        if (draw(&thread, 9) == 0)
            dkv_set_clock(t, dkv_now(t) + 100, dkv_wall(t) + 100);
    }
    return NULL;
}

static void *closes(void *arg)
{
    Thread thread = enter(arg);
    while (atomic_load(&thread.run->working) == THREADS)
        ;
    dkv_close(thread.run->table);
    return NULL;
}

static void test_everything_at_once(uint64_t limit, bool evict)
{
    static Work *const others[] = {whole_table, NULL};
    dkv_table *t = dkv_new(limit, evict);
    assert(t);
    together(t, THREADS, mixed, others);
    sound(t);
    done_with(t);
}

static void test_close_while_others_are_inside(void)
{
    static Work *const others[] = {whole_table, closes, NULL};
    dkv_table *t = dkv_new(0, false);
    assert(t);
    together(t, THREADS, mixed, others);
    assert(dkv_closed(t));
    done_with(t);
}

/* One step is one step */

static void *adds_one(void *arg)
{
    Thread thread = enter(arg);
    for (int i = 0; i < rounds; i++) {
        dkv_hold h;
        uint64_t sum = 0;
        if (dkv_acquire(thread.run->table, "sum", 3, &h))
            memcpy(&sum, h.value.bytes, sizeof sum);
        sum++;
        uint64_t version = h.version;
        assert(dkv_put(&h, (dkv_value){(uint8_t *)&sum, sizeof sum, NULL}, DKV_NEVER) == 0);
        assert(h.version > version);
        release(&h);
    }
    atomic_fetch_sub(&thread.run->working, 1);
    return NULL;
}

static void test_no_sum_is_lost(void)
{
    static Work *const others[] = {NULL};
    dkv_table *t = dkv_new(0, false);
    dkv_hold h;
    uint64_t sum;
    assert(t);
    together(t, THREADS, adds_one, others);
    assert(dkv_read(t, "sum", 3, &h) == 1);
    memcpy(&sum, h.value.bytes, sizeof sum);
    release(&h);
    assert(sum == (uint64_t)THREADS * (uint64_t)rounds);
    done_with(t);
}

enum { TOGETHER = 30 };

static void pairs_of(dkv_pair *pairs, char keys[][32], dkv_value value)
{
    for (size_t i = 0; i < TOGETHER; i++)
        pairs[i] = (dkv_pair){.key = (uint8_t *)keys[i],
                              .key_len = key_of(keys[i], i),
                              .value = value,
                              .deadline = DKV_NEVER};
}

static void *writes_all(void *arg)
{
    Thread thread = enter(arg);
    char keys[TOGETHER][32];
    dkv_pair pairs[TOGETHER];
    uint64_t number;
    pairs_of(pairs, keys, (dkv_value){(uint8_t *)&number, sizeof number, NULL});
    for (int i = 0; i < rounds / 20; i++) {
        number = (uint64_t)(i * THREADS + thread.number);
        assert(dkv_commit(thread.run->table, pairs, TOGETHER, &(size_t){0}) == 0);
    }
    atomic_fetch_sub(&thread.run->working, 1);
    return NULL;
}

static void *reads_all(void *arg)
{
    Thread thread = enter(arg);
    char keys[TOGETHER][32];
    dkv_pair pairs[TOGETHER];
    dkv_table *t = thread.run->table;
    pairs_of(pairs, keys, (dkv_value){NULL, 0, NULL});
    while (atomic_load(&thread.run->working)) {
        dkv_span span;
        dkv_hold first, h;
        assert(dkv_begin(t, pairs, TOGETHER, &span) == 0);
        int there = dkv_find(&span, 0, true, &first);
        for (size_t i = 1; i < TOGETHER; i++) {
            assert(dkv_find(&span, i, true, &h) == there);
            assert(!there || memcmp(h.value.bytes, first.value.bytes, h.value.len) == 0);
        }
        dkv_end(&span);
    }
    return NULL;
}

static void test_many_keys_are_written_in_one_step(void)
{
    static Work *const others[] = {reads_all, NULL};
    dkv_table *t = dkv_new(0, false);
    assert(t);
    together(t, THREADS, writes_all, others);
    done_with(t);
}

/* The limit: never passed, and nothing that fits beside all others is refused. */

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
    test_everything_at_once(0, false);
    test_everything_at_once(60000, false);
    test_everything_at_once(60000, true);
    test_close_while_others_are_inside();
    test_no_sum_is_lost();
    test_many_keys_are_written_in_one_step();
    test_the_limit_is_kept_and_what_fits_is_written();
    test_eviction_takes_every_write_of_every_thread();
    puts("test_threads: 8 passed, 0 failed");
    return 0;
}
