/*
 * What a table tells those who listen, while other threads write.
 *
 *     test_threads_news [rounds]
 */
#include "test_threads.h"

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
    const uint8_t *key;
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
    while ((key = dkv_sorted_next(sorted, &key_len)))
        there[number_of(key, key_len)] = true;
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

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = atoi(argv[1]);
    test_who_listens_knows_all_in_the_end();
    puts("test_threads_news: 1 passed, 0 failed");
    return 0;
}
