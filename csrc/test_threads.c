/*
 * Threads that do everything at once on one table, and steps that nobody sees half of.
 *
 *     test_threads [rounds]
 */
#include "test_threads.h"

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
    puts("test_threads: 7 passed, 0 failed");
    return 0;
}
