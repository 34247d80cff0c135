/*
 * Tests of the keys in order, and of the journal of keys that appeared and vanished.
 *
 *     test_journal [seed]
 */
#include "test_reader.h"

static int by_bytes(const void *left, const void *right)
{
    const dkv_pair *a = left, *b = right;
    for (size_t i = 0; i < a->key_len && i < b->key_len; i++) {
        if (a->key[i] != b->key[i])
            return a->key[i] < b->key[i] ? -1 : 1;
    }
    return (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

/* Keys of all lengths to twelve over two or three bytes, zeros and the largest among them:
   most of them begin as others do, and some are others with zeros behind. */
static void test_keys_are_in_the_order_of_their_bytes(void)
{
    enum { MANY = 3000, LONGEST = 12 };
    static uint8_t keys[MANY][LONGEST];
    static dkv_pair sorted_here[MANY];
    static const uint8_t bytes[] = {0, 255, 127, 128};
    dkv_table *t = fresh();
    dkv_sorted *sorted;
    size_t key_len, count = 0;
    assert(dkv_sort_keys(t, &sorted) == 0 && !dkv_sorted_next(sorted, &key_len));
    dkv_sorted_free(sorted);
    for (size_t i = 0; i < MANY; i++) {
        size_t len = 1 + draw(LONGEST);
        for (size_t k = 0; k < len; k++)
            keys[i][k] = bytes[draw(2 + i % 3)];
        sorted_here[i] = (dkv_pair){.key = keys[i], .key_len = len};
        put_key(t, keys[i], len, i % 10 ? DKV_NEVER : now + 50);
        if (i % 10 == 0 && draw(2)) /* what expires may be there for good again */
            put_key(t, keys[i], len, DKV_NEVER);
    }
    now += 50;
    dkv_set_clock(t, now, now);
    qsort(sorted_here, MANY, sizeof *sorted_here, by_bytes);
    assert(dkv_sort_keys(t, &sorted) == 0);
    for (size_t i = 0; i < MANY; i++) {
        dkv_hold h;
        const dkv_pair *p = &sorted_here[i];
        if (i && by_bytes(p - 1, p) == 0)
            continue;
        int there = dkv_acquire(t, p->key, p->key_len, &h);
        release(&h);
        if (there)
            sorted_here[count++] = *p;
    }
    assert(count > 300);
    assert(dkv_clear(t) == 0); /* what was copied stays */
    for (size_t i = 0; i < count; i++) {
        const dkv_pair *p = &sorted_here[i];
        const uint8_t *key = dkv_sorted_next(sorted, &key_len);
        assert(key && key_len == p->key_len && memcmp(key, p->key, key_len) == 0);
    }
    assert(!dkv_sorted_next(sorted, &key_len));
    dkv_sorted_free(sorted);
    done_with(t);
}

/* The journal */

static void test_who_reads_the_journal_knows_all_keys(bool evict)
{
    dkv_table *t = fresh_with(evict ? sizeof(dkv_table) + 30000 : 0, evict);
    begun_anew = 0;
    walk_on(t, 2000);
    assert(begin_anew(t) == 0);
    for (int i = 0; i < 400; i++) {
        walk_on(t, (int)draw(evict ? 20 : 100)); /* fewer changes than a journal has room for */
        assert(dkv_sweep(t) >= 0);
        assert(catch_up(t) >= 0);
        order_is_right(t);
    }
    assert(begun_anew == 1);
    done_with(t);
}

static void test_a_cleared_table_has_lost_its_journal(void)
{
    dkv_table *t = fresh();
    uint8_t *bytes;
    size_t len;
    assert(begin_anew(t) == 0);
    put_key(t, (const uint8_t *)"1", 1, DKV_NEVER);
    assert(dkv_clear(t) == 0);
    for (int again = 0; again < 2; again++) { /* and goes on to say so */
        for (size_t i = 0; i < DKV_SHARDS; i++)
            assert(dkv_take_changes(t, i, &bytes, &len) == DKV_ELOST);
        put_key(t, (const uint8_t *)"2", 1, DKV_NEVER);
    }
    assert(begin_anew(t) == 0);
    assert(catch_up(t) == 0);
    drop_key(t, (const uint8_t *)"2", 1);
    assert(catch_up(t) == 1);
    order_is_right(t);
    done_with(t);
}

static void test_nothing_is_noted_but_what_appears_and_vanishes(void)
{
    dkv_table *t = fresh();
    const uint8_t *key = (const uint8_t *)"7";
    dkv_hold h;
    put_key(t, key, 1, DKV_NEVER);
    assert(catch_up(t) == 0); /* not asked for yet */
    dkv_note_changes(t, true);
    put_key(t, key, 1, DKV_NEVER);
    put_key(t, key, 1, now + 10);
    assert(dkv_acquire(t, key, 1, &h) == 1 && dkv_expire(&h, now + 20) == 0);
    release(&h);
    assert(dkv_read(t, "8", 1, &h) == 0);
    release(&h);
    assert(catch_up(t) == 0);
    now += 20;
    dkv_set_clock(t, now, now);
    assert(dkv_read(t, key, 1, &h) == 0);
    release(&h);
    assert(catch_up(t) == 1);
    put_key(t, key, 1, DKV_NEVER);
    drop_key(t, key, 1);
    assert(catch_up(t) == 2 && catch_up(t) == 0);
    put_key(t, key, 1, DKV_NEVER);
    dkv_note_changes(t, true); /* from an empty one on */
    assert(catch_up(t) == 0);
    put_key(t, (const uint8_t *)"9", 1, DKV_NEVER);
    long before = allocated;
    dkv_note_changes(t, false);
    assert(allocated == before - 1); /* a journal nobody wants takes no memory */
    drop_key(t, key, 1);
    assert(catch_up(t) == 0);
    done_with(t);
}

/* However often keys come and go, nobody reading: the journal stays within what its shard is
   worth. A thousand are kept. */
static void test_a_journal_nobody_reads_is_lost(void)
{
    dkv_table *t = fresh();
    uint8_t *bytes;
    size_t len;
    int lost = 0;
    put_key(t, (const uint8_t *)"1", 1, DKV_NEVER);
    put_key(t, (const uint8_t *)"2", 1, DKV_NEVER); /* an empty table gives its memory back */
    dkv_note_changes(t, true);
    long before = allocated;
    for (int i = 0; i < 500; i++) {
        drop_key(t, (const uint8_t *)"1", 1);
        put_key(t, (const uint8_t *)"1", 1, DKV_NEVER);
    }
    assert(allocated == before + 1 && catch_up(t) == 1000 && allocated == before);
    for (int i = 0; i < 2000; i++) {
        drop_key(t, (const uint8_t *)"1", 1);
        put_key(t, (const uint8_t *)"1", 1, DKV_NEVER);
    }
    assert(allocated == before); /* it is let go of at once, not when it is read */
    for (size_t i = 0; i < DKV_SHARDS; i++)
        lost += dkv_take_changes(t, i, &bytes, &len) == DKV_ELOST;
    assert(lost == 1);
    assert(begin_anew(t) == 0);
    order_is_right(t);
    done_with(t);
}

/* Keys as long as they get: the journal grows by what each takes. */
static void test_the_journal_has_long_keys(void)
{
    static uint8_t key[DKV_KEY_CEILING];
    static const size_t lengths[] = {1, 509, 510, 511, 512, 513, 1021, 1023, 65534, 65535};
    enum { LENGTHS = sizeof lengths / sizeof *lengths };
    dkv_table *t = fresh();
    bool seen[LENGTHS] = {false};
    dkv_note_changes(t, true);
    memset(key, 'k', sizeof key);
    for (size_t i = 0; i < LENGTHS; i++)
        put_key(t, key, lengths[i], DKV_NEVER);
    for (size_t shard = 0; shard < DKV_SHARDS; shard++) {
        uint8_t *bytes;
        size_t len;
        assert(dkv_take_changes(t, shard, &bytes, &len) == 0);
        for (size_t at = 0; at < len;) {
            uint16_t key_len;
            memcpy(&key_len, bytes + at, sizeof key_len);
            at += sizeof key_len;
            assert(memcmp(bytes + at, key, key_len) == 0);
            at += key_len;
            for (size_t i = 0; i < LENGTHS; i++)
                seen[i] = seen[i] || lengths[i] == key_len;
        }
        dkv_free_changes(bytes);
    }
    for (size_t i = 0; i < LENGTHS; i++)
        assert(seen[i]);
    done_with(t);
}

/* A removal works without memory; that the journal had none for it is told. */
static void test_a_journal_without_memory_is_lost(void)
{
    dkv_table *t = fresh();
    dkv_hold h;
    long lost = 0;
    dkv_note_changes(t, true);
    failures = 0;
    for (int i = 0; i < 600 && !failures; i++) {
        put_key(t, (const uint8_t *)"4", 1, DKV_NEVER);
        assert(dkv_acquire(t, "4", 1, &h) == 1);
        until_failure = 0;
        dkv_drop(&h);
        until_failure = -1;
        release(&h);
    }
    assert(failures == 1);
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        uint8_t *bytes;
        size_t len;
        lost += dkv_take_changes(t, i, &bytes, &len) == DKV_ELOST;
        dkv_free_changes(bytes);
    }
    assert(lost == 1 && dkv_acquire(t, "4", 1, &h) == 0);
    release(&h);
    done_with(t);
}

int main(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    printf("test_journal: seed %llu\n", (unsigned long long)random_state);
    test_keys_are_in_the_order_of_their_bytes();
    test_who_reads_the_journal_knows_all_keys(false);
    test_who_reads_the_journal_knows_all_keys(true);
    test_a_cleared_table_has_lost_its_journal();
    test_nothing_is_noted_but_what_appears_and_vanishes();
    test_a_journal_nobody_reads_is_lost();
    test_the_journal_has_long_keys();
    test_a_journal_without_memory_is_lost();
    puts("test_journal: 8 passed, 0 failed");
    return 0;
}
