#include "shard.h"

enum { EMPTY = 0, TOMBSTONE = 1, AHEAD = 8 };

static const uint64_t ADDRESS = (UINT64_C(1) << 48) - 1;

_Static_assert(sizeof(void *) == 8, "a slot keeps a 48-bit address beside its tag");
_Static_assert(offsetof(dkv_entry, bytes) == 15, "the header of an entry is 15 bytes");
_Static_assert(sizeof(dkv_shard) == 128, "a shard's header is two cache lines");

/* Entries */

static size_t entry_size(size_t key_len, size_t value_len, bool timed)
{
    return offsetof(dkv_entry, bytes) + (timed ? sizeof(int64_t) : 0) + key_len + value_len;
}

/* What to ask malloc for: glibc keeps 8 bytes beside a block and rounds the sum up to 16,
   so asking for all of it costs nothing and leaves room for a value a little longer. */
static size_t capacity(size_t size)
{
    return ((size + 8 + 15) & ~(size_t)15) - 8;
}

static void entry_fill(dkv_entry *e, const uint8_t *key, size_t key_len, const uint8_t *value,
                       size_t value_len, int64_t deadline)
{
    uint8_t *at = e->bytes;
    e->timed = deadline != DKV_NEVER;
    e->key_len = (uint16_t)key_len;
    e->value_len = (uint32_t)value_len;
    if (e->timed) {
        memcpy(at, &deadline, sizeof deadline);
        at += sizeof deadline;
    }
    memcpy(at, key, key_len);
    if (value_len)
        memcpy(at + key_len, value, value_len);
}

dkv_entry *dkv_entry_new(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
                         int64_t deadline)
{
    dkv_entry *e = DKV_MALLOC(capacity(entry_size(key_len, value_len, deadline != DKV_NEVER)));
    if (!e)
        return NULL;
    e->version = 0;
    entry_fill(e, key, key_len, value, value_len, deadline);
    return e;
}

bool dkv_entry_refill(dkv_entry *e, const uint8_t *key, const uint8_t *value, size_t value_len,
                      int64_t deadline)
{
    size_t old = entry_size(e->key_len, e->value_len, e->timed);
    size_t new = entry_size(e->key_len, value_len, deadline != DKV_NEVER);
    if (capacity(old) != capacity(new))
        return false;
    entry_fill(e, key, e->key_len, value, value_len, deadline);
    return true;
}

void dkv_entry_free(dkv_entry *e)
{
    DKV_FREE(e);
}

/* Slots */

static uint64_t tag_of(uint64_t hash)
{
    return (hash >> 32) << 48;
}

static size_t home_of(uint64_t hash, uint32_t cap)
{
    return (size_t)(((hash & UINT32_MAX) * cap) >> 32);
}

static size_t after(size_t slot, uint32_t cap)
{
    return slot + 1 == cap ? 0 : slot + 1;
}

static dkv_entry *entry_in(uint64_t word)
{
    return (dkv_entry *)(uintptr_t)(word & ADDRESS);
}

static uint64_t word_for(const dkv_entry *e, uint64_t hash)
{
    return tag_of(hash) | (uint64_t)(uintptr_t)e;
}

static bool is_entry(uint64_t word)
{
    return word > TOMBSTONE;
}

dkv_place dkv_shard_find(const dkv_shard *s, uint64_t hash, const uint8_t *key, size_t key_len)
{
    dkv_place place = {NULL, SIZE_MAX};
    if (!s->cap)
        return place;
    uint64_t tag = tag_of(hash);
    for (size_t i = home_of(hash, s->cap);; i = after(i, s->cap)) {
        uint64_t word = s->slots[i];
        if (word == EMPTY) {
            if (place.slot == SIZE_MAX)
                place.slot = i;
            return place;
        }
        if (word == TOMBSTONE) {
            if (place.slot == SIZE_MAX)
                place.slot = i;
            continue;
        }
        if ((word & ~ADDRESS) != tag)
            continue;
        dkv_entry *e = entry_in(word);
        if (e->key_len == key_len && memcmp(dkv_entry_key(e), key, key_len) == 0)
            return (dkv_place){e, i};
    }
}

static uint64_t entry_hash(const dkv_entry *e, const dkv_secret *secret)
{
    return dkv_siphash(secret, dkv_entry_key(e), e->key_len);
}

/* Move every entry to an array of `cap` slots. Entries are spread over memory; asking
   for each some turns ahead hides most of the wait for it. */
static int rehash(dkv_shard *s, uint32_t cap, const dkv_secret *secret)
{
    uint64_t *slots = DKV_CALLOC(cap, sizeof *slots);
    if (!slots)
        return DKV_ENOMEM;
    for (size_t i = 0; i < s->cap; i++) {
        if (i + AHEAD < s->cap)
            __builtin_prefetch(entry_in(s->slots[i + AHEAD]));
        if (!is_entry(s->slots[i]))
            continue;
        uint64_t hash = entry_hash(entry_in(s->slots[i]), secret);
        size_t to = home_of(hash, cap);
        while (slots[to] != EMPTY)
            to = after(to, cap);
        slots[to] = s->slots[i];
    }
    DKV_FREE(s->slots);
    s->slots = slots;
    s->cap = cap;
    s->limit = (uint32_t)((uint64_t)cap * 4 / 5);
    s->used = s->live;
    s->first = 0;
    return 0;
}

