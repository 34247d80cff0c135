#include "shard.h"

#include <stddef.h>

enum { EMPTY = 0, TOMBSTONE = 1, USE_BITS = 15, USES = 3, AHEAD = 16 };

enum { TAG_AT = 48 };
static const uint64_t ADDRESS = ((UINT64_C(1) << TAG_AT) - 1) & ~(uint64_t)USE_BITS;
static const uint64_t TAG = ~((UINT64_C(1) << TAG_AT) - 1);

_Static_assert(sizeof(void *) == 8, "a slot keeps a 48-bit address beside its tag");
_Static_assert(_Alignof(max_align_t) == 16, "malloc leaves the low 4 bits of an address free");
_Static_assert(offsetof(dkv_shard, memory) <= 64, "a read touches one line of a shard");
_Static_assert(offsetof(dkv_shard, dead) <= 192, "what most calls need is three cache lines");

/* Entries */

/* An entry is not needed any more: free it and give its owner to the caller, who may have
   room for one; or leave it with its owner to be let go of. */
static void discard(dkv_shard *s, dkv_entry *e, dkv_value *gone)
{
    if (!e->owned || (gone && !gone->owner)) {
        if (e->owned)
            *gone = dkv_entry_value(e);
        dkv_entry_free(s, e);
        return;
    }
    e->next = s->dead.head;
    s->dead.head = e;
    if (!s->dead.tail)
        s->dead.tail = e;
}

static uint64_t data_of(const dkv_entry *e)
{
    return e->key_len + (uint64_t)e->value_len;
}

/* Slots */

static uint64_t tag_of(uint64_t hash)
{
    return (hash >> 32) << TAG_AT;
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
    return word > USE_BITS;
}

/* The lines of an entry behind its first: those of most keys and values. They are asked for
   before the first has come. */
static void ask_for_rest(const dkv_entry *e)
{
    enum { LINE = 64, LINES = 5 };
    for (size_t line = 1; line < LINES; line++)
        __builtin_prefetch((const char *)e + LINE * line);
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
        if ((word & TAG) != tag)
            continue;
        dkv_entry *e = entry_in(word);
        ask_for_rest(e);
        if (e->key_len == key_len && memcmp(dkv_entry_key(e), key, key_len) == 0)
            return (dkv_place){e, i};
    }
}

void dkv_shard_prefetch_slot(const dkv_shard *s, uint64_t hash)
{
    if (s->cap)
        __builtin_prefetch(&s->slots[home_of(hash, s->cap)]);
}

void dkv_shard_prefetch_entry(const dkv_shard *s, uint64_t hash)
{
    if (!s->cap)
        return;
    uint64_t tag = tag_of(hash);
    for (size_t i = home_of(hash, s->cap); s->slots[i] != EMPTY; i = after(i, s->cap)) {
        if (is_entry(s->slots[i]) && (s->slots[i] & TAG) == tag) {
            __builtin_prefetch(entry_in(s->slots[i]));
            ask_for_rest(entry_in(s->slots[i]));
            return;
        }
    }
}

static uint64_t entry_hash(const dkv_entry *e, const dkv_secret *secret)
{
    return dkv_hash(secret, dkv_entry_key(e), e->key_len);
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
    s->memory +=
        dkv_block_cost(cap * sizeof *slots) - (s->cap ? dkv_block_cost(s->cap * sizeof *slots) : 0);
    s->hand = (uint32_t)(s->cap ? (uint64_t)s->hand * cap / s->cap : 0);
    s->slots = slots;
    s->cap = cap;
    s->limit = (uint32_t)((uint64_t)cap * 4 / 5);
    s->used = s->live;
    s->first = 0;
    s->sweep_at = 0;
    return 0;
}

/* The number of slots for `extra` more entries; what there is when they have room. The first
   steps are long ones, for a store that is filled from nothing spends a quarter of its time in
   them; where memory is counted, every step is short. */
static uint64_t grown(const dkv_shard *s, size_t extra, uint32_t least, bool clean)
{
    enum { SMALL = 1024 };
    uint64_t cap = s->cap ? s->cap : least;
    if (s->cap && (clean ? s->live : s->used) + extra <= s->limit)
        return cap;
    while ((s->live + extra) * 8 > cap * 5)
        cap *= clean || cap >= SMALL ? 2 : 4;
    return cap;
}

