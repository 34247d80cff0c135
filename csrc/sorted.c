/*
 * All keys in order, copied out of the table shard by shard and sorted, for who wants to
 * begin an order of them. Without the GIL; a shard is locked while its keys are copied.
 */
#include "locks.h"

#include <stdlib.h>

typedef struct {
    uint64_t prefix; /* the first bytes of the key as a number, which most comparisons need */
    const uint8_t *key;
    size_t key_len;
} Key;

struct dkv_sorted {
    uint8_t *blocks[DKV_SHARDS];
    Key *keys;
    size_t count, room;
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

static bool grow(dkv_sorted *sorted, size_t more)
{
    if (sorted->count + more <= sorted->room)
        return true;
    size_t room = 2 * sorted->room + more;
    Key *keys = DKV_MALLOC(room * sizeof *keys);
    if (!keys)
        return false;
    if (sorted->count)
        memcpy(keys, sorted->keys, sorted->count * sizeof *keys);
    DKV_FREE(sorted->keys);
    sorted->keys = keys;
    sorted->room = room;
    return true;
}

/* Copy the keys of a shard, which is locked. */
static int copy(dkv_sorted *sorted, const dkv_shard *s, uint8_t **block)
{
    size_t bytes = 0;
    for (size_t i = dkv_shard_next(s, 0); i < s->cap; i = dkv_shard_next(s, i + 1))
        bytes += dkv_shard_at(s, i)->key_len;
    if (!bytes)
        return 0;
    uint8_t *to = *block = DKV_MALLOC(bytes);
    if (!to || !grow(sorted, s->live))
        return DKV_ENOMEM;
    for (size_t i = dkv_shard_next(s, 0); i < s->cap; i = dkv_shard_next(s, i + 1)) {
        const dkv_entry *e = dkv_shard_at(s, i);
        memcpy(to, dkv_entry_key(e), e->key_len);
        sorted->keys[sorted->count++] = (Key){prefix_of(to, e->key_len), to, e->key_len};
        to += e->key_len;
    }
    return 0;
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
            rc = copy(sorted, s, &sorted->blocks[i]);
        }
        dkv_unlock(t, s);
    }
    if (rc < 0) {
        dkv_sorted_free(sorted);
        *out = NULL;
    } else if (sorted->count) {
        qsort(sorted->keys, sorted->count, sizeof *sorted->keys, compare);
    }
    return rc;
}

size_t dkv_sorted_count(const dkv_sorted *sorted)
{
    return sorted->count;
}

const uint8_t *dkv_sorted_key(const dkv_sorted *sorted, size_t i, size_t *key_len)
{
    *key_len = sorted->keys[i].key_len;
    return sorted->keys[i].key;
}

void dkv_sorted_free(dkv_sorted *sorted)
{
    for (size_t i = 0; i < DKV_SHARDS; i++)
        DKV_FREE(sorted->blocks[i]);
    DKV_FREE(sorted->keys);
    DKV_FREE(sorted);
}
