/*
 * Tests of table.h from C: a random walk beside a plain array as the model, and the same
 * walk with an allocator that fails now and then, after which the table has to be as it was.
 *
 *     test_table [seed]
 */
#include "decimal.h"
#include "test_model.h"

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
    failures = 0;
    for (int i = 0; i < STEPS; i++) {
        until_failure = draw(3) ? -1 : (long)draw(2);
        int rc = step(t);
        assert(rc == 0 || rc == DKV_ENOMEM);
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

static void test_many_keys_are_written_or_none(void)
{
    enum { MANY = 2000 };
    static char keys[MANY][64];
    static dkv_pair pairs[MANY];
    size_t at;
    for (long until = 0;; until++) {
        dkv_table *t = fresh();
        for (uint64_t n = 0; n < MANY; n++)
            pairs[n] = (dkv_pair){.key = (uint8_t *)keys[n],
                                  .key_len = key_of(keys[n], n / 2),
                                  .value = {(uint8_t *)keys[n], n % 2 ? 3 : 1, NULL},
                                  .deadline = DKV_NEVER};
        until_failure = until;
        int rc = dkv_commit(t, pairs, MANY, &at);
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
        release(&h);
        dkv_reap(t, let_go, 8);
        used_by(t);
    }
    sound(t);
    assert(dkv_count(t, &counts) == 0 && counts.evicted > STEPS / 4 && counts.entries > 100);
    done_with(t);
}

static void test_many_keys_keep_the_limit(bool evict)
{
    enum { MANY = 500 };
    static char keys[MANY][64];
    static dkv_pair pairs[MANY];
    static uint8_t value[900];
    dkv_table *t = fresh_with(400000, evict); /* more than one call can need */
    long refused = 0;
    for (int round = 0; round < 300; round++) {
        size_t n = 1 + draw(MANY);
        for (size_t i = 0; i < n; i++)
            pairs[i] = (dkv_pair){.key = (uint8_t *)keys[i],
                                  .key_len = key_of(keys[i], draw(KEYS)),
                                  .value = {value, draw(sizeof value), NULL},
                                  .deadline = DKV_NEVER};
        dkv_counts before, after;
        size_t at;
        assert(dkv_count(t, &before) == 0);
        int rc = dkv_commit(t, pairs, n, &at);
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
#ifdef DKV_WEAK_HASH
    enum { MANY = 12000 }; /* more than a slice in each shard there is */
#else
    enum { MANY = 700000 };
#endif
    for (uint64_t n = 0; n < MANY; n++) {
        assert(dkv_acquire(t, key, key_of(key, n), &h) == 0);
        assert(dkv_put(&h, V, now + 1 + (int64_t)(n % 1000)) == 0);
        release(&h);
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

/* Few of them, each in a shard that is half swept: nothing else there comes to be due. */
static void test_a_deadline_set_in_the_middle_of_a_sweep_is_kept(void)
{
    dkv_table *t = fresh();
    dkv_hold h;
    char key[64];
#ifdef DKV_WEAK_HASH
    enum { MANY = 12000, FEW = 2 };
#else
    enum { MANY = 300000, FEW = DKV_SHARDS };
#endif
    for (uint64_t n = 0; n < MANY; n++) {
        assert(dkv_acquire(t, key, key_of(key, n), &h) == 0);
        assert(dkv_put(&h, V, now + 1) == 0);
        release(&h);
    }
    now++;
    dkv_set_clock(t, now, now);
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        bool more;
        dkv_shard_sweep_slice(&t->shards[i], now, &more);
    }
    for (uint64_t n = MANY; n < MANY + FEW; n++) {
        assert(dkv_acquire(t, key, key_of(key, n), &h) == 0);
        assert(dkv_put(&h, V, now + 1) == 0);
        release(&h);
    }
    assert(dkv_sweep(t) >= 0);
    assert(dkv_next_expiry(t) == 1);
    now++;
    dkv_set_clock(t, now, now);
    assert(dkv_sweep(t) == FEW);
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
        release(&h);
    }
    for (uint64_t n = 0; n < KEYS; n++) {
        assert(dkv_acquire_any(t, &h) == 1);
        dkv_drop(&h);
        release(&h);
    }
    assert(dkv_acquire_any(t, &h) == 0);
    sound(t);
    done_with(t);
}

/* What is written over and over within one hold has one owner that the hold gives back;
   the rest wait for dkv_reap. */
static void test_a_hold_gives_back_one_owner(void)
{
    dkv_table *t = fresh();
    dkv_hold h;
    static uint8_t copy[1];
    dkv_value values[4];
    for (size_t i = 0; i < 4; i++) /* an even filler: each has an owner */
        values[i] = make_value(2000 + i, (uint8_t)(2 * i), copy);
    assert(owners == 4 && dkv_acquire(t, "a", 1, &h) == 0 && !h.gone.owner);
    for (size_t i = 0; i < 3; i++)
        assert(dkv_put(&h, values[i], DKV_NEVER) == 0);
    assert(h.gone.owner == values[0].owner && dkv_expire(&h, now + 5) == 0);
    assert(dkv_put(&h, values[3], now + 9) == 0 && h.value.len == 2003);
    dkv_drop(&h);
    assert(h.gone.owner == values[0].owner && owners == 4);
    release(&h);
    assert(owners == 3 && dkv_has_dead(t));
    dkv_reap(t, let_go, 2);
    assert(owners == 1 && dkv_has_dead(t));
    dkv_reap(t, let_go, 2);
    assert(owners == 0 && !dkv_has_dead(t));
    sound(t);
    done_with(t);
}

static void test_a_closed_table_answers_so(void)
{
    dkv_table *t = fresh();
    dkv_hold h;
    dkv_counts counts;
    size_t at;
    assert(dkv_acquire(t, "a", 1, &h) == 0);
    assert(dkv_put(&h, V, DKV_NEVER) == 0);
    release(&h);
    dkv_close(t);
    dkv_close(t);
    assert(dkv_closed(t));
    assert(dkv_acquire(t, "a", 1, &h) == DKV_ECLOSED);
    assert(dkv_acquire_any(t, &h) == DKV_ECLOSED);
    assert(dkv_commit(t, NULL, 0, &at) == DKV_ECLOSED);
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

static void test_an_integer_has_one_spelling(void)
{
    static const char *const others[] = {"",
                                         "-",
                                         "-0",
                                         "00",
                                         "07",
                                         "+1",
                                         " 1",
                                         "1 ",
                                         "1a",
                                         "--1",
                                         "0x1",
                                         "1e3",
                                         "1.0",
                                         "9223372036854775808",
                                         "/",
                                         ":",
                                         "-01",
                                         "-9223372036854775809",
                                         "-/",
                                         "10000000000000000000",
                                         "18446744073709551617"};
    static const int64_t integers[] = {0,
                                       1,
                                       -1,
                                       9,
                                       10,
                                       -10,
                                       INT64_MAX,
                                       INT64_MIN,
                                       INT64_MAX - 1,
                                       INT64_MIN + 1,
                                       1000000000000000000};
    int64_t number;
    char text[32];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert(!dkv_decimal((const uint8_t *)others[i], strlen(others[i]), &number));
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        size_t n = (size_t)sprintf(text, "%lld", (long long)integers[i]);
        assert(dkv_decimal((const uint8_t *)text, n, &number) && number == integers[i]);
    }
}

enum { STEADY = 240000 };
static uint8_t times_seen[STEADY];

static int count_steady(void *most, const uint8_t *key, size_t key_len)
{
    ++*(size_t *)most;
    uint64_t n = number_of(key, key_len);
    if (n < STEADY)
        times_seen[n]++;
    return 0;
}

static void test_a_walk_gives_what_stays_once_and_few_keys_a_time(void)
{
#ifdef DKV_WEAK_HASH
    uint64_t steady = 5000;
#else
    uint64_t steady = STEADY;
#endif
    dkv_table *t = fresh();
    dkv_hold h;
    char key[64];
    uint64_t cursor = 0, added = 0, calls = 0;
    size_t most = 0;
    memset(times_seen, 0, sizeof times_seen);
    for (uint64_t n = 0; n < steady; n++) {
        assert(dkv_acquire(t, key, key_of(key, n), &h) == 0);
        assert(dkv_put(&h, V, DKV_NEVER) == 0);
        release(&h);
    }
    do {
        size_t some = 0;
        assert(dkv_walk(t, &cursor, count_steady, &some) == 0);
        most = some > most ? some : most;
        for (; added < steady; added++) { /* after a slice of the first shard, all grow */
            assert(dkv_acquire(t, key, key_of(key, STEADY + added), &h) == 0);
            assert(dkv_put(&h, V, DKV_NEVER) == 0);
            release(&h);
        }
        calls++;
    } while (cursor);
    for (uint64_t n = 0; n < steady; n++)
        assert(times_seen[n] == 1);
#ifndef DKV_WEAK_HASH /* of all tags there are only a few then */
    assert(calls > 4 * DKV_SHARDS && most < 2 * 1024);
#endif
    done_with(t);
}

/* What is left of many pages is moved together as others fill. */
static void test_entries_are_found_where_they_were_moved_to(void)
{
#ifdef DKV_WEAK_HASH
    enum { MANY = 1000 };
#else
    enum { MANY = 100000 };
#endif
    static const uint8_t other[200];
    dkv_table *t = fresh();
    dkv_hold h;
    char key[64], why[100];
    for (uint64_t n = 0; n < MANY; n++) {
        assert(dkv_acquire(t, key, key_of(key, n), &h) == 0);
        assert(dkv_put(&h, (dkv_value){(uint8_t *)&n, sizeof n, NULL}, DKV_NEVER) == 0);
        release(&h);
    }
    for (uint64_t n = 0; n < MANY; n++) {
        assert(dkv_acquire(t, key, key_of(key, n), &h) == 1);
        if (n % 4)
            dkv_drop(&h);
        release(&h);
    }
    for (uint64_t n = MANY; n < MANY + MANY / 4; n++) {
        assert(dkv_acquire(t, key, key_of(key, n), &h) == 0);
        assert(dkv_put(&h, (dkv_value){other, sizeof other, NULL}, DKV_NEVER) == 0);
        release(&h);
    }
    for (uint64_t n = 0; n < MANY; n += 4) {
        assert(dkv_acquire(t, key, key_of(key, n), &h) == 1);
        assert(h.value.len == sizeof n && memcmp(h.value.bytes, &n, sizeof n) == 0);
        release(&h);
    }
    assert(dkv_check(t, why, sizeof why) == 0);
    done_with(t);
}

int main(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    printf("test_table: seed %llu\n", (unsigned long long)random_state);
    test_siphash_is_siphash_1_3();
    test_an_integer_has_one_spelling();
    test_a_random_walk_agrees_with_the_model();
    test_a_failed_allocation_changes_nothing(false);
    test_a_failed_allocation_changes_nothing(true);
    test_many_keys_are_written_or_none();
    test_a_full_table_refuses_and_keeps_what_it_has();
    test_eviction_makes_room_for_every_write();
    test_many_keys_keep_the_limit(false);
    test_many_keys_keep_the_limit(true);
    test_a_sweep_in_slices_finds_all();
    test_a_deadline_set_in_the_middle_of_a_sweep_is_kept();
    test_any_finds_every_entry();
    test_a_walk_gives_what_stays_once_and_few_keys_a_time();
    test_entries_are_found_where_they_were_moved_to();
    test_a_hold_gives_back_one_owner();
    test_a_closed_table_answers_so();
    puts("test_table: 17 passed, 0 failed");
    return 0;
}
