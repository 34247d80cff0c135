/*
 * Tests of dkv_commit: what each pair asks for is done as one step or not at all.
 *
 *     test_many [seed]
 */
#include "test_model.h"

enum { MOST = 24, POOL = 60, LONG = 1500 };

static char texts[MOST][64];
static uint8_t copies[MOST][LONG];
static uint64_t numbers[MOST];
static dkv_pair pairs[MOST];

/* Pair `i` is about key `n`; what was there before is in `version`, to see that it is replaced. */
static dkv_pair *pair(size_t i, uint64_t n, dkv_act act, uint64_t want)
{
    numbers[i] = n;
    pairs[i] = (dkv_pair){.key = (uint8_t *)texts[i],
                          .key_len = key_of(texts[i], n),
                          .act = act,
                          .deadline = DKV_NEVER,
                          .want = want,
                          .version = 77};
    return &pairs[i];
}

static dkv_pair *writing(size_t i, uint64_t n, dkv_act act, uint64_t want, size_t len, uint8_t fill)
{
    dkv_pair *p = pair(i, n, act, want);
    p->value = make_value(len, fill, copies[i]);
    return p;
}

/* Commit, and let go of what a failed one did not take. `*at` is no pair before. */
static int commit_of(dkv_table *t, size_t n, size_t *at)
{
    *at = SIZE_MAX;
    int rc = dkv_commit(t, pairs, n, at);
    for (size_t i = 0; i < n && rc < 0; i++) {
        if (dkv_takes_owner(pairs[i].value))
            let_go(pairs[i].value.owner);
    }
    return rc;
}

static void put(dkv_table *t, uint64_t n, size_t len, uint8_t fill, int64_t deadline)
{
    static uint8_t copy[5000];
    char key[64];
    dkv_hold h;
    assert(dkv_acquire(t, key, key_of(key, n), &h) >= 0);
    assert(dkv_put(&h, make_value(len, fill, copy), deadline) == 0);
    model[n] = (Expected){true, len, fill, deadline, h.version};
    release(&h);
}

static void pool_agrees(dkv_table *t)
{
    for (uint64_t n = 0; n < POOL; n++)
        agrees(t, n);
    sound(t);
    dkv_counts counts;
    assert(dkv_count(t, &counts) == 0);
    assert(!t->limit || (counts.memory_bytes == dkv_used(t) && dkv_used(t) <= t->limit));
}

static void test_each_act_does_what_it_says(void)
{
    dkv_table *t = fresh();
    dkv_counts before, after;
    size_t at;
    put(t, 1, 10, 'a', DKV_NEVER);
    put(t, 2, 10, 'b', now + 50);
    put(t, 3, LONG, 'd', DKV_NEVER);
    uint64_t looked = model[2].version, last = model[3].version;
    assert(dkv_count(t, &before) == 0);
    writing(0, 1, DKV_PUT, DKV_ANY, 20, 'x')->deadline = now + 9;
    pair(1, 2, DKV_LOOK, looked);
    pair(2, 3, DKV_DROP, DKV_ANY);
    pair(3, 4, DKV_DROP, DKV_ABSENT);
    writing(4, 5, DKV_PUT, DKV_ABSENT, LONG, 'z');
    pair(5, 6, DKV_LOOK, DKV_ABSENT);
    assert(commit_of(t, 6, &at) == 0);
    assert(pairs[0].version > last && pairs[4].version > pairs[0].version);
    assert(pairs[2].version == 1 && pairs[3].version == 0);
    model[1] = (Expected){true, 20, 'x', now + 9, pairs[0].version};
    model[3].there = false;
    model[5] = (Expected){true, LONG, 'z', DKV_NEVER, pairs[4].version};
    assert(dkv_count(t, &after) == 0);
    assert(after.sets == before.sets + 2 && after.deletes == before.deletes + 1);
    assert(after.hits == before.hits && after.misses == before.misses && after.entries == 3);
    pool_agrees(t);
    done_with(t);
}

/* A check that fails names its pair, the first of those that do, and nothing is changed: not
   by the pairs before it, nor in the order of reads. */
