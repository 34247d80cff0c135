/*
 * What the tests with threads share: threads that start together on a table, values that have an
 * owner, and what has to hold when all is over. No GIL hides a race here. Built with
 * ThreadSanitizer, which sees the races, and run as it is, which sees what they do.
 */
#ifndef DKV_TEST_THREADS_H
#define DKV_TEST_THREADS_H

#undef NDEBUG
#include "table.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, KEYS = 300 };

static int rounds = 20000; /* of each thread */

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

static inline Thread enter(void *arg)
{
    Run *run = arg;
    int number = atomic_fetch_add(&run->next, 1);
    pthread_barrier_wait(&run->start);
    return (Thread){run, (uint64_t)number + 1, number};
}

static inline uint64_t draw(Thread *thread, uint64_t below)
{
    thread->random = thread->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (thread->random >> 33) % below;
}

typedef void *Work(void *run);

/* Run `workers` threads of one kind, who end by themselves, beside one each of others. */
static inline void together(dkv_table *t, int workers, Work *work, Work *const *others)
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

static inline void let_go(void *owner)
{
    atomic_fetch_sub(&owners, 1);
    free(owner);
}

/* A value of one byte many times over; a long one has an owner. */
static inline dkv_value make_value(size_t len, uint8_t fill, uint8_t *copy)
{
    uint8_t *owner = len < DKV_OWNED_FROM ? NULL : malloc(len);
    if (owner)
        atomic_fetch_add(&owners, 1);
    memset(owner ? owner : copy, fill, len);
    return (dkv_value){owner ? owner : copy, len, owner};
}

static inline void release(dkv_hold *h)
{
    dkv_release(h);
    if (h->gone.owner)
        let_go(h->gone.owner);
}

static inline void whole(dkv_value value)
{
    for (size_t i = 1; i < value.len; i++)
        assert(value.bytes[i] == value.bytes[0]);
}

static inline size_t key_of(char *key, uint64_t n)
{
    return (size_t)sprintf(key, "key %llu", (unsigned long long)n);
}

/* As many as change in one step. */
enum { TOGETHER = 30 };

static inline void pairs_of(dkv_pair *pairs, char keys[][32], dkv_value value)
{
    for (size_t i = 0; i < TOGETHER; i++)
        pairs[i] = (dkv_pair){.key = (uint8_t *)keys[i],
                              .key_len = key_of(keys[i], i),
                              .value = value,
                              .deadline = DKV_NEVER};
}

/* What the limit is held against is what there is. */
static inline void sum_is_right(dkv_table *t)
{
    dkv_counts counts;
    assert(dkv_count(t, &counts) == 0 && dkv_used(t) == counts.memory_bytes);
}

static inline void sound(dkv_table *t)
{
    char why[100] = "";
    int rc = dkv_check(t, why, sizeof why);
    if (rc == DKV_ECORRUPT)
        fprintf(stderr, "dkv_check: %s\n", why);
    assert(rc == 0);
}

static inline void done_with(dkv_table *t)
{
    dkv_close(t);
    dkv_reap(t, let_go, SIZE_MAX);
    dkv_free(t);
    assert(atomic_load(&owners) == 0);
}

#endif
