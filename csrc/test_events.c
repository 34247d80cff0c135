/*
 * Tests of the ring of events, and of the word that there is something new.
 *
 *     test_events [seed]
 */
#include "test_reader.h"

/* Everything that happened is told once, in order, and adds up to what there is. */
static void test_who_watches_knows_all_that_happened(bool evict)
{
    dkv_table *t = fresh_with(evict ? sizeof(dkv_table) + 30000 : 0, evict);
    dkv_counts before, after;
    walk_on(t, 100);
    begin_to_follow(t);
    uint64_t at = watch(t, DKV_NOW);
    assert(dkv_count(t, &before) == 0);
    for (int round = 0; round < 800; round++) {
        walk_on(t, (int)draw(80));
        if (draw(50) == 0) {
            assert(dkv_clear(t) == 0);
            memset(model, 0, sizeof model);
        }
        assert(dkv_sweep(t) >= 0);
        assert(follow(t, &at, draw(2) ? ROOM : 100) >= 0);
        what_was_told_is_right(t);
    }
    assert(dkv_count(t, &after) == 0);
    assert((uint64_t)told_kinds[DKV_SET] == after.sets - before.sets);
    assert((uint64_t)told_kinds[DKV_EXPIRED] == after.expired - before.expired);
    assert((uint64_t)told_kinds[DKV_EVICTED] == after.evicted - before.evicted);
    assert(told_kinds[DKV_DELETED] > 100 && told_kinds[DKV_CLEARED] > 2);
    assert(told_kinds[DKV_EXPIRED] > 100 && (told_kinds[DKV_EVICTED] > 1000) == evict);
    dkv_unwatch(t);
    done_with(t);
}

/* A step of each kind, and what is told of it. */
static void test_each_event_has_its_kind_and_version(void)
{
    dkv_table *t = fresh();
    const uint8_t *key = (const uint8_t *)"5";
    dkv_hold h;
    put_key(t, key, 1, DKV_NEVER);
    uint64_t at = watch(t, DKV_NOW);
    put_key(t, key, 1, now + 10); /* over the one before */
    assert(dkv_acquire(t, key, 1, &h) == 1);
    uint64_t version = h.version;
    assert(dkv_expire(&h, now + 20) == 0 && h.version == version); /* no event */
    release(&h);
    now += 20;
    dkv_set_clock(t, now, now);
    assert(dkv_sweep(t) == 1);
    put_key(t, key, 1, DKV_NEVER);
    drop_key(t, key, 1);
    assert(dkv_clear(t) == 0);
    static const dkv_event kinds[] = {DKV_SET, DKV_EXPIRED, DKV_SET, DKV_DELETED, DKV_CLEARED};
    assert(read_all(t, &at, ROOM) == 5 && seen[0].version == version);
    for (size_t i = 0; i < 5; i++)
        assert(seen[i].what == kinds[i] && seen[i].key == (i < 4 ? 5 : KEYS));
    assert(read_all(t, &at, ROOM) == 0);
    dkv_unwatch(t);
    done_with(t);
}

/* What is in the ring is whole, byte for byte, however it lies around its end. */
static void test_events_are_whole_around_the_end_of_the_ring(void)
{
    static uint8_t key[DKV_KEY_CEILING], bytes[ROOM];
    dkv_table *t = fresh();
    put_key(t, (const uint8_t *)"2", 1, DKV_NEVER); /* an empty table gives its memory back */
    uint64_t at = watch(t, DKV_NOW);
    uint64_t all = 0;
    for (int i = 0; i < 3000; i++) {
        size_t key_len = draw(20) ? 1 + draw(300) : i % 40 ? 1 + draw(sizeof key) : sizeof key;
        uint16_t len;
        memset(key, 1 + i % 250, key_len);
        put_key(t, key, key_len, DKV_NEVER);
        int64_t n = dkv_read_events(t, &at, bytes, sizeof bytes);
        assert(n == (int64_t)key_len + DKV_EVENT_HEADER);
        memcpy(&len, bytes + 8, sizeof len);
        assert(len == key_len && bytes[10] == DKV_SET);
        assert(memcmp(bytes + DKV_EVENT_HEADER, key, key_len) == 0);
        all += (uint64_t)n;
        drop_key(t, key, key_len);
        n = dkv_read_events(t, &at, bytes, sizeof bytes);
        assert(n == (int64_t)key_len + DKV_EVENT_HEADER && bytes[10] == DKV_DELETED);
        assert(memcmp(bytes + DKV_EVENT_HEADER, key, key_len) == 0);
    }
    assert(all > 10 * (uint64_t)DKV_RING);
    dkv_unwatch(t);
    done_with(t);
}

