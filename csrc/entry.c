#include "shard.h"

#include <stddef.h>

_Static_assert(offsetof(dkv_entry, bytes) == 15, "the header of an entry is 15 bytes");

static size_t size_with(size_t key_len, size_t value_len, bool owned, bool timed)
{
    return offsetof(dkv_entry, bytes) + (timed ? sizeof(int64_t) : 0) + key_len +
           (owned ? 2 * sizeof(void *) : value_len);
}

static size_t entry_size(size_t key_len, dkv_value value, int64_t deadline)
{
    return size_with(key_len, value.len, dkv_takes_owner(value), deadline != DKV_NEVER);
}

static size_t size_of(const dkv_entry *e)
{
    return size_with(e->key_len, e->value_len, e->owned, e->timed);
}

static uint64_t cost_with(size_t size, size_t value_len, bool owned)
{
    enum { BYTES_HEADER = 33 }; /* of a CPython bytes object */
    return dkv_cell_cost(size) + (owned ? dkv_block_cost(BYTES_HEADER + value_len) : 0);
}

uint64_t dkv_entry_cost(size_t key_len, dkv_value value, int64_t deadline)
{
    return cost_with(entry_size(key_len, value, deadline), value.len, dkv_takes_owner(value));
}

uint64_t dkv_entry_memory(const dkv_entry *e)
{
    return cost_with(size_of(e), e->value_len, e->owned);
}

void dkv_entry_fill(dkv_entry *e, const uint8_t *key, size_t key_len, dkv_value value,
                    int64_t deadline)
{
    uint8_t *at = e->bytes;
    e->timed = deadline != DKV_NEVER;
    e->owned = dkv_takes_owner(value);
    e->counted = false;
    e->rest = 0;
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

dkv_entry *dkv_entry_alloc(dkv_shard *s, size_t key_len, dkv_value value, int64_t deadline)
{
    return dkv_cell_new(&s->slab, s->pool, entry_size(key_len, value, deadline));
}

dkv_entry *dkv_entry_new(dkv_shard *s, const uint8_t *key, size_t key_len, dkv_value value,
                         int64_t deadline)
{
    dkv_entry *e = dkv_entry_alloc(s, key_len, value, deadline);
    if (!e)
        return NULL;
    e->version = 0;
    dkv_entry_fill(e, key, key_len, value, deadline);
    return e;
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