uint64_t dkv_shard_growth(const dkv_shard *s, size_t extra, uint32_t least, bool clean)
{
    uint64_t cap = grown(s, extra, least, clean);
    if (cap == s->cap)
        return 0;
    return dkv_block_cost(cap * sizeof *s->slots) -
           (s->cap ? dkv_block_cost(s->cap * sizeof *s->slots) : 0);
}

typedef struct {
    dkv_shard *shard;
    const dkv_secret *secret;
} Mover;

/* Point the slot of an entry at its copy. One that is in no slot, because it is dead or not
   yet put, stays where it is. */
static bool entry_moved(void *arg, void *from, void *to)
{
    const Mover *mover = arg;
    dkv_shard *s = mover->shard;
    uint64_t hash = entry_hash(to, mover->secret);
    if (!s->cap)
        return false;
    for (size_t i = home_of(hash, s->cap); s->slots[i] != EMPTY; i = after(i, s->cap)) {
        if (entry_in(s->slots[i]) == from) {
            s->slots[i] = word_for(to, hash) | (s->slots[i] & USE_BITS);
            return true;
        }
    }
    return false;
}

void dkv_shard_compact(dkv_shard *s, const dkv_secret *secret)
{
    Mover mover = {s, secret};
    dkv_slab_compact(&s->slab, s->pool, entry_moved, &mover);
}

int dkv_shard_reserve(dkv_shard *s, size_t extra, uint32_t least, bool clean,
                      const dkv_secret *secret)
{
    if (s->used + extra <= s->limit)
        return 0;
    uint64_t cap = grown(s, extra, least, clean);
    if (cap > UINT32_MAX || rehash(s, (uint32_t)cap, secret) < 0)
        return DKV_ENOMEM;
    return 1;
}

void dkv_shard_shrink(dkv_shard *s, uint32_t least, const dkv_secret *secret)
{
    if (!s->live)
        dkv_slab_trim(&s->slab, s->pool);
    if (s->reserved || s->cap <= least * 4 || s->live * UINT64_C(8) > s->cap)
        return;
    uint32_t cap = s->cap;
    while (cap > least && s->live * UINT64_C(4) <= cap / 2)
        cap /= 2;
    (void)rehash(s, cap, secret); /* without memory the larger array stays */
}

static void note_deadline(dkv_shard *s, int64_t deadline)
{
    if (deadline < s->next_deadline)
        s->next_deadline = deadline;
    if (deadline < s->sweep_deadline)
        s->sweep_deadline = deadline;
}

static void note_change(dkv_shard *s, const dkv_entry *e)
{
    enum { AT_LEAST = 1024 };
    if (s->noting & DKV_NOTE_CHANGES)
        dkv_changes_add(&s->changes, dkv_entry_key(e), e->key_len, AT_LEAST + s->live / 2);
}

void dkv_shard_put(dkv_shard *s, dkv_place place, dkv_entry *e, uint64_t hash, dkv_value *gone)
{
    uint64_t *slot = &s->slots[place.slot];
    uint64_t uses = 0;
    s->data_bytes += data_of(e);
    s->memory += dkv_entry_memory(e);
    if (place.entry) {
        uses = *slot & USE_BITS;
        s->data_bytes -= data_of(place.entry);
        s->memory -= dkv_entry_memory(place.entry);
        discard(s, place.entry, gone);
    } else {
        s->live++;
        s->used += *slot == EMPTY;
        note_change(s, e);
        if (place.slot < s->first)
            s->first = (uint32_t)place.slot;
    }
    *slot = word_for(e, hash) | uses;
    note_deadline(s, dkv_entry_deadline(e));
}

dkv_value dkv_shard_refill(dkv_shard *s, dkv_entry *e, const uint8_t *key, dkv_value value,
                           int64_t deadline)
{
    dkv_value gone = dkv_entry_value(e);
    s->data_bytes += value.len - e->value_len;
    if (gone.owner) /* what is copied takes as much as before */
        s->memory += dkv_entry_cost(e->key_len, value, deadline) - dkv_entry_memory(e);
    dkv_entry_fill(e, key, e->key_len, value, deadline);
    note_deadline(s, deadline);
    return gone;
}

void dkv_shard_drop(dkv_shard *s, size_t slot, dkv_event why, dkv_value *gone)
{
    const dkv_entry *e = entry_in(s->slots[slot]);
    ++*(why == DKV_DELETED ? &s->deletes : why == DKV_EXPIRED ? &s->expired : &s->evicted);
    if (s->noting & DKV_NOTE_EVENTS)
        (void)dkv_happened(s->events, why, dkv_entry_key(e), e->key_len);
    dkv_shard_take(s, slot, gone);
}