/* Only whole events are given; one for which there is no room waits for more. */
static void test_events_that_do_not_fit_come_later(void)
{
    static uint8_t bytes[ROOM];
    dkv_table *t = fresh();
    uint64_t at = watch(t, DKV_NOW), first = at;
    put_key(t, (const uint8_t *)"1", 1, DKV_NEVER);
    put_key(t, (const uint8_t *)"22", 2, DKV_NEVER);
    assert(dkv_read_events(t, &at, bytes, 11) == 0 && at == first);
    assert(dkv_read_events(t, &at, bytes, 12 + 12) == 12 && at == first + 12);
    assert(dkv_read_events(t, &at, bytes, 13) == 13 && at == first + 25);
    assert(dkv_read_events(t, &at, bytes, ROOM) == 0 && at == first + 25);
    dkv_unwatch(t);
    done_with(t);
}

/* The last DKV_RING bytes are kept and not one less; who had not read what is gone is told. */
static void test_who_reads_too_slowly_is_told(void)
{
    dkv_table *t = fresh();
    enum { EVENT = DKV_EVENT_HEADER + 5, FIT = DKV_RING / EVENT };
    char key[16];
    uint64_t at = watch(t, DKV_NOW), slow = at, second = at + EVENT;
    for (int i = 0; i < FIT; i++) {
        sprintf(key, "%05d", i % 20000);
        put_key(t, (uint8_t *)key, 5, DKV_NEVER);
    }
    assert(read_all(t, &at, ROOM) == FIT);
    at = slow;
    assert(read_all(t, &at, ROOM) == FIT);
    put_key(t, (const uint8_t *)"00000", 5, DKV_NEVER);
    assert(read_all(t, &slow, ROOM) == DKV_ELOST && read_all(t, &slow, ROOM) == DKV_ELOST);
    assert(read_all(t, &at, ROOM) == 1 && read_all(t, &second, ROOM) == FIT);
    dkv_unwatch(t);
    done_with(t);
}

static void test_watching_since_a_version_misses_nothing(void)
{
    dkv_table *t = fresh();
    uint64_t at, version[40];
    char key[16];
    dkv_hold h;
    put_key(t, (const uint8_t *)"1", 1, DKV_NEVER);
    uint64_t before = version_of(t, 1);
    long blocks = allocated;
    assert(dkv_watch(t, before - 1, &at) == DKV_ELOST && allocated == blocks);
    (void)watch(t, before); /* nothing since then is not kept */
    for (int i = 0; i < 40; i++) {
        put_key(t, (uint8_t *)key, (size_t)sprintf(key, "%d", 100 + i), DKV_NEVER);
        assert(dkv_acquire(t, key, 3, &h) == 1);
        version[i] = h.version;
        release(&h);
    }
    assert(dkv_watch(t, before - 1, &at) == DKV_ELOST && dkv_watch(t, 0, &at) == DKV_ELOST);
    at = watch(t, before);
    assert(read_all(t, &at, ROOM) == 40);
    for (int i = 0; i < 40; i++) { /* after it, and not with it; and between two */
        at = watch(t, version[i]);
        assert(read_all(t, &at, ROOM) == 39 - i && (i == 39 || seen[0].version == version[i + 1]));
        dkv_unwatch(t);
        now += 5;
        dkv_set_clock(t, now, now);
    }
    at = watch(t, version[39] + 1000);
    assert(read_all(t, &at, ROOM) == 0);
    at = watch(t, DKV_NOW);
    assert(read_all(t, &at, ROOM) == 0);
    for (int i = 0; i < DKV_RING / 12; i++) /* overwrite all there was */
        put_key(t, (const uint8_t *)"1", 1, DKV_NEVER);
    for (int i = 0; i < 40; i++)
        assert(dkv_watch(t, version[i], &at) == (i == 39 ? 0 : DKV_ELOST));
    for (int i = 0; i < 5; i++)
        dkv_unwatch(t);
    assert(!t->events.watchers && !t->events.ring);
    done_with(t);
}

