/*
 * Readers of what the table tells, for its tests: one of the journal, which knows what keys
 * there are, and one of the events, which knows their versions. Both hold what they know
 * against the table.
 */
#ifndef DKV_TEST_READER_H
#define DKV_TEST_READER_H

#include "test_model.h"

/* The journal */

static bool order[KEYS]; /* what its reader takes to be there */
static long begun_anew;  /* how often it did */

/* 0, or DKV_ENOMEM, when there is no order. */
static inline int begin_anew(dkv_table *t)
{
    dkv_sorted *sorted;
    const uint8_t *key;
    size_t key_len;
    dkv_note_changes(t, true);
    memset(order, 0, sizeof order);
    int rc = dkv_sort_keys(t, &sorted);
    if (rc < 0) {
        assert(rc == DKV_ENOMEM && failures && !sorted);
        return rc;
    }
    while ((key = dkv_sorted_next(sorted, &key_len)))
        order[number_of(key, key_len)] = true;
    dkv_sorted_free(sorted);
    begun_anew++;
    return 0;
}

/* Take all journals and ask what is there of the keys in them: how many, or DKV_ELOST. */
static inline long catch_up(dkv_table *t)
{
    long taken = 0;
    for (size_t shard = 0; shard < DKV_SHARDS; shard++) {
        uint8_t *bytes;
        size_t len;
        int rc = dkv_take_changes(t, shard, &bytes, &len);
        if (rc < 0) {
            assert(rc == DKV_ELOST && !bytes && !len);
            return rc;
        }
        for (size_t at = 0; at < len; taken++) {
            uint16_t key_len;
            dkv_hold h;
            memcpy(&key_len, bytes + at, sizeof key_len);
            at += sizeof key_len;
            uint64_t n = number_of(bytes + at, key_len);
            int found = dkv_acquire(t, bytes + at, key_len, &h);
            order[n] = found;
            release(&h);
            at += key_len;
            assert(at <= len);
        }
        dkv_free_changes(bytes);
    }
    return taken;
}

static inline void order_is_right(dkv_table *t)
{
    dkv_sorted *sorted;
    const uint8_t *key;
    size_t key_len, there = 0;
    assert(dkv_sort_keys(t, &sorted) == 0);
    for (size_t n = 0; n < KEYS; n++)
        there += order[n];
    for (; (key = dkv_sorted_next(sorted, &key_len)); there--)
        assert(order[number_of(key, key_len)]);
    assert(there == 0);
    dkv_sorted_free(sorted);
}

/* Events */

typedef struct {
    uint64_t version;
    dkv_event what;
    uint64_t key; /* KEYS for none */
} Event;

enum { ROOM = DKV_KEY_CEILING + DKV_EVENT_HEADER, SEEN = 60000 };

static Event seen[SEEN];

/* Read all there are, at most `room` bytes at a time: how many, or a code. */
static inline long read_all(dkv_table *t, uint64_t *at, size_t room)
{
    static uint8_t bytes[ROOM];
    long count = 0;
    for (;;) {
        int64_t n = dkv_read_events(t, at, bytes, room);
        if (n <= 0)
            return n < 0 ? (long)n : count;
        for (const uint8_t *from = bytes; from < bytes + n;) {
            uint16_t key_len;
            Event *e = &seen[count++];
            assert(count < SEEN);
            memcpy(&e->version, from, sizeof e->version);
            memcpy(&key_len, from + 8, sizeof key_len);
            e->what = (dkv_event)from[10];
            from += DKV_EVENT_HEADER;
            e->key = key_len ? number_of(from, key_len) : KEYS;
            assert((e->what == DKV_CLEARED) == (key_len == 0));
            from += key_len;
            assert(from <= bytes + n && (count == 1 || e[-1].version < e->version));
        }
    }
}

static inline uint64_t watch(dkv_table *t, uint64_t since)
{
    uint64_t at;
    assert(dkv_watch(t, since, &at) == 0);
    return at;
}

