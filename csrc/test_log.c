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
        if (i == CHANGES / 2 || i == CHANGES * 3 / 4) /* as when the first request is interrupted */
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

/* A record of these operations, as it stands at `offset`; the caller frees it. */
static dkv_buffer record_of(const dkv_operation *operations, size_t n, uint64_t offset)
{
    dkv_buffer b = {NULL, 0, 0};
    assert(dkv_buffer_want(&b, DKV_HEAD));
    b.used = DKV_HEAD;
    for (size_t i = 0; i < n; i++)
        assert(dkv_encode(&b, &operations[i]));
    dkv_seal(SEED_OF_FILE, offset, b.bytes, b.used);
    return b;
}

static dkv_operation about(dkv_kind kind, const char *key)
{
    return (dkv_operation){.kind = kind, .key = (const uint8_t *)key, .key_len = strlen(key)};
}

static dkv_operation set_to(const char *key, const char *value, uint64_t version, int64_t expiry)
{
    dkv_operation o = about(DKV_OP_SET, key);
    o.value = (const uint8_t *)value;
    o.value_len = strlen(value);
    o.version = version;
    o.expiry = expiry;
    return o;
}

static int64_t replay(dkv_table *t, const uint8_t *bytes, size_t size, dkv_replaying *r)
{
    *r = (dkv_replaying){.offset = FIRST, .seed = SEED_OF_FILE};
    return dkv_replay(t, bytes, size, r);
}

static void every_kind_of_operation_is_done_again(void)
{
    enum { EARLIER = 1999999999, LATER = 2000005000 };
    dkv_table *t = logging(0, false, false);
    dkv_hold h;
    dkv_replaying r;
    assert(t);
    dkv_set_clock(t, 1000000, 2000000000);
    dkv_operation all[] = {
        about(DKV_OP_SYNCED, ""),  set_to("gone", "x", 1, 0),      about(DKV_OP_CLEAR, ""),
        set_to("a", "1", 5, 0),    set_to("b", "2", 9, EARLIER),   set_to("c", "3", 7, EARLIER),
        about(DKV_OP_EXPIRE, "b"), about(DKV_OP_EXPIRE, "absent"), about(DKV_OP_DELETE, "absent"),
        set_to("d", "4", 8, 0),    about(DKV_OP_DELETE, "d"),      about(DKV_OP_END, ""),
    };
    all[6].expiry = LATER; /* before it was found to be gone */
    dkv_buffer b = record_of(all, sizeof all / sizeof *all, FIRST);
    assert(replay(t, b.bytes, b.used, &r) == (int64_t)b.used);
    assert(r.offset == FIRST + b.used && dkv_last_version(t) == 9);
    assert(dkv_sweep(t) == 1);
    assert(dkv_acquire(t, "a", 1, &h) == 1 && h.version == 5 && h.deadline == DKV_NEVER);
    dkv_release(&h);
    assert(dkv_acquire(t, "b", 1, &h) == 1 && h.version == 9 && h.deadline == 1005000);
    dkv_release(&h);
    for (const char *key = "cd"; *key; key++) {
        assert(dkv_acquire(t, key, 1, &h) == 0);
        dkv_release(&h);
    }
    dkv_buffer_free(&b);
    gone(t);
}

static void what_is_not_whole_is_not_done(void)
{
    dkv_table *t = logging(0, false, false);
    dkv_operation set = set_to("key", "value", 3, 0);
    dkv_buffer b = record_of(&set, 1, FIRST);
    dkv_replaying r;
    dkv_counts counts;
    assert(t);
    for (size_t size = 0; size < b.used; size++)
        assert(replay(t, b.bytes, size, &r) == 0 && r.offset == FIRST);
    for (size_t at = 0; at < b.used; at++) {
        b.bytes[at] ^= 0x40;
        assert(replay(t, b.bytes, b.used, &r) <= 0);
        b.bytes[at] ^= 0x40;
    }
    static const uint8_t zeros[DKV_HEAD];
    assert(replay(t, zeros, sizeof zeros, &r) == DKV_ECORRUPT && r.why);
    b.bytes[DKV_HEAD] = 77; /* no such operation, under a checksum that fits */
    dkv_seal(SEED_OF_FILE, FIRST, b.bytes, b.used);
    assert(replay(t, b.bytes, b.used, &r) == DKV_ECORRUPT && r.why);
    assert(dkv_count(t, &counts) == 0 && counts.entries == 0);
    dkv_buffer_free(&b);
    gone(t);
}