void dkv_shard_take(dkv_shard *s, size_t slot, dkv_value *gone)
{
    dkv_entry *e = entry_in(s->slots[slot]);
    note_change(s, e);
    s->data_bytes -= data_of(e);
    s->memory -= dkv_entry_memory(e);
    s->live--;
    discard(s, e, gone);
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

void dkv_shard_use(dkv_shard *s, size_t slot)
{
    if ((s->slots[slot] & USE_BITS) < USES)
        s->slots[slot]++;
}

size_t dkv_shard_victim(dkv_shard *s, const dkv_entry *keep)
{
    if (s->live <= (keep != NULL))
        return SIZE_MAX;
    for (;; s->hand = (uint32_t)after(s->hand, s->cap)) {
        uint64_t *slot = &s->slots[s->hand];
        if (!is_entry(*slot) || entry_in(*slot) == keep)
            continue;
        if (*slot & USE_BITS) {
            --*slot;
            continue;
        }
        return s->hand;
    }
}

size_t dkv_shard_next(const dkv_shard *s, size_t from)
{
    while (from < s->cap && !is_entry(s->slots[from]))
        from++;
    return from;
}

size_t dkv_shard_next_in(const dkv_shard *s, size_t from, unsigned bits, unsigned slice)
{
    uint64_t tag = (uint64_t)slice << TAG_AT, mask = ((UINT64_C(1) << bits) - 1) << TAG_AT;
    while (from < s->cap && (!is_entry(s->slots[from]) || (s->slots[from] & mask) != tag))
        from++;
    return from;
}

dkv_entry *dkv_shard_at(const dkv_shard *s, size_t slot)
{
    return entry_in(s->slots[slot]);
}

uint32_t dkv_shard_sweep_slice(dkv_shard *s, int64_t now, bool *more)
{
    uint32_t before = s->live;
    *more = false;
    if (s->next_deadline > now && !s->sweep_at)
        return 0;
    if (!s->sweep_at)
        s->sweep_deadline = DKV_NEVER;
    size_t end = s->cap - s->sweep_at > DKV_SLICE ? s->sweep_at + DKV_SLICE : s->cap;
    for (size_t i = dkv_shard_next(s, s->sweep_at); i < end; i = dkv_shard_next(s, i + 1)) {
        int64_t deadline = dkv_entry_deadline(entry_in(s->slots[i]));
        if (deadline <= now)
            dkv_shard_drop(s, i, DKV_EXPIRED, NULL);
        else if (deadline < s->sweep_deadline)
            s->sweep_deadline = deadline;
    }
    *more = end < s->cap;
    s->sweep_at = *more ? (uint32_t)end : 0;
    if (!*more)
        s->next_deadline = s->sweep_deadline;
    return before - s->live;
}

uint32_t dkv_shard_sweep(dkv_shard *s, int64_t now)
{
    uint32_t swept = 0;
    bool more = s->next_deadline <= now;
    s->sweep_at = 0;
    while (more)
        swept += dkv_shard_sweep_slice(s, now, &more);
    return swept;
}

bool dkv_shard_discard_slice(dkv_shard *s, uint64_t *slots, size_t cap, size_t *at)
{
    size_t end = cap - *at > DKV_SLICE ? *at + DKV_SLICE : cap;
    for (; *at < end; ++*at) {
        if (is_entry(slots[*at]))
            discard(s, entry_in(slots[*at]), NULL);
    }
    return *at < cap;
}

const char *dkv_shard_check(const dkv_shard *s, size_t index, const dkv_secret *secret,
                            uint64_t last_version)
{
    uint64_t live = 0, used = 0, data_bytes = 0;
    uint64_t memory = s->cap ? dkv_block_cost(s->cap * sizeof *s->slots) : 0;
    if (s->limit >= s->cap && s->cap)
        return "no slot is kept free";
    for (size_t i = 0; i < s->cap; i++) {
        used += s->slots[i] != EMPTY;
        if (!is_entry(s->slots[i]))
            continue;
        const dkv_entry *e = entry_in(s->slots[i]);
        uint64_t hash = entry_hash(e, secret);
        live++;
        data_bytes += data_of(e);
        memory += dkv_entry_memory(e);
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
    if (memory != s->memory)
        return "the memory is not what slots and entries take";
    if (s->cap && s->hand >= s->cap)
        return "the hand points past the slots";
    return NULL;
}