static void test_a_failed_check_changes_nothing(void)
{
    static const dkv_act acts[] = {DKV_PUT, DKV_PUT_KEEPING, DKV_DROP, DKV_LOOK};
    dkv_table *t = fresh();
    size_t at;
    put(t, 1, 10, 'a', DKV_NEVER);
    put(t, 2, LONG, 'b', now + 50);
    for (size_t a = 0; a < 4; a++) {
        const uint64_t wrong[] = {DKV_ABSENT, model[2].version - 1, model[2].version + 1, 1};
        for (size_t w = 0; w < 5; w++) {
            bool absent = w == 4; /* a version is wanted of a key that is not there */
            writing(0, 1, DKV_PUT, model[1].version, LONG, 'c');
            pair(1, 7, DKV_DROP, DKV_ANY);
            writing(2, 8, DKV_PUT, DKV_ABSENT, LONG, 'd');
            if (a < 2)
                writing(3, absent ? 9 : 2, acts[a], absent ? 1 : wrong[w], LONG, 'e');
            else
                pair(3, absent ? 9 : 2, acts[a], absent ? 1 : wrong[w]);
            pair(4, 1, DKV_DROP, DKV_ABSENT);
            assert(commit_of(t, 5, &at) == DKV_ECONFLICT && at == 3);
            pool_agrees(t);
        }
    }
    assert(dkv_has_dead(t) == false);
    done_with(t);
}

static void test_keeping_keeps_the_deadline_there_was(void)
{
    dkv_table *t = fresh();
    size_t at;
    put(t, 1, 10, 'a', now + 50);
    put(t, 2, 10, 'b', DKV_NEVER);
    put(t, 3, 10, 'c', now + 5);
    put(t, 5, LONG, 'e', now + 60);
    now += 5; /* the third has expired: nothing to keep */
    dkv_set_clock(t, now, now);
    int64_t given = now + 1000;
    for (size_t i = 0; i < 5; i++)
        writing(i, i + 1, DKV_PUT_KEEPING, DKV_ANY, 30, 'k')->deadline = given;
    assert(commit_of(t, 5, &at) == 0);
    const int64_t kept[] = {now + 45, DKV_NEVER, given, given, now + 55};
    for (size_t i = 0; i < 5; i++) {
        assert(pairs[i].until == kept[i]);
        model[i + 1] = (Expected){true, 30, 'k', kept[i], pairs[i].version};
    }
    pool_agrees(t);
    done_with(t);
}

/* From its deadline on a key is absent to a commit too, which clears it away. */
static void test_what_has_expired_is_absent(void)
{
    dkv_table *t = fresh();
    dkv_counts counts;
    size_t at;
    for (uint64_t n = 0; n < 4; n++)
        put(t, n, n % 2 ? LONG : 5, 2, now + 10);
    uint64_t version = model[0].version;
    now += 10;
    dkv_set_clock(t, now, now);
    pair(0, 0, DKV_LOOK, version);
    assert(commit_of(t, 1, &at) == DKV_ECONFLICT && at == 0);
    writing(0, 0, DKV_PUT, DKV_ABSENT, 7, 'n');
    pair(1, 1, DKV_DROP, DKV_ABSENT);
    writing(2, 2, DKV_PUT, DKV_ANY, 7, 'm');
    pair(3, 3, DKV_DROP, DKV_ANY);
    assert(commit_of(t, 4, &at) == 0 && pairs[1].version == 0 && pairs[3].version == 0);
    model[0] = (Expected){true, 7, 'n', DKV_NEVER, pairs[0].version};
    model[2] = (Expected){true, 7, 'm', DKV_NEVER, pairs[2].version};
    assert(dkv_count(t, &counts) == 0 && counts.expired == 4 && counts.deletes == 0);
    pool_agrees(t);
    done_with(t);
}

/* In their order, each after the one before; what is wanted is what was there before all. */
static void test_a_key_may_come_more_than_once(void)
{
    dkv_table *t = fresh();
    size_t at;
    put(t, 1, LONG, 2, DKV_NEVER);
    uint64_t version = model[1].version;
    writing(0, 1, DKV_PUT, version, LONG, 4);
    writing(1, 1, DKV_PUT, version, 3, 5);
    pair(2, 1, DKV_DROP, version);
    pair(3, 1, DKV_DROP, version);
    writing(4, 1, DKV_PUT, version, LONG, 6);
    pair(5, 1, DKV_LOOK, version);
    writing(6, 2, DKV_PUT, DKV_ABSENT, 9, 7);
    writing(7, 2, DKV_PUT, DKV_ABSENT, LONG, 8);
    pair(8, 2, DKV_DROP, DKV_ABSENT);
    assert(commit_of(t, 9, &at) == 0);
    assert(pairs[0].version > version && pairs[1].version > pairs[0].version);
    assert(pairs[2].version == 1 && pairs[3].version == 0 && pairs[4].version > pairs[1].version);
    assert(pairs[8].version == 1);
    model[1] = (Expected){true, LONG, 6, DKV_NEVER, pairs[4].version};
    pool_agrees(t);
    done_with(t);
}

