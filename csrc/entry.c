#include "shard.h"

#include <stddef.h>

_Static_assert(offsetof(dkv_entry, bytes) == 15, "the header of an entry is 15 bytes");

static size_t entry_size(size_t key_len, dkv_value value, int64_t deadline)
{
    return offsetof(dkv_entry, bytes) + (deadline != DKV_NEVER ? sizeof(int64_t) : 0) + key_len +
           (dkv_takes_owner(value) ? 2 * sizeof(void *) : value.len);
}

uint64_t dkv_entry_cost(size_t key_len, dkv_value value, int64_t deadline)
{
    enum { BYTES_HEADER = 33 }; /* of a CPython bytes object */
    uint64_t cost = dkv_cell_cost(entry_size(key_len, value, deadline));
    return cost + (dkv_takes_owner(value) ? dkv_block_cost(BYTES_HEADER + value.len) : 0);
}

void dkv_entry_fill(dkv_entry *e, const uint8_t *key, size_t key_len, dkv_value value,
                    int64_t deadline)
{
    uint8_t *at = e->bytes;
    e->timed = deadline != DKV_NEVER;
    e->owned = dkv_takes_owner(value);
    e->counted = false;
    e->key_len = (uint16_t)key_len;
    e->value_len = (uint32_t)value.len;
    if (e->timed) {
        memcpy(at, &deadline, sizeof deadline);
        at += sizeof deadline;
    }
    memcpy(at, key, key_len);
    at += key_len;
    if (e->owned) {
        memcpy(at, &value.owner, sizeof value.owner);
        memcpy(at + sizeof value.owner, &value.bytes, sizeof value.bytes);
    } else if (value.len) {
        memcpy(at, value.bytes, value.len);
    }
}

dkv_entry *dkv_entry_new(dkv_shard *s, const uint8_t *key, size_t key_len, dkv_value value,
                         int64_t deadline)
{
    dkv_entry *e = dkv_cell_new(&s->slab, s->pool, entry_size(key_len, value, deadline));
    if (!e)
        return NULL;
    e->version = 0;
    dkv_entry_fill(e, key, key_len, value, deadline);
    return e;
}

static size_t size_of(const dkv_entry *e)
{
    return entry_size(e->key_len, dkv_entry_value(e), dkv_entry_deadline(e));
}

void dkv_entry_free(dkv_shard *s, dkv_entry *e)
{
    dkv_cell_free(&s->slab, s->pool, e, size_of(e));
}

bool dkv_entry_fits(const dkv_entry *e, dkv_value value, int64_t deadline)
{
    size_t new = entry_size(e->key_len, value, deadline);
    return e->owned == dkv_takes_owner(value) &&
           dkv_cell_capacity(size_of(e)) == dkv_cell_capacity(new);
}