static uint64_t told[KEYS]; /* the version each key is at, nought when it is not there */
static uint64_t told_last;
static long told_kinds[5];

static inline uint64_t version_of(dkv_table *t, uint64_t n)
{
    char key[64];
    dkv_hold h;
    assert(dkv_acquire(t, key, key_of(key, n), &h) >= 0);
    uint64_t version = h.version;
    release(&h);
    return version;
}

/* Begin with what is there; the clock may not move until the watch has begun. */
static inline void begin_to_follow(dkv_table *t)
{
    memset(told_kinds, 0, sizeof told_kinds);
    told_last = 0;
    assert(dkv_sweep(t) >= 0);
    for (uint64_t n = 0; n < KEYS; n++)
        told[n] = version_of(t, n);
}

/* Take in all events: how many, or DKV_ELOST. */
static inline long follow(dkv_table *t, uint64_t *at, size_t room)
{
    long n = read_all(t, at, room);
    for (long i = 0; i < n; i++) {
        const Event *e = &seen[i];
        told_kinds[e->what]++;
        assert(e->version > told_last);
        told_last = e->version;
        if (e->what == DKV_CLEARED) {
            memset(told, 0, sizeof told);
            continue;
        }
        assert(e->what == DKV_SET || told[e->key]); /* what vanishes was there */
        told[e->key] = e->what == DKV_SET ? e->version : 0;
    }
    return n;
}

static inline void what_was_told_is_right(dkv_table *t)
{
    for (uint64_t n = 0; n < KEYS; n++)
        assert(version_of(t, n) == told[n]);
}

/* What they are told of */

static inline void put_key(dkv_table *t, const uint8_t *key, size_t key_len, int64_t deadline)
{
    dkv_hold h;
    assert(dkv_acquire(t, key, key_len, &h) >= 0);
    assert(dkv_put(&h, (dkv_value){(const uint8_t *)"v", 1, NULL}, deadline) == 0);
    release(&h);
}

static inline void drop_key(dkv_table *t, const uint8_t *key, size_t key_len)
{
    dkv_hold h;
    assert(dkv_acquire(t, key, key_len, &h) == 1);
    dkv_drop(&h);
    release(&h);
}

/* Writes of many keys, some of which go at once. */
static inline void commit_some(dkv_table *t)
{
    enum { SOME = 20 };
    char keys[SOME][64];
    dkv_pair pairs[SOME];
    size_t at;
    for (size_t i = 0; i < SOME; i++) {
        uint64_t n = draw(KEYS);
        pairs[i] = (dkv_pair){.key = (uint8_t *)keys[i],
                              .key_len = key_of(keys[i], n),
                              .act = draw(3) ? DKV_PUT : DKV_DROP,
                              .value = {(uint8_t *)"vv", draw(3), NULL},
                              .deadline = draw(3) ? DKV_NEVER : now + 1 + (int64_t)draw(900)};
    }
    assert(dkv_commit(t, pairs, SOME, &at) == 0);
    for (size_t i = 0; i < SOME; i++) {
        bool put = pairs[i].act == DKV_PUT;
        model[number_of(pairs[i].key, pairs[i].key_len)] =
            (Expected){put, put ? pairs[i].value.len : 0, 'v', pairs[i].deadline, pairs[i].version};
    }
}

/* A walk with everything that makes keys appear and vanish in it. */
static inline void walk_on(dkv_table *t, int steps)
{
    for (int i = 0; i < steps; i++) {
        if (t->evict) /* the model of a single step does not know of evictions */
            commit_some(t);
        else if (draw(30) == 0)
            commit_some(t);
        else
            assert(step(t) == 0);
        if (draw(100) == 0)
            assert(dkv_sweep(t) >= 0);
        if (draw(200) == 0) {
            dkv_hold h;
            if (dkv_acquire_any(t, &h) == 1) {
                model[number_of(h.key, h.key_len)].there = false;
                dkv_drop(&h);
                release(&h);
            }
        }
        now++;
        dkv_set_clock(t, now, now);
    }
}

#endif
