/*
 * Every allocation that the table makes fails, one after the other: a fixed scenario over
 * all functions that allocate is played with the n-th allocation failing, once or from then
 * on, for every n until none is left to fail. After each step the key it was about agrees
 * with the model, after a failure the whole table does, and at the end nothing is left over.
 */
#include "test_reader.h"

enum { USED = 160, LEN = 120, LONG = 1500, MANY = 20 };

static uint64_t keys[USED]; /* numbers of keys that share a few shards, which then grow */
static bool looked;         /* the whole table was looked at after the first failure */
static bool watching, ordered;
static uint64_t place; /* in the ring */

static void choose_keys(void)
{
    dkv_table *t = fresh();
    char key[64];
    size_t found = 0;
    for (uint64_t n = 0; n < KEYS && found < USED; n++) {
        size_t len = key_of(key, n);
        uint64_t hash = dkv_hash(&t->secret, (const uint8_t *)key, len);
        if (dkv_shard_index(hash) % 16 == 0)
            keys[found++] = n;
    }
    assert(found == USED);
    done_with(t);
}

/* Whoever was told of all that happened knows what there is, though memory was short. */
static void news_are_right(dkv_table *t)
{
    if (ordered && catch_up(t) < 0)
        assert(begin_anew(t) == 0);
    if (ordered)
        order_is_right(t);
    assert(!watching || follow(t, &place, ROOM) >= 0);
    if (watching)
        what_was_told_is_right(t);
}

/* Look at what a step left, while allocations succeed. */
static void looks_right(dkv_table *t, uint64_t n, int rc)
{
    long left = until_failure;
    until_failure = -1;
    assert(rc >= 0 || (rc == DKV_ENOMEM && failures) || (rc == DKV_EFULL && t->limit));
    agrees(t, n);
    if (failures && !looked) {
        all_agree(t);
        news_are_right(t);
        looked = true;
    }
    until_failure = left;
}

static void write_one(dkv_table *t, uint64_t n, size_t len, int64_t deadline)
{
    uint8_t copy[LONG];
    char key[64];
    dkv_hold h;
    dkv_value value = make_value(len, (uint8_t)(n + len), copy);
    assert(dkv_acquire(t, key, key_of(key, n), &h) >= 0);
    int rc = dkv_put(&h, value, deadline);
    if (rc == 0)
        model[n] = (Expected){true, len, (uint8_t)(n + len), deadline, h.version};
    else if (dkv_takes_owner(value))
        let_go(value.owner);
    release(&h);
    looks_right(t, n, rc);
}

static void expire(dkv_table *t, uint64_t n, int64_t deadline)
{
    char key[64];
    dkv_hold h;
    int rc = dkv_acquire(t, key, key_of(key, n), &h);
    if (rc > 0) {
        rc = dkv_expire(&h, deadline);
        if (rc == 0)
            model[n].deadline = deadline;
    }
    release(&h);
    looks_right(t, n, rc);
}

static void drop_any(dkv_table *t)
{
    dkv_hold h;
    if (dkv_acquire_any(t, &h) == 0)
        return;
    uint64_t n = number_of(h.key, h.key_len);
    dkv_drop(&h);
    release(&h);
    model[n].there = false;
    looks_right(t, n, 0);
}

static void write_many(dkv_table *t, size_t first, int64_t deadline)
{
    static uint8_t copies[MANY][LONG];
    static char text[MANY][64];
    dkv_pair pairs[MANY];
    for (size_t i = 0; i < MANY; i++) {
        uint64_t n = keys[(first + i) % USED];
        pairs[i] = (dkv_pair){.key = (uint8_t *)text[i],
                              .key_len = key_of(text[i], n),
                              .value = make_value(i % 4 ? 50 : LONG, (uint8_t)(2 * i), copies[i]),
                              .deadline = deadline};
    }
    size_t at;
    int rc = dkv_commit(t, pairs, MANY, &at);
    for (size_t i = 0; i < MANY; i++) {
        uint64_t n = keys[(first + i) % USED];
        dkv_hold h;
        if (rc < 0) {
            if (dkv_takes_owner(pairs[i].value))
                let_go(pairs[i].value.owner);
            continue;
        }
        assert(dkv_acquire(t, text[i], pairs[i].key_len, &h) == 1);
        model[n] = (Expected){true, i % 4 ? 50 : LONG, (uint8_t)(2 * i), deadline, h.version};
        release(&h);
    }
    looks_right(t, keys[first], rc);
}

