/*
 * Fuzzes the table: the input is a sequence of operations on it, played beside the model of
 * the tests, allocations that fail among them, and read by who keeps the order and who watches.
 */
#define TEST_KEYS 200
#include "test_reader.h"

enum { USED = KEYS, LONGEST = 3000, MOST = 24 };

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
    dkv_value value = make_value(len, fill, copy);
    uint64_t version;
    int rc;
    /* Busy, as counts were settled while something to evict was looked for: all callers begin
       again then. Alone in the table, one does so once. */
    for (int again = 0;; again++) {
        int found = dkv_acquire(t, key, key_of(key, n), &h);
        version = found ? h.version : 0;
        rc = dkv_put(&h, value, until);
        if (rc != DKV_EBUSY || !t->evict || again)
            break;
        release(&h);
    }
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

/* A commit of anything: keys may come twice, and not be as wanted. */
static void op_commit(dkv_table *t, Input *in)
{
    static uint8_t copies[MOST][LONGEST];
    static char keys[MOST][64];
    static Expected before[KEYS];
    dkv_pair pairs[MOST];
    uint64_t numbers[MOST];
    size_t n = byte(in) % MOST, bad = SIZE_MAX, at = SIZE_MAX;
    long left = whole_again();
    for (size_t i = 0; i < n; i++) {
        uint64_t what = byte(in), number = numbers[i] = byte(in) % USED;
        agrees(t, number);
        uint64_t version = model[number].there ? model[number].version : DKV_ABSENT;
        pairs[i] = (dkv_pair){.key = (uint8_t *)keys[i],
                              .key_len = key_of(keys[i], number),
                              .act = (dkv_act)(what & 3),
                              .deadline = deadline(in),
                              .want = what & 4 ? version : DKV_ANY};
        if (what >= 250)
            pairs[i].want = version == DKV_ABSENT ? what : DKV_ABSENT;
        if (what >= 250 && bad == SIZE_MAX)
            bad = i;
        if (pairs[i].act == DKV_PUT || pairs[i].act == DKV_PUT_KEEPING)
            pairs[i].value = make_value(1 + what * 11 % LONGEST, (uint8_t)i, copies[i]);
    }
    until_failure = left;
    memcpy(before, model, sizeof before);
    int rc = dkv_commit(t, pairs, n, &at);
    assert((rc == DKV_ECONFLICT) == (bad != SIZE_MAX) && (rc != DKV_ECONFLICT || at == bad));
    if (rc != DKV_ECONFLICT)
        expect(t, rc);
    for (size_t i = 0; i < n; i++) {
        const dkv_pair *p = &pairs[i];
        Expected *e = &model[numbers[i]];
        if (rc < 0 && dkv_takes_owner(p->value))
            let_go(p->value.owner);
        if (rc < 0 || p->act == DKV_LOOK)
            continue;
        if (p->act == DKV_DROP) {
            assert(p->version == e->there || (t->evict && !p->version));
            e->there = false;
            continue;
        }
        const Expected *was = &before[numbers[i]];
        bool keeps = p->act == DKV_PUT_KEEPING && was->there;
        assert(p->until == (keeps ? was->deadline : p->deadline) && p->version > was->version);
        *e = (Expected){true, p->value.len, (uint8_t)i, p->until, p->version};
        e->there = p->until > now;
    }
}

static bool ordered;
static uint64_t places[3]; /* of those who watch, in the ring; the first follows */
static size_t watching;

static void op_order(dkv_table *t, Input *in)
{
    if (!ordered || byte(in) == 1) {
        ordered = begin_anew(t) == 0;
        return;
    }
    long left = whole_again();
    if (catch_up(t) < 0)
        assert(begin_anew(t) == 0);
    /* What expired meanwhile is cleared away by who sorts. */
    assert(dkv_sweep(t) >= 0 && catch_up(t) >= 0);
    order_is_right(t);
    until_failure = left;
}

static void end_order(dkv_table *t)
{
    dkv_note_changes(t, false);
    ordered = false;
}

static void op_watch(dkv_table *t, Input *in)
{
    uint64_t since = byte(in) & 1 ? DKV_NOW : model[byte(in) % USED].version;
    if (watching == 3)
        return;
    if (!watching) {
        begin_to_follow(t);
        since = DKV_NOW;
    }
    int rc = dkv_watch(t, since, &places[watching]);
    assert(rc == 0 || (rc == DKV_ENOMEM && failures) || (rc == DKV_ELOST && since != DKV_NOW));
    watching += rc == 0;
}

static void op_unwatch(dkv_table *t)
{
    if (!watching)
        return;
    watching--;
    dkv_unwatch(t);
}

static void op_events(dkv_table *t, Input *in)
{
    size_t room = byte(in) & 1 ? ROOM : 60;
    if (!watching)
        return;
    for (size_t i = 1; i < watching; i++) { /* the others only read */
        long n = read_all(t, &places[i], room);
        assert(n >= 0 || n == DKV_ELOST);
    }
    long left = whole_again();
    assert(dkv_sweep(t) >= 0);
    if (follow(t, &places[0], room) < 0) {
        while (watching)
            op_unwatch(t);
    } else {
        what_was_told_is_right(t);
    }
    until_failure = left;
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
    uint64_t cursor = 0;
    do
        assert(dkv_walk(t, &cursor, op_each, &walked) == 0);
    while (cursor);
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
    switch (byte(in) % 20) {
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
    case 13:
    case 14:
        op_commit(t, in);
        break;
    case 15:
        op_order(t, in);
        break;
    case 16:
        op_watch(t, in);
        break;
    case 17:
        op_events(t, in);
        break;
    case 18:
        if (byte(in) & 1)
            op_unwatch(t);
        else
            end_order(t);
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
    in.at = in.end;
    op_events(t, &in);
    if (ordered)
        op_order(t, &in);
    while (watching)
        op_unwatch(t);
    end_order(t);
    done_with(t);
    return 0;
}
