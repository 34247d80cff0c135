/*
 * A table with a log: what is applied is what the file says, with every allocation failing in
 * turn; what was abandoned, undone or evicted leaves no trace where it should not.
 */
#include "test_reader.h"

#include <unistd.h>

enum { FIRST = 40, ROOMY = 8 << 20, SEED_OF_FILE = 99, CHANGES = 60, SOME = 12 };

static int file = -1;

static dkv_table *logging(uint64_t limit, bool evict, bool undoing)
{
    dkv_table *t = dkv_new(limit, evict);
    if (!t)
        return NULL;
    if (dkv_log_begin(t, undoing) < 0) {
        dkv_free(t);
        return NULL;
    }
    assert(ftruncate(file, 0) == 0);
    dkv_log_file(t, file, FIRST, ROOMY, SEED_OF_FILE, 0);
    return t;
}

static void gone(dkv_table *t)
{
    dkv_close(t);
    dkv_reap(t, let_go, SIZE_MAX);
    dkv_free(t);
}

/* Both have the same keys with the same values, versions and deadlines. */
static int same_in(void *other, const uint8_t *key, size_t key_len)
{
    dkv_table **tables = other;
    dkv_hold a, b;
    uint8_t copy[64], value[4096];
    memcpy(copy, key, key_len);
    dkv_shard *held =
        &tables[0]->shards[dkv_shard_index(dkv_hash(&tables[0]->secret, key, key_len))];
    dkv_unlock_word(&held->locked); /* the walk has it */
    assert(dkv_acquire(tables[0], copy, key_len, &a) == 1);
    size_t n = a.value.len;
    uint64_t version = a.version;
    int64_t deadline = a.deadline;
    memcpy(value, a.value.bytes, n);
    dkv_release(&a);
    assert(dkv_acquire(tables[1], copy, key_len, &b) == 1);
    assert(b.version == version && b.deadline == deadline && b.value.len == n);
    assert(memcmp(b.value.bytes, value, n) == 0);
    dkv_release(&b);
    dkv_lock(held);
    return 0;
}

static void same(dkv_table *a, dkv_table *b)
{
    char why[100];
    dkv_counts counts[2];
    dkv_table *tables[2] = {a, b};
    uint64_t cursor = 0;
    assert(dkv_check(a, why, sizeof why) == 0 && dkv_check(b, why, sizeof why) == 0);
    assert(dkv_count(a, &counts[0]) == 0 && dkv_count(b, &counts[1]) == 0);
    assert(counts[0].entries == counts[1].entries);
    do
        assert(dkv_walk(a, &cursor, same_in, tables) == 0);
    while (cursor);
}

/* What the file says is what the table has. */
static void file_is_right(dkv_table *t)
{
    dkv_table *again = dkv_new(0, false);
    size_t size = (size_t)dkv_log_offset(t) - FIRST;
    uint8_t *bytes = malloc(size + 1);
    dkv_replaying r = {.offset = FIRST, .seed = SEED_OF_FILE};
    assert(again && bytes && dkv_log_begin(again, false) == 0);
    dkv_set_clock(again, dkv_now(t), dkv_wall(t));
    assert(pread(file, bytes, size, FIRST) == (ssize_t)size);
    assert(dkv_replay(again, bytes, size, &r) == (int64_t)size);
    assert(dkv_sweep(again) >= 0);
    same(t, again);
    free(bytes);
    gone(again);
}

typedef struct {
    char keys[SOME][64];
    uint8_t values[SOME][2000];
    dkv_pair pairs[SOME];
} Change;

/* Some pairs by chance; values that are lent count as such. */
static size_t some_change(dkv_table *t, Change *c, unsigned *seed)
{
    size_t n = 1 + (size_t)rand_r(seed) % SOME;
    for (size_t i = 0; i < n; i++) {
        dkv_pair *p = &c->pairs[i];
        *p = (dkv_pair){.key = (const uint8_t *)c->keys[i], .deadline = DKV_NEVER};
        p->key_len = key_of(c->keys[i], i * 8 + (uint64_t)rand_r(seed) % 8);
        int act = rand_r(seed) % 5;
        p->act = act == 0 ? DKV_DROP : act == 1 ? DKV_PUT_KEEPING : DKV_PUT;
        if (act == 2)
            p->deadline = dkv_now(t) + 1000 + rand_r(seed) % 100000;
        if (p->act != DKV_DROP)
            p->value = make_value((size_t)rand_r(seed) % 1500, (uint8_t)i, c->values[i]);
    }
    return n;
}