/* The ring goes with the last who watches, and what happens then is not told to the next. */
static void test_nothing_is_kept_when_nobody_watches(void)
{
    dkv_table *t = fresh();
    long before = allocated;
    uint64_t first = watch(t, DKV_NOW), second = watch(t, DKV_NOW);
    assert(allocated == before + 1);
    put_key(t, (const uint8_t *)"1", 1, DKV_NEVER);
    dkv_unwatch(t);
    put_key(t, (const uint8_t *)"2", 1, DKV_NEVER);
    assert(read_all(t, &first, ROOM) == 2 && read_all(t, &second, ROOM) == 2);
    before = allocated;
    dkv_unwatch(t);
    assert(allocated == before - 1);
    dkv_hold h;
    assert(dkv_acquire(t, "2", 1, &h) == 1);
    uint64_t version = h.version, at;
    release(&h);
    drop_key(t, (const uint8_t *)"2", 1); /* takes no version */
    put_key(t, (const uint8_t *)"3", 1, DKV_NEVER);
    assert(dkv_watch(t, version, &at) == DKV_ELOST);
    at = watch(t, DKV_NOW);
    put_key(t, (const uint8_t *)"4", 1, DKV_NEVER);
    assert(read_all(t, &at, ROOM) == 1 && seen[0].key == 4);
    dkv_unwatch(t);
    until_failure = 0;
    assert(dkv_watch(t, DKV_NOW, &at) == DKV_ENOMEM && until_failure == -1);
    assert(!t->events.watchers);
    done_with(t);
}

static void test_news_is_told_once_to_who_expects_it(void)
{
    dkv_table *t = fresh();
    assert(!dkv_has_news(t));
    dkv_expect_news(t);
    assert(dkv_has_news(t) && !dkv_has_news(t));
    done_with(t);
}

static void test_a_closed_table_tells_nothing(void)
{
    static uint8_t bytes[ROOM];
    dkv_table *t = fresh();
    dkv_sorted *sorted;
    uint8_t *taken;
    size_t len;
    dkv_note_changes(t, true);
    uint64_t at = watch(t, DKV_NOW);
    put_key(t, (const uint8_t *)"1", 1, DKV_NEVER);
    dkv_close(t);
    assert(dkv_sort_keys(t, &sorted) == DKV_ECLOSED && !sorted);
    assert(dkv_take_changes(t, 0, &taken, &len) == DKV_ECLOSED && !taken);
    assert(dkv_read_events(t, &at, bytes, ROOM) == DKV_ECLOSED);
    assert(dkv_watch(t, DKV_NOW, &at) == DKV_ECLOSED);
    done_with(t); /* with a watch and a journal that nobody ended */
}

int main(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    printf("test_events: seed %llu\n", (unsigned long long)random_state);
    test_who_watches_knows_all_that_happened(false);
    test_who_watches_knows_all_that_happened(true);
    test_each_event_has_its_kind_and_version();
    test_events_are_whole_around_the_end_of_the_ring();
    test_events_that_do_not_fit_come_later();
    test_who_reads_too_slowly_is_told();
    test_watching_since_a_version_misses_nothing();
    test_nothing_is_kept_when_nobody_watches();
    test_news_is_told_once_to_who_expects_it();
    test_a_closed_table_tells_nothing();
    puts("test_events: 10 passed, 0 failed");
    return 0;
}