int dkv_shard_reserve(dkv_shard *s, size_t extra, uint32_t least, const dkv_secret *secret)
{
    if (s->used + extra <= s->limit)
        return 0;
    uint64_t cap = s->cap ? s->cap : least;
    while ((s->live + extra) * 8 > cap * 5)
        cap *= 2;
    return cap > UINT32_MAX ? DKV_ENOMEM : rehash(s, (uint32_t)cap, secret);
}

void dkv_shard_shrink(dkv_shard *s, uint32_t least, const dkv_secret *secret)
{
    if (s->cap <= least * 4 || s->live * UINT64_C(8) > s->cap)
        return;
    uint32_t cap = s->cap;
    while (cap > least && s->live * UINT64_C(4) <= cap / 2)
        cap /= 2;
    (void)rehash(s, cap, secret); /* without memory the larger array stays */
}

void dkv_shard_put(dkv_shard *s, dkv_place place, dkv_entry *e, uint64_t hash)
{
    uint64_t *slot = &s->slots[place.slot];
    s->data_bytes += e->key_len + (uint64_t)e->value_len;
    if (place.entry) {
        s->data_bytes -= place.entry->key_len + (uint64_t)place.entry->value_len;
        dkv_entry_free(place.entry);
    } else {
        s->live++;
        s->used += *slot == EMPTY;
        if (place.slot < s->first)
            s->first = (uint32_t)place.slot;
    }
    *slot = word_for(e, hash);
    int64_t deadline = dkv_entry_deadline(e);
    if (deadline < s->next_deadline)
        s->next_deadline = deadline;
}

void dkv_shard_drop(dkv_shard *s, size_t slot)
{
    dkv_entry *e = entry_in(s->slots[slot]);
    s->data_bytes -= e->key_len + (uint64_t)e->value_len;
    s->live--;
    dkv_entry_free(e);
    s->slots[slot] = TOMBSTONE;
    if (s->slots[after(slot, s->cap)] != EMPTY)
        return;
    /* No probe goes on past this slot: it and the tombstones before it are free. */
    while (s->slots[slot] == TOMBSTONE) {
        s->slots[slot] = EMPTY;
        s->used--;
        slot = slot ? slot - 1 : s->cap - 1;
    }
}

size_t dkv_shard_next(const dkv_shard *s, size_t from)
{
    while (from < s->cap && !is_entry(s->slots[from]))
        from++;
    return from;
}

dkv_entry *dkv_shard_at(const dkv_shard *s, size_t slot)
{
    return entry_in(s->slots[slot]);
}

uint32_t dkv_shard_sweep(dkv_shard *s, int64_t now)
{
    if (s->next_deadline > now)
        return 0;
    uint32_t before = s->live;
    int64_t next = DKV_NEVER;
    for (size_t i = dkv_shard_next(s, 0); i < s->cap; i = dkv_shard_next(s, i + 1)) {
        int64_t deadline = dkv_entry_deadline(entry_in(s->slots[i]));
        if (deadline <= now)
            dkv_shard_drop(s, i);
        else if (deadline < next)
            next = deadline;
    }
    s->next_deadline = next;
    s->expired += before - s->live;
    return before - s->live;
}

void dkv_slots_free(uint64_t *slots, size_t cap)
{
    for (size_t i = 0; i < cap; i++) {
        if (is_entry(slots[i]))
            dkv_entry_free(entry_in(slots[i]));
    }
    DKV_FREE(slots);
}

const char *dkv_shard_check(const dkv_shard *s, size_t index, const dkv_secret *secret,
                            uint64_t last_version)
{
    uint64_t live = 0, used = 0, data_bytes = 0;
    if (s->limit >= s->cap && s->cap)
        return "no slot is kept free";
    for (size_t i = 0; i < s->cap; i++) {
        used += s->slots[i] != EMPTY;
        if (!is_entry(s->slots[i]))
            continue;
        const dkv_entry *e = entry_in(s->slots[i]);
        uint64_t hash = entry_hash(e, secret);
        live++;
        data_bytes += e->key_len + (uint64_t)e->value_len;
        if (!e->key_len)
            return "an entry has an empty key";
        if (dkv_shard_index(hash) != index)
            return "an entry is in another shard than its key's";
        if (dkv_shard_find(s, hash, dkv_entry_key(e), e->key_len).slot != i)
            return "an entry is not found by its key, or stands twice";
        if (e->version == 0 || e->version > last_version)
            return "a version is larger than the last one given";
        if (dkv_entry_deadline(e) < s->next_deadline)
            return "a deadline is earlier than the earliest known";
        if (i < s->first)
            return "an entry stands below the first slot known to have one";
    }
    if (live != s->live)
        return "the number of entries is wrong";
    if (used != s->used || used > s->limit)
        return "the number of used slots is wrong";
    if (data_bytes != s->data_bytes)
        return "the number of bytes is wrong";
    return NULL;
}