static void give_back(const Change *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (dkv_takes_owner(c->pairs[i].value))
            let_go(c->pairs[i].value.owner);
    }
}

/* One change all the way, or as far as it comes: 0 or a code. */
static int change(dkv_table *t, unsigned *seed)
{
    Change c;
    dkv_span span;
    size_t at, n = some_change(t, &c, seed);
    int rc = dkv_prepare(t, c.pairs, n, &at, &span);
    bool abandon = rand_r(seed) % 8 == 0;
    if (rc == 0 && abandon)
        dkv_abandon(&span);
    if (rc < 0 || abandon) {
        give_back(&c, n);
        return rc;
    }
    if (span.records)
        assert(dkv_log_write(t) == 0);
    dkv_apply(&span);
    return 0;
}

static void play(uint64_t limit, bool evict, long fail_at)
{
    unsigned seed = 7;
    long before = until_failure;
    dkv_table *t = logging(limit, evict, false);
    assert(t);
    dkv_set_clock(t, 1000000, 2000000000);
    until_failure = fail_at;
    for (int i = 0; i < CHANGES; i++) {
        int rc = change(t, &seed);
        assert(rc == 0 || rc == DKV_ENOMEM || (rc == DKV_EFULL && limit));
        dkv_set_clock(t, dkv_now(t) + 2000, dkv_wall(t) + 2000);
        if (i % 20 == 0)
            dkv_reap(t, let_go, 5);
    }
    until_failure = before;
    /* What was evicted last waits for a record. */
    static const uint8_t nothing[] = {DKV_OP_DELETE, 1, 0, 'x'};
    assert(dkv_log_body(t, nothing, sizeof nothing) == 0 && dkv_log_write(t) == 0);
    file_is_right(t);
    gone(t);
}

static void every_allocation_may_fail(uint64_t limit, bool evict)
{
    long n = 0;
    do {
        failures = 0;
        play(limit, evict, n++);
    } while (failures);
    printf("test_log: limit %d, evicts %d: each of %ld allocations failed\n", limit != 0, evict, n);
}

static void undoing_gives_back_what_was(void)
{
    unsigned seed = 3;
    dkv_table *t = logging(0, false, true);
    assert(t);
    dkv_set_clock(t, 1000000, 2000000000);
    for (int i = 0; i < CHANGES; i++)
        assert(change(t, &seed) == 0);
    dkv_undo_swap(t);
    dkv_undo_forget(t);
    file_is_right(t);
    uint64_t end = dkv_log_offset(t);
    for (int i = 0; i < CHANGES; i++) {
        assert(change(t, &seed) == 0);
        if (i == CHANGES / 2)
            dkv_undo_swap(t);
    }
    assert(dkv_undo_all(t, let_go) == 0);
    dkv_log_file(t, file, end, ROOMY, SEED_OF_FILE, 0);
    file_is_right(t);
    gone(t);
}

static void what_has_no_room_changes_nothing(void)
{
    Change c;
    dkv_span span;
    unsigned seed = 5;
    size_t at;
    dkv_table *t = logging(0, false, false);
    assert(t && change(t, &seed) == 0);
    dkv_log_room(t, dkv_log_offset(t) + 30);
    uint64_t last = dkv_last_version(t);
    c.pairs[0] = (dkv_pair){.key = (const uint8_t *)"key", .key_len = 3, .deadline = DKV_NEVER};
    assert(dkv_prepare(t, c.pairs, 1, &at, &span) == DKV_EROOM);
    assert(dkv_log_need(t) == DKV_HEAD + DKV_SET_SIZE + 3);
    assert(dkv_last_version(t) == last);
    dkv_log_room(t, ROOMY);
    file_is_right(t);
    gone(t);
}

int main(void)
{
    FILE *stream = tmpfile();
    assert(stream);
    file = fileno(stream);
    every_allocation_may_fail(0, false);
    every_allocation_may_fail(120000, false);
    every_allocation_may_fail(120000, true);
    undoing_gives_back_what_was();
    what_has_no_room_changes_nothing();
    assert(allocated == 0 && owners == 0);
    fclose(stream);
    puts("test_log: ok");
}
