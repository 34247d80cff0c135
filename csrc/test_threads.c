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
        (void)dkv_has_news(t);
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
        uint64_t cursor = 0;
        do
            if (dkv_walk(t, &cursor, see, &seen) != 0)
                break;
        while (cursor);
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

/* Everything that is told, by who begins and ends to listen again and again. */
static void *listens(void *arg)
{
    static uint8_t bytes[DKV_KEY_CEILING + DKV_EVENT_HEADER];
    Thread thread = enter(arg);
    dkv_table *t = thread.run->table;
    uint64_t at, last = 0;
    bool watching = false;
    while (atomic_load(&thread.run->working) && !dkv_closed(t)) {
        dkv_sorted *sorted;
        dkv_note_changes(t, draw(&thread, 4));
        for (size_t i = 0; i < DKV_SHARDS; i++) {
            uint8_t *taken;
            size_t len;
            (void)dkv_take_changes(t, i, &taken, &len);
            dkv_free_changes(taken);
        }
        if (dkv_sort_keys(t, &sorted) == 0)
            dkv_sorted_free(sorted);
        if (!watching)
            watching = dkv_watch(t, draw(&thread, 2) ? last : DKV_NOW, &at) == 0;
        dkv_expect_news(t);
        if (watching && dkv_read_events(t, &at, bytes, sizeof bytes) > 0)
            memcpy(&last, bytes, sizeof last);
        if (watching && draw(&thread, 4) == 0) {
            dkv_unwatch(t);
            watching = false;
        }
    }
    if (watching)
        dkv_unwatch(t);
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
    static Work *const others[] = {whole_table, listens, NULL};
    dkv_table *t = dkv_new(limit, evict);
    assert(t);
    together(t, THREADS, mixed, others);
    sound(t);
    done_with(t);
}

