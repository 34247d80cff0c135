/*
 * Fuzzes the table: the input is a sequence of operations on it, played beside the model of
 * the tests, allocations that fail among them.
 */
#include "test_model.h"

enum { USED = 200, LONGEST = 3000, MOST = 24 };

/* The input; nought when it is at its end. */
typedef struct {
    const uint8_t *at, *end;
} Input;

static uint64_t byte(Input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static uint64_t number(Input *in)
{
    return byte(in) << 8 | byte(in);
}

static int64_t deadline(Input *in)
{
    uint64_t kind = byte(in);
    return kind & 1 ? DKV_NEVER : now + (int64_t)kind;
}

/* With allocations that succeed, for what looks and has to work. */
static long whole_again(void)
{
    long left = until_failure;
    until_failure = -1;
    return left;
}

static void expect(const dkv_table *t, int rc)
{
    assert(rc >= 0 || (rc == DKV_ENOMEM && failures) || (rc == DKV_EFULL && t->limit));
}

static void op_put(dkv_table *t, Input *in)
{
    static uint8_t copy[LONGEST];
    char key[64];
    dkv_hold h;
    uint64_t n = byte(in) % USED;
    size_t len = number(in) % LONGEST;
    uint8_t fill = (uint8_t)byte(in);
    int64_t until = deadline(in);
    int found = dkv_acquire(t, key, key_of(key, n), &h);
    dkv_value value = make_value(len, fill, copy);
    uint64_t version = found ? h.version : 0;
    int rc = dkv_put(&h, value, until);
    expect(t, rc);
    if (rc == 0) {
        assert(h.version > version);
        model[n] = (Expected){true, len, fill, until, h.version};
    } else if (dkv_takes_owner(value)) {
        let_go(value.owner);
    }
    release(&h);
}

static void op_expire(dkv_table *t, Input *in)
{
    char key[64];
    dkv_hold h;
    uint64_t n = byte(in) % USED;
    int64_t until = deadline(in);
    if (dkv_acquire(t, key, key_of(key, n), &h)) {
        int rc = dkv_expire(&h, until);
        expect(t, rc);
        if (rc == 0)
            model[n].deadline = until;
    }
    release(&h);
}

static void op_drop(dkv_table *t, Input *in)
{
    char key[64];
    dkv_hold h;
    uint64_t n = byte(in) % USED;
    if (dkv_acquire(t, key, key_of(key, n), &h))
        dkv_drop(&h);
    release(&h);
    model[n].there = false;
}

static void op_drop_any(dkv_table *t)
{
    dkv_hold h;
    if (dkv_acquire_any(t, &h)) {
        model[number_of(h.key, h.key_len)].there = false;
        dkv_drop(&h);
        release(&h);
    }
}

static void op_many(dkv_table *t, Input *in, bool put)
{
    static uint8_t copies[MOST][LONGEST];
    static char keys[MOST][64];
    dkv_pair pairs[MOST];
    uint64_t numbers[MOST];
    size_t n = byte(in) % MOST, len = number(in) % LONGEST;
    uint64_t first = byte(in), stride = byte(in);
    int64_t until = deadline(in);
    for (size_t i = 0; i < n; i++) {
        numbers[i] = (first + stride * i) % USED;
        pairs[i] = (dkv_pair){.key = (uint8_t *)keys[i], .key_len = key_of(keys[i], numbers[i])};
        if (put)
            pairs[i].value = make_value(len, (uint8_t)i, copies[i]);
        pairs[i].deadline = until;
    }
    size_t at;
    int rc = put ? dkv_commit(t, pairs, n, &at) : 0;
    expect(t, rc);
    for (size_t i = 0; i < n && rc < 0; i++) {
        if (dkv_takes_owner(pairs[i].value))
            let_go(pairs[i].value.owner);
    }
    if (rc < 0)
        return;
    dkv_span span;
    dkv_hold h;
    assert(dkv_begin(t, pairs, n, &span) == 0);
    for (size_t i = 0; i < n; i++) {
        Expected *e = &model[numbers[i]];
        int found = dkv_find(&span, i, put, &h);
        if (put) {
            assert(found == (until > now));
            *e = (Expected){found, len, (uint8_t)i, until, h.version};
            continue;
        }
        assert(found == (e->there && e->deadline > now) || t->evict);
        if (found) {
            dkv_drop(&h);
            if (h.gone.owner)
                let_go(h.gone.owner);
        }
        e->there = false;
    }
    dkv_end(&span);
}

static int op_each(void *count, const uint8_t *key, size_t key_len)
{
    assert(model[number_of(key, key_len)].there);
    ++*(uint64_t *)count;
    return 0;
}

/* Look at everything at once. */
static void op_look(dkv_table *t)
{
    long left = whole_again();
    uint64_t there = 0, bytes = 0, walked = 0;
    int64_t first = DKV_NEVER;
    dkv_counts counts;
    for (uint64_t n = 0; n < USED; n++) {
        char key[64];
        const Expected *e = &model[n];
        agrees(t, n);
        there += e->there;
        bytes += e->there ? e->len + key_of(key, n) : 0;
        if (e->there && e->deadline < first)
            first = e->deadline;
    }
    for (size_t i = 0; i < DKV_SHARDS; i++)
        assert(dkv_walk(t, i, op_each, &walked) == 0);
    assert(dkv_count(t, &counts) == 0);
    assert(counts.entries == there && counts.data_bytes == bytes && walked == there);
    assert(!t->limit || (counts.memory_bytes == dkv_used(t) && dkv_used(t) <= t->limit));
    int64_t next = dkv_next_expiry(t);
    assert(first == DKV_NEVER || (next >= 0 && next <= first - now));
    sound(t);
    until_failure = left;
}

static void play(dkv_table *t, Input *in)
{
    switch (byte(in) % 14) {
    case 0:
    case 1:
    case 2:
        op_put(t, in);
        break;
    case 3:
        op_drop(t, in);
        break;
    case 4:
        op_expire(t, in);
        break;
    case 5:
        op_many(t, in, true);
        break;
    case 6:
        op_many(t, in, false);
        break;
    case 7:
        op_drop_any(t);
        break;
    case 8:
        now += (int64_t)byte(in);
        dkv_set_clock(t, now, now);
        break;
    case 9:
        assert(dkv_sweep(t) >= 0);
        break;
    case 10:
        for_good = byte(in) & 1;
        until_failure = (long)(byte(in) % 8) - 1;
        break;
    case 11:
        agrees(t, byte(in) % USED);
        break;
    case 12:
        dkv_reap(t, let_go, byte(in));
        break;
    default:
        if (byte(in) == 7) {
            assert(dkv_clear(t) == 0);
            memset(model, 0, sizeof model);
        } else {
            op_look(t);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    Input in = {bytes, bytes + n};
    setenv("DUMBKV_HASH_SEED", "1", 1); /* the same input does the same each time */
    uint64_t kind = byte(&in) % 3;
    uint64_t limit = kind ? sizeof(dkv_table) + 4096 + 256 * byte(&in) : 0;
    dkv_table *t = fresh_with(limit, kind == 2);
    failures = 0;
    while (in.at < in.end)
        play(t, &in);
    op_look(t);
    until_failure = -1;
    done_with(t);
    return 0;
}