/* The pairs of a random commit, and what it has to answer for what the model has. */
static int draw_pairs(dkv_table *t, size_t n, size_t *at)
{
    int answer = 0;
    *at = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        uint64_t number = draw(POOL);
        uint64_t right, want = DKV_ANY;
        dkv_act act = (dkv_act)draw(4);
        agrees(t, number); /* what is evicted or has expired is known to the model after it */
        right = model[number].there ? model[number].version : DKV_ABSENT;
        if (draw(3) == 0)
            want = right;
        if (draw(8 * MOST) == 0)
            want = right == DKV_ABSENT ? 5 : draw(2) ? DKV_ABSENT : right - 1;
        if (want != DKV_ANY && want != right && !answer) {
            answer = DKV_ECONFLICT;
            *at = i;
        }
        if (act == DKV_PUT || act == DKV_PUT_KEEPING)
            writing(i, number, act, want, draw(9) ? draw(100) : draw(LONG), (uint8_t)draw(251));
        else
            pair(i, number, act, want);
        pairs[i].deadline = draw(2) ? DKV_NEVER : now + 1 + (int64_t)draw(300);
    }
    return answer;
}

/* Put into the model what a commit did. */
static void did(const dkv_table *t, size_t n)
{
    static Expected old[KEYS];
    uint64_t last = 0;
    memcpy(old, model, sizeof old);
    for (size_t i = 0; i < n; i++) {
        const dkv_pair *p = &pairs[i];
        Expected *e = &model[numbers[i]];
        const Expected *was = &old[numbers[i]];
        if (p->act == DKV_DROP) { /* a table that evicts may have dropped it before its turn */
            assert(p->version == e->there || (t->evict && !p->version));
            e->there = false;
        } else if (p->act != DKV_LOOK) {
            bool keeps = p->act == DKV_PUT_KEEPING && was->there;
            int64_t until = keeps ? was->deadline : p->deadline;
            assert(p->version > last && p->version > was->version && p->until == until);
            last = p->version;
            *e = (Expected){true, p->value.len, p->value.len ? p->value.bytes[0] : 0, until, last};
        } else {
            assert(p->version == 77);
        }
    }
}

/* What a commit wrote last is there right after it, even where room is made by eviction. */
static void is_there(dkv_table *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool last = pairs[i].act == DKV_PUT || pairs[i].act == DKV_PUT_KEEPING;
        for (size_t k = i + 1; k < n; k++)
            last = last && numbers[k] != numbers[i];
        agrees(t, numbers[i]);
        assert(!last || model[numbers[i]].there);
    }
}

static void test_random_commits_agree_with_the_model(uint64_t limit, bool evict, bool failing)
{
    dkv_table *t = fresh_with(limit, evict);
    long done = 0, conflicts = 0, refused = 0;
    failures = 0;
    for (int round = 0; round < 6000; round++) {
        size_t n = draw(MOST + 1), at, where;
        int answer = draw_pairs(t, n, &where);
        for_good = draw(2);
        until_failure = failing && draw(2) ? (long)draw(12) : -1;
        int rc = commit_of(t, n, &at);
        until_failure = -1;
        if (answer) {
            assert(rc == answer && at == where);
            conflicts++;
        } else if (rc == 0) {
            did(t, n);
            is_there(t, n);
            done++;
        } else {
            assert((rc == DKV_EFULL && limit) || (rc == DKV_ENOMEM && failures));
            refused++;
        }
        if (round % 50 == 0)
            pool_agrees(t);
        dkv_reap(t, let_go, draw(9));
        now += (int64_t)draw(30);
        dkv_set_clock(t, now, now);
    }
    pool_agrees(t);
    assert(done > 3000 && conflicts > 100 && failures * failing >= 500 * failing);
    assert(evict || !(limit || failing) || refused > 100);
    done_with(t);
}

/* The memory of a table with one key more. */
static uint64_t memory_of(dkv_table *t)
{
    dkv_counts counts;
    assert(dkv_count(t, &counts) == 0);
    return counts.memory_bytes;
}

