/*
 * All keys in order, for who wants to begin an order of them: copied out of the table and
 * sorted shard by shard, and the shards merged as they are read. Without the GIL, but for the
 * merge; a shard is locked while its keys are copied.
 */
#include "locks.h"

#include <stdlib.h>

typedef struct {
    uint64_t prefix; /* the first bytes of the key as a number, which most comparisons need */
    const uint8_t *key;
    size_t key_len;
} Key;

/* The keys of a shard that are still to come; never none. */
typedef struct {
    Key *next, *end;
} Run;

struct dkv_sorted {
    void *blocks[DKV_SHARDS]; /* a shard's keys and their bytes */
    size_t sizes[DKV_SHARDS];
    Run runs[DKV_SHARDS]; /* a heap: no key comes before that of runs[0] */
    size_t left;          /* of them */
};

static uint64_t prefix_of(const uint8_t *key, size_t key_len)
{
    uint64_t prefix = 0;
    for (size_t i = 0; i < sizeof prefix; i++)
        prefix = prefix << 8 | (i < key_len ? key[i] : 0);
    return prefix;
}

static int compare(const void *left, const void *right)
{
    const Key *a = left, *b = right;
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    int order = memcmp(a->key, b->key, a->key_len < b->key_len ? a->key_len : b->key_len);
    return order ? order : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

/* Much memory comes from the kernel and goes back to it. That of malloc would stay with the
   process: the objects made of the keys lie behind it, and live on. */
static void *block_new(size_t size)
{
    return size < DKV_PAGE ? DKV_MALLOC(size) : DKV_PAGES_NEW(size);
}

static void block_free(void *block, size_t size)
{
    if (size < DKV_PAGE)
        DKV_FREE(block);
    else
        DKV_PAGES_FREE(block, size);
}

/* Copy the keys of a shard, which is locked and not empty: 0 or a code. */
static int copy(dkv_sorted *sorted, size_t index, const dkv_shard *s)
{
    size_t bytes = s->live * sizeof(Key);
    for (size_t i = dkv_shard_next(s, 0); i < s->cap; i = dkv_shard_next(s, i + 1))
        bytes += dkv_shard_at(s, i)->key_len;
    Key *keys = block_new(bytes);
    if (!keys)
        return DKV_ENOMEM;
    sorted->blocks[index] = keys;
    sorted->sizes[index] = bytes;
    Key *end = keys;
    uint8_t *to = (uint8_t *)(keys + s->live);
    for (size_t i = dkv_shard_next(s, 0); i < s->cap; i = dkv_shard_next(s, i + 1)) {
        const dkv_entry *e = dkv_shard_at(s, i);
        memcpy(to, dkv_entry_key(e), e->key_len);
        *end++ = (Key){prefix_of(to, e->key_len), to, e->key_len};
        to += e->key_len;
    }
    sorted->runs[sorted->left++] = (Run){keys, end};
    return 0;
}

/* Runs below `i` in the heap are in place: put runs[i] in its own. */
static void sink(dkv_sorted *sorted, size_t i)
{
    Run *runs = sorted->runs, run = runs[i];
    for (size_t child; (child = 2 * i + 1) < sorted->left; i = child) {
        if (child + 1 < sorted->left && compare(runs[child + 1].next, runs[child].next) < 0)
            child++;
        if (compare(run.next, runs[child].next) < 0)
            break;
        runs[i] = runs[child];
    }
    runs[i] = run;
}

static void sort(dkv_sorted *sorted)
{
    for (size_t i = sorted->left; i-- > 0;) {
        Run *run = &sorted->runs[i];
        qsort(run->next, (size_t)(run->end - run->next), sizeof(Key), compare);
    }
    for (size_t i = sorted->left / 2; i-- > 0;)
        sink(sorted, i);
}

int dkv_sort_keys(dkv_table *t, dkv_sorted **out)
{
    int rc = 0;
    dkv_sorted *sorted = *out = DKV_CALLOC(1, sizeof *sorted);
    if (!sorted)
        return DKV_ENOMEM;
    int64_t now = dkv_now(t);
    for (size_t i = 0; i < DKV_SHARDS && rc == 0; i++) {
        dkv_shard *s = &t->shards[i];
        dkv_lock(s);
        if (dkv_closed(t)) {
            rc = DKV_ECLOSED;
        } else {
            dkv_shard_sweep(s, now);
            if (s->live)
                rc = copy(sorted, i, s);
        }
        dkv_unlock(t, s);
    }
    if (rc < 0) {
        dkv_sorted_free(sorted);
        *out = NULL;
    } else {
        sort(sorted);
    }
    return rc;
}

const uint8_t *dkv_sorted_next(dkv_sorted *sorted, size_t *key_len)
{
    if (!sorted->left)
        return NULL;
    Run *first = &sorted->runs[0];
    const Key *key = first->next++;
    if (first->next == first->end)
        *first = sorted->runs[--sorted->left];
    sink(sorted, 0);
    *key_len = key->key_len;
    return key->key;
}

void dkv_sorted_free(dkv_sorted *sorted)
{
    for (size_t i = 0; i < DKV_SHARDS; i++)
        block_free(sorted->blocks[i], sorted->sizes[i]);
    DKV_FREE(sorted);
}