static void test_close_while_others_are_inside(void)
{
    static Work *const others[] = {whole_table, listens, closes, NULL};
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

/* Commits that check */

/* Moves one from a number to another, if nobody came between the look and the commit. */
static void *moves_one(void *arg)
{
    enum { NUMBERS = 4 };
    Thread thread = enter(arg);
    dkv_table *t = thread.run->table;
    for (int i = 0; i < rounds / 4;) {
        char keys[2][32];
        int64_t numbers[2] = {0, 0};
        dkv_pair pairs[2];
        uint64_t from = draw(&thread, NUMBERS);
        uint64_t which[2] = {from, (from + 1 + draw(&thread, NUMBERS - 1)) % NUMBERS};
        size_t at = 9;
        for (size_t k = 0; k < 2; k++) {
            dkv_hold h;
            size_t key_len = key_of(keys[k], which[k]);
            int found = dkv_acquire(t, keys[k], key_len, &h);
            if (found)
                memcpy(&numbers[k], h.value.bytes, sizeof numbers[k]);
            numbers[k] += k ? 1 : -1;
            pairs[k] = (dkv_pair){.key = (uint8_t *)keys[k],
                                  .key_len = key_len,
                                  .act = found ? DKV_PUT_KEEPING : DKV_PUT,
                                  .value = {(uint8_t *)&numbers[k], sizeof numbers[k], NULL},
                                  .deadline = DKV_NEVER,
                                  .want = found ? h.version : DKV_ABSENT};
            release(&h);
        }
        int rc = dkv_commit(t, pairs, 2, &at);
        assert(rc == 0 || (rc == DKV_ECONFLICT && at < 2));
        i += rc == 0;
    }
    atomic_fetch_sub(&thread.run->working, 1);
    return NULL;
}

static void *adds_up(void *arg)
{
    Thread thread = enter(arg);
    while (atomic_load(&thread.run->working)) {
        char keys[4][32];
        dkv_pair pairs[4];
        dkv_span span;
        dkv_hold h;
        int64_t sum = 0, number;
        for (size_t k = 0; k < 4; k++)
            pairs[k] = (dkv_pair){.key = (uint8_t *)keys[k], .key_len = key_of(keys[k], k)};
        assert(dkv_begin(thread.run->table, pairs, 4, &span) == 0);
        for (size_t k = 0; k < 4; k++) {
            if (dkv_find(&span, k, false, &h)) {
                memcpy(&number, h.value.bytes, sizeof number);
                sum += number;
            }
        }
        dkv_end(&span);
        assert(sum == 0);
    }
    return NULL;
}

static void test_checked_commits_neither_lose_nor_make_anything(void)
{
    static Work *const others[] = {adds_up, NULL};
    dkv_table *t = dkv_new(0, false);
    assert(t);
    together(t, THREADS, moves_one, others);
    sound(t);
    done_with(t);
}

/* News, while others write */

static void *comes_and_goes(void *arg)
{
    Thread thread = enter(arg);
    dkv_table *t = thread.run->table;
    for (int i = 0; i < rounds / 2; i++) {
        char keys[3][32];
        dkv_pair pairs[3];
        dkv_hold h;
        if (i % 3) {
            size_t key_len = key_of(keys[0], draw(&thread, KEYS));
            int found = dkv_acquire(t, keys[0], key_len, &h);
            if (found && draw(&thread, 2))
                dkv_drop(&h);
            else
                assert(dkv_put(&h, (dkv_value){(uint8_t *)"v", 1, NULL}, DKV_NEVER) == 0);
            release(&h);
            continue;
        }
        for (size_t k = 0; k < 3; k++)
            pairs[k] = (dkv_pair){.key = (uint8_t *)keys[k],
                                  .key_len = key_of(keys[k], draw(&thread, KEYS)),
                                  .act = draw(&thread, 2) ? DKV_PUT : DKV_DROP,
                                  .value = {(uint8_t *)"v", 1, NULL},
                                  .deadline = DKV_NEVER};
        assert(dkv_commit(t, pairs, 3, &(size_t){0}) == 0);
    }
    atomic_fetch_sub(&thread.run->working, 1);
    return NULL;
}

static uint64_t number_of(const uint8_t *key, size_t key_len)
{
    uint64_t n = 0;
    for (size_t i = 4; i < key_len; i++) /* behind "key " */
        n = n * 10 + (uint64_t)(key[i] - '0');
    return n;
}

/* Take in the events there are: versions rise, and what vanishes was there. */
static void follow(dkv_table *t, uint64_t *at, uint64_t *last, uint64_t *told)
{
    static uint8_t bytes[DKV_KEY_CEILING + DKV_EVENT_HEADER];
    int64_t n;
    while ((n = dkv_read_events(t, at, bytes, sizeof bytes)) != 0) {
        assert(n > 0);
        for (const uint8_t *from = bytes; from < bytes + n;) {
            uint64_t version;
            uint16_t key_len;
            memcpy(&version, from, sizeof version);
            memcpy(&key_len, from + 8, sizeof key_len);
            dkv_event what = (dkv_event)from[10];
            uint64_t key = number_of(from + DKV_EVENT_HEADER, key_len);
            assert(version > *last && key < KEYS);
            assert(what == DKV_SET || (what == DKV_DELETED && told[key]));
            told[key] = what == DKV_SET ? version : 0;
            *last = version;
            from += DKV_EVENT_HEADER + key_len;
        }
    }
}

static void *watches(void *arg)
{
    static uint64_t told[KEYS];
    dkv_table *t = ((Run *)arg)->table;
    uint64_t at, last = 0;
    assert(dkv_watch(t, DKV_NOW, &at) == 0); /* before anything is written */
    Thread thread = enter(arg);
    while (atomic_load(&thread.run->working))
        follow(t, &at, &last, told);
    follow(t, &at, &last, told);
    for (uint64_t n = 0; n < KEYS; n++) {
        char key[32];
        dkv_hold h;
        assert(dkv_acquire(t, key, key_of(key, n), &h) >= 0 && h.version == told[n]);
        release(&h);
    }
    dkv_unwatch(t);
    return NULL;
}

/* Bring an order up to date: sorted anew when the journal is lost. */
static void catch_up(dkv_table *t, bool *there, bool anew)
{
    dkv_sorted *sorted;
    size_t key_len;
    for (size_t i = 0; i < DKV_SHARDS && !anew; i++) {
        uint8_t *bytes;
        size_t len;
        int rc = dkv_take_changes(t, i, &bytes, &len);
        assert(rc == 0 || rc == DKV_ELOST);
        anew = rc == DKV_ELOST;
        for (size_t at = 0; at < len;) {
            uint16_t length;
            dkv_hold h;
            memcpy(&length, bytes + at, sizeof length);
            at += sizeof length;
            int found = dkv_acquire(t, bytes + at, length, &h);
            release(&h);
            there[number_of(bytes + at, length)] = found;
            at += length;
        }
        dkv_free_changes(bytes);
    }
    if (!anew)
        return;
    dkv_note_changes(t, true);
    memset(there, 0, KEYS * sizeof *there);
    assert(dkv_sort_keys(t, &sorted) == 0);
    for (size_t i = 0; i < dkv_sorted_count(sorted); i++) {
        const uint8_t *key = dkv_sorted_key(sorted, i, &key_len);
        there[number_of(key, key_len)] = true;
    }
    dkv_sorted_free(sorted);
}

static void *keeps_the_order(void *arg)
{
    static bool there[KEYS];
    Thread thread = enter(arg);
    dkv_table *t = thread.run->table;
    catch_up(t, there, true);
    while (atomic_load(&thread.run->working))
        catch_up(t, there, draw(&thread, 100) == 0);
    catch_up(t, there, false);
    for (uint64_t n = 0; n < KEYS; n++) {
        char key[32];
        dkv_hold h;
        assert(dkv_acquire(t, key, key_of(key, n), &h) == there[n]);
        release(&h);
    }
    return NULL;
}

static void test_who_listens_knows_all_in_the_end(void)
{
    static Work *const others[] = {watches, keeps_the_order, NULL};
    dkv_table *t = dkv_new(0, false);
    assert(t);
    together(t, THREADS, comes_and_goes, others);
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
    test_checked_commits_neither_lose_nor_make_anything();
    test_who_listens_knows_all_in_the_end();
    test_the_limit_is_kept_and_what_fits_is_written();
    test_eviction_takes_every_write_of_every_thread();
    puts("test_threads: 10 passed, 0 failed");
    return 0;
}
