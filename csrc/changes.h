/*
 * A journal of keys that appeared or vanished, for whoever keeps an order of them. Internal
 * to the table; a shard has one, which its lock guards.
 *
 * It has keys and not what happened to them: who reads it asks the table what is there now,
 * so the order of entries does not matter, nor how often a key comes. When there are more
 * than are worth it, or no memory for them, it is lost, and the reader begins anew.
 */
#ifndef DKV_CHANGES_H
#define DKV_CHANGES_H

#include "memory.h"

#include <stdbool.h>
#include <string.h>

typedef struct {
    uint8_t *bytes; /* of each key its length, in two bytes, and itself */
    size_t used, room;
    uint32_t count;
    bool lost;
} dkv_changes;

static inline void dkv_changes_lose(dkv_changes *c)
{
    DKV_FREE(c->bytes);
    *c = (dkv_changes){.lost = true};
}

static inline bool dkv_changes_grow(dkv_changes *c, size_t more)
{
    size_t room = c->room ? c->room : 512;
    while (room < c->used + more)
        room *= 2;
    if (room == c->room)
        return true;
    uint8_t *bytes = DKV_MALLOC(room);
    if (!bytes)
        return false;
    if (c->used)
        memcpy(bytes, c->bytes, c->used);
    DKV_FREE(c->bytes);
    c->bytes = bytes;
    c->room = room;
    return true;
}

static inline void dkv_changes_add(dkv_changes *c, const uint8_t *key, uint16_t key_len,
                                   uint32_t most)
{
    size_t more = sizeof key_len + key_len;
    if (c->lost)
        return;
    if (c->count >= most || !dkv_changes_grow(c, more)) {
        dkv_changes_lose(c);
        return;
    }
    memcpy(c->bytes + c->used, &key_len, sizeof key_len);
    memcpy(c->bytes + c->used + sizeof key_len, key, key_len);
    c->used += more;
    c->count++;
}

#endif