/* A commit needs what it adds beyond what it replaces and removes, to the byte. */
static void test_the_limit_is_over_what_is_left_after_all(void)
{
    enum { LEN = 600 };
    size_t at;
    setenv("DUMBKV_HASH_SEED", "1", 1); /* the same slots in each table */
    dkv_table *t = fresh();
    for (size_t i = 0; i < 3; i++) /* room for all the slots there will be */
        writing(i, i, DKV_PUT, DKV_ABSENT, LEN, (uint8_t)i);
    assert(commit_of(t, 3, &at) == 0);
    uint64_t full = memory_of(t);
    done_with(t);
    for (uint64_t less = 0; less < 2; less++) {
        t = fresh_with(full - less, false);
        for (size_t i = 0; i < 3; i++)
            writing(i, i, DKV_PUT, DKV_ABSENT, LEN, (uint8_t)i);
        assert(commit_of(t, 3, &at) == (less ? DKV_EFULL : 0));
        assert(dkv_used(t) == (less ? sizeof(dkv_table) : full));
        if (!less) {
            for (size_t i = 0; i < 3; i++)
                model[i] = (Expected){true, LEN, (uint8_t)i, DKV_NEVER, pairs[i].version};
            for (size_t i = 0; i < 3; i++) /* as long as they were */
                writing(i, i, DKV_PUT, DKV_ANY, LEN, 9);
            assert(commit_of(t, 3, &at) == 0);
            for (size_t i = 0; i < 3; i++)
                model[i] = (Expected){true, LEN, 9, DKV_NEVER, pairs[i].version};
            writing(0, 0, DKV_PUT, DKV_ANY, 2 * LEN, 9);
            assert(commit_of(t, 1, &at) == DKV_EFULL);
            pool_agrees(t);
            writing(0, 0, DKV_PUT, DKV_ANY, 3 * LEN / 2, 9); /* in the place of another */
            pair(1, 1, DKV_DROP, DKV_ANY);
            assert(commit_of(t, 2, &at) == 0);
            model[0] = (Expected){true, 3 * LEN / 2, 9, DKV_NEVER, pairs[0].version};
            model[1].there = false;
        }
        pool_agrees(t);
        done_with(t);
    }
    unsetenv("DUMBKV_HASH_SEED");
}

static void test_eviction_never_fails_what_fits(void)
{
    size_t at;
    dkv_counts counts;
    dkv_table *t = fresh_with(sizeof(dkv_table) + 60000, true);
    for (int round = 0; round < 500; round++) {
        for (size_t i = 0; i < MOST; i++)
            writing(i, ((uint64_t)round * 7 + i) % KEYS, DKV_PUT, DKV_ANY, i % 5 ? 300 : LONG, 2);
        assert(commit_of(t, MOST, &at) == 0);
        for (size_t i = 0; i < MOST; i++)
            model[numbers[i]] =
                (Expected){true, pairs[i].value.len, 2, DKV_NEVER, pairs[i].version};
        is_there(t, MOST);
        assert(dkv_used(t) <= dkv_limit(t));
        dkv_reap(t, let_go, SIZE_MAX);
    }
    /* More than the limit at once is refused, whatever may be evicted. */
    static uint8_t large[60000];
    pair(0, 1, DKV_PUT, DKV_ANY)->value = (dkv_value){large, sizeof large, NULL};
    pair(1, 2, DKV_PUT, DKV_ANY)->value = (dkv_value){large, 1000, NULL};
    assert(commit_of(t, 2, &at) == DKV_EFULL);
    assert(dkv_count(t, &counts) == 0 && counts.evicted > 500);
    pool_agrees(t);
    done_with(t);
}

/* What many removals leave is as small as what one by one leave. */
static void test_removing_many_gives_their_memory_back(void)
{
    enum { AT_ONCE = 1000, ALL = 100 * AT_ONCE };
    static char keys[AT_ONCE][64];
    static dkv_pair many[AT_ONCE];
    size_t at;
    dkv_table *t = fresh();
#ifdef DKV_WEAK_HASH
    uint64_t all = ALL / 50; /* so many keys would take for ever */
#else
    uint64_t all = ALL;
#endif
    for (int drop = 0; drop < 2; drop++) {
        for (uint64_t n = 0; n < all; n += AT_ONCE) {
            for (uint64_t i = 0; i < AT_ONCE; i++)
                many[i] = (dkv_pair){.key = (uint8_t *)keys[i],
                                     .key_len = key_of(keys[i], n + i),
                                     .act = drop ? DKV_DROP : DKV_PUT,
                                     .deadline = DKV_NEVER};
            assert(dkv_commit(t, many, AT_ONCE, &at) == 0);
        }
        sound(t);
    }
    assert(memory_of(t) < sizeof(dkv_table) + DKV_SHARDS * 512);
    done_with(t);
}

int main(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    printf("test_many: seed %llu\n", (unsigned long long)random_state);
    test_each_act_does_what_it_says();
    test_a_failed_check_changes_nothing();
    test_keeping_keeps_the_deadline_there_was();
    test_what_has_expired_is_absent();
    test_a_key_may_come_more_than_once();
    test_random_commits_agree_with_the_model(0, false, false);
    test_random_commits_agree_with_the_model(0, false, true);
    test_random_commits_agree_with_the_model(sizeof(dkv_table) + 9000, false, false);
    test_random_commits_agree_with_the_model(sizeof(dkv_table) + 9000, true, false);
    test_random_commits_agree_with_the_model(sizeof(dkv_table) + 9000, false, true);
    test_random_commits_agree_with_the_model(sizeof(dkv_table) + 9000, true, true);
    test_the_limit_is_over_what_is_left_after_all();
    test_eviction_never_fails_what_fits();
    test_removing_many_gives_their_memory_back();
    puts("test_many: 14 passed, 0 failed");
    return 0;
}