/* Some of everything a commit can do. */
static void change_many(dkv_table *t, size_t first)
{
    static uint8_t copies[MANY][LONG];
    static char text[MANY][64];
    dkv_pair pairs[MANY];
    long left = until_failure;
    size_t at;
    until_failure = -1;
    for (size_t i = 0; i < MANY; i++)
        agrees(t, keys[(first + i) % USED]);
    until_failure = left;
    for (size_t i = 0; i < MANY; i++) {
        uint64_t n = keys[(first + i) % USED];
        uint64_t version = model[n].there ? model[n].version : DKV_ABSENT;
        pairs[i] = (dkv_pair){.key = (uint8_t *)text[i],
                              .key_len = key_of(text[i], n),
                              .act = (dkv_act)(i % 4),
                              .deadline = i % 3 ? now + 70 : DKV_NEVER,
                              .want = i % 3 ? version : DKV_ANY};
        if (pairs[i].act == DKV_PUT || pairs[i].act == DKV_PUT_KEEPING)
            pairs[i].value = make_value(i % 5 ? 70 : LONG, (uint8_t)(2 * i), copies[i]);
    }
    int rc = dkv_commit(t, pairs, MANY, &at);
    for (size_t i = 0; i < MANY; i++) {
        Expected *e = &model[keys[(first + i) % USED]];
        dkv_value value = pairs[i].value;
        if (rc == 0 && value.len)
            *e = (Expected){true, value.len, value.bytes[0], pairs[i].until, pairs[i].version};
        else if (rc == 0 && pairs[i].act == DKV_DROP)
            e->there = false;
        else if (dkv_takes_owner(value))
            let_go(value.owner);
    }
    looks_right(t, keys[first], rc);
}

static void begin_news(dkv_table *t)
{
    begin_to_follow(t);
    int rc = dkv_watch(t, DKV_NOW, &place);
    watching = rc == 0;
    assert(watching || (rc == DKV_ENOMEM && failures));
    ordered = begin_anew(t) == 0;
}

static void end_news(dkv_table *t)
{
    long left = until_failure;
    until_failure = -1;
    news_are_right(t);
    if (watching)
        dkv_unwatch(t);
    dkv_note_changes(t, false);
    watching = ordered = false;
    until_failure = left;
}

static void play(dkv_table *t)
{
    begin_news(t);
    for (size_t i = 0; i < USED; i++)
        write_one(t, keys[i], i % 9 ? i % LEN : LONG, i % 5 ? DKV_NEVER : now + 10);
    for (size_t i = 0; i < USED; i += 7)
        expire(t, keys[i], i % 2 ? DKV_NEVER : now + 20);
    for (size_t i = 0; i < USED; i += 5)
        write_one(t, keys[i], i % 3 ? LEN + i : LONG, i % 2 ? DKV_NEVER : now + 30);
    for (size_t first = 0; first < USED; first += 30)
        write_many(t, first, first % 60 ? DKV_NEVER : now + 40);
    for (size_t first = 0; first < USED; first += 30)
        change_many(t, first);
    dkv_reap(t, let_go, 3);
    for (size_t i = 0; i < USED - 20; i++)
        drop_any(t);
    write_many(t, 0, now + 10);
    for (size_t i = 0; i < USED; i++)
        write_one(t, keys[i], 10, now + 20);
    now += 1000;
    dkv_set_clock(t, now, now);
    assert(dkv_sweep(t) >= 0);
    looks_right(t, keys[0], 0);
    end_news(t);
    begin_news(t);
    write_one(t, keys[1], LONG, DKV_NEVER);
    assert(dkv_clear(t) == 0);
    memset(model, 0, sizeof model);
    write_one(t, keys[2], LONG, DKV_NEVER);
    write_many(t, 3, DKV_NEVER);
    change_many(t, 9);
    end_news(t);
}

/* How many allocations there were to fail. */
static long fail_each(uint64_t limit, bool evict, bool from_then_on)
{
    for (long n = 0;; n++) {
        memset(model, 0, sizeof model);
        failures = 0;
        looked = false;
        for_good = from_then_on;
        until_failure = n;
        dkv_table *t = dkv_new(limit, evict);
        assert((t == NULL) == (n == 0));
        if (!t) {
            assert(allocated == 0);
            continue;
        }
        dkv_set_clock(t, now, now);
        play(t);
        until_failure = -1;
        all_agree(t);
        done_with(t);
        if (!failures)
            return n;
    }
}

int main(void)
{
    /* Tight enough to refuse or evict now and then. */
    static const uint64_t limit = sizeof(dkv_table) + 24000;
    setenv("DUMBKV_HASH_SEED", "1", 1); /* the same shards each time */
    choose_keys();
    int passed = 0;
    for (int good = 0; good < 2; good++) {
        for (int kind = 0; kind < 3; kind++, passed++) {
            long n = fail_each(kind ? limit : 0, kind == 2, good);
            printf("test_failing: %s, %s: each of %ld allocations failed\n",
                   kind == 0   ? "no limit"
                   : kind == 1 ? "a limit"
                               : "eviction",
                   good ? "for good" : "once", n);
            assert(n > 100);
        }
    }
    printf("test_failing: %d passed, 0 failed\n", passed);
    return 0;
}