static void what_does_not_fit_is_told(void)
{
    enum { ROOM_FOR_ONE = 120000 };
    static char large[60000];
    dkv_table *t = logging(ROOM_FOR_ONE, false, false);
    dkv_replaying r;
    assert(t);
    memset(large, 'x', sizeof large - 1);
    dkv_set_clock(t, 1000000, 2000000000);
    dkv_operation sets[] = {set_to("old", large, 1, 1999999999), set_to("new", large, 2, 0),
                            set_to("more", large, 3, 0)};
    /* What has expired makes room; then there is none. */
    dkv_buffer b = record_of(sets, 2, FIRST);
    assert(replay(t, b.bytes, b.used, &r) == (int64_t)b.used && t->log->swept);
    dkv_buffer_free(&b);
    b = record_of(&sets[2], 1, FIRST);
    assert(replay(t, b.bytes, b.used, &r) == DKV_EFULL);
    dkv_buffer_free(&b);
    gone(t);
}

/* Of the records of a file, those sets are kept that the table still has. */
static void cleaning_keeps_what_is_still_so(void)
{
    unsigned seed = 11;
    bool kept;
    dkv_table *t = logging(0, false, false);
    assert(t);
    dkv_set_clock(t, 1000000, 2000000000);
    for (int i = 0; i < CHANGES; i++)
        assert(change(t, &seed) == 0);
    size_t size = (size_t)dkv_log_offset(t) - FIRST;
    uint8_t *bytes = malloc(size);
    assert(bytes && pread(file, bytes, size, FIRST) == (ssize_t)size);
    bytes[size - 1] ^= 1;
    assert(dkv_log_keep(t, bytes, size, FIRST, SEED_OF_FILE, &kept) == DKV_ECORRUPT);
    bytes[size - 1] ^= 1;
    dkv_log_file(t, file, FIRST, ROOMY, SEED_OF_FILE, size); /* over the old one */
    dkv_log_synced(t, FIRST);
    assert(dkv_log_keep(t, bytes, size, FIRST, SEED_OF_FILE, &kept) == (int64_t)size && kept);
    assert(dkv_log_write(t) == 0);
    assert(dkv_log_end(t) > size && dkv_log_records(t) == 1);
    file_is_right(t);
    dkv_log_room(t, dkv_log_offset(t));
    assert(dkv_log_keep(t, bytes, size, FIRST, SEED_OF_FILE, &kept) == DKV_EROOM);
    assert(dkv_clear(t) == 0);
    assert(dkv_log_keep(t, bytes, size, FIRST, SEED_OF_FILE, &kept) == (int64_t)size && !kept);
    free(bytes);
    gone(t);
}

/* A key's deadline moves, somebody watching: nobody is told before the record is written. */
static void events_wait_for_their_record(void)
{
    dkv_table *t = logging(0, false, true);
    uint8_t events[256];
    uint64_t from;
    size_t at;
    dkv_span span;
    assert(t);
    dkv_set_clock(t, 1000000, 2000000000);
    assert(dkv_watch(t, DKV_NOW, &from) == 0);
    static const dkv_act acts[] = {DKV_PUT, DKV_MOVE, DKV_LOOK, DKV_DROP, DKV_DROP};
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        dkv_pair p = {.key = (const uint8_t *)"key", .key_len = 3, .deadline = 2000000 + (int)i};
        p.act = acts[i];
        dkv_hold h;
        if (p.act == DKV_MOVE) {
            p.want = DKV_PRESENT;
            assert(dkv_acquire(t, p.key, p.key_len, &h) == 1);
            p.value = h.value;
            p.version = h.version;
            dkv_release(&h);
        }
        assert(dkv_prepare(t, &p, 1, &at, &span) == 0);
        assert(span.records == (p.act != DKV_LOOK && i != 4));
        assert(dkv_read_events(t, &from, events, sizeof events) == 0);
        if (span.records)
            assert(dkv_log_write(t) == 0);
        dkv_apply(&span);
        bool told = p.act == DKV_PUT || (p.act == DKV_DROP && i == 3);
        int64_t n = dkv_read_events(t, &from, events, sizeof events);
        assert(n == (told ? DKV_EVENT_HEADER + 3 : 0));
    }
    dkv_pair lost = {.key = (const uint8_t *)"lost", .key_len = 4, .deadline = DKV_NEVER};
    assert(dkv_prepare(t, &lost, 1, &at, &span) == 0);
    dkv_abandon(&span);
    dkv_unwatch(t);
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
    every_kind_of_operation_is_done_again();
    what_is_not_whole_is_not_done();
    what_does_not_fit_is_told();
    cleaning_keeps_what_is_still_so();
    events_wait_for_their_record();
    assert(allocated == 0 && owners == 0);
    fclose(stream);
    puts("test_log: ok");
}
