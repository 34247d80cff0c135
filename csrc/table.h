/*
 * The hash table of DumbKV: bytes to bytes, sharded, with versions and expiry.
 *
 * This header is the manual. It knows nothing of Python; pytable.c makes a Python
 * type of it, and the part between the two markers below is also what Python calls
 * through cffi, without the GIL, for work on the table as a whole.
 *
 * Keys. A key is 1..max_key bytes and belongs to one of DKV_SHARDS shards for good,
 * chosen by a keyed hash (SipHash-1-3; the 128-bit secret comes from the system for
 * each table, or from the environment variable DUMBKV_HASH_SEED, for tests only).
 *
 * Locks. Each shard has its own. A function that takes a dkv_hold returns with the
 * shard of that key locked and says so; dkv_release unlocks it. Hold one at a time,
 * briefly, and call nothing that could wait. All other functions lock and unlock by
 * themselves.
 *
 * Time. Deadlines are microseconds of the monotonic clock, DKV_NEVER for none. From
 * its deadline on an entry is absent to every function; whichever meets it removes
 * it. Versions are max(last + 1, wall clock in microseconds), of the whole table.
 *
 * Memory. A table may have a limit in bytes over keys, values and what holds them. A
 * write that would pass it fails with DKV_EFULL or, when the table evicts, first drops
 * entries that were not read lately. Removing always works. Room is made while the key is
 * held, so shards that others have locked are passed over; when that leaves nothing the
 * answer is DKV_EBUSY, and only to release the key and begin again will do.
 *
 * Owners. A long value need not be copied: the table keeps a reference to the caller's
 * own immutable object instead. A write that succeeds takes the reference over. Letting go
 * of an object may need what no function here has (the GIL): a hold gives the caller the
 * owner that its write took out, and other entries that go away with such a value wait in a
 * list for dkv_reap.
 *
 * Forks. A child has a whole table of its own: fork() waits for every lock of every
 * table, and both sides get them back.
 *
 * Results. >= 0 is an answer, < 0 one of the codes. After a code the table is as it
 * was before the call, but for what was evicted to make room.
 */
#ifndef DKV_TABLE_H
#define DKV_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DKV_SHARD_BITS = 6, DKV_SHARDS = 1 << DKV_SHARD_BITS };

#define DKV_NEVER INT64_MAX
#define DKV_KEY_CEILING UINT16_MAX
#define DKV_VALUE_CEILING UINT32_MAX

/* cdef begin */

/* Codes. */
#define DKV_ENOMEM -1    /* an allocation failed */
#define DKV_ECLOSED -2   /* the table was closed */
#define DKV_EFULL -3     /* the write would pass the memory limit */
#define DKV_ECORRUPT -4  /* dkv_check found an invariant broken */
#define DKV_EBUSY -5     /* what could be evicted is in use: release the key and do it again */
#define DKV_ECONFLICT -6 /* a key of many is not at the version that was asked for */
#define DKV_ELOST -7     /* more happened than is kept: begin anew */
#define DKV_EROOM -8     /* the log's file has no room for the record */
#define DKV_ELARGE -9    /* a change that is too large for a record */

typedef struct dkv_table dkv_table;

typedef struct {
    uint64_t entries;      /* keys there now */
    uint64_t data_bytes;   /* bytes of those keys and their values */
    uint64_t memory_bytes; /* with what holds them; what the limit is over */
    uint64_t hits;         /* dkv_read that found its key */
    uint64_t misses;       /* and that did not */
    uint64_t sets;         /* values written */
    uint64_t deletes;      /* entries removed by a caller */
    uint64_t expired;      /* entries removed because their deadline had passed */
    uint64_t evicted;      /* entries removed to make room */
} dkv_counts;

/* Remove every entry, at once for all who look on. The memory goes back after the
   locks are let go. O(n). */
int dkv_clear(dkv_table *t);

/* Remove expired entries: how many, or a code. Locks one shard at a time, for
   DKV_SLICE slots; a shard in which nothing can have expired costs nothing. */
int64_t dkv_sweep(dkv_table *t);

/* Microseconds from now to the earliest deadline there may be, 0 when it has passed, -1
   when there is none, or a code below that. */
int64_t dkv_next_expiry(dkv_table *t);

/* Whoever calls dkv_sweep is about to stop: 1, or 0 when it has to go on. */
int dkv_rest(dkv_table *t);

/* Sum the counters over the shards, after a sweep of what has expired. */
int dkv_count(dkv_table *t, dkv_counts *out);

/* All keys there now, to be read in order. O(n log n), each shard locked while its keys are
   copied; the caller frees it. */
typedef struct dkv_sorted dkv_sorted;
int dkv_sort_keys(dkv_table *t, dkv_sorted **out);
void dkv_sorted_free(dkv_sorted *sorted);

/* Remove everything; every later call answers DKV_ECLOSED, except this one. */
void dkv_close(dkv_table *t);

/* Walk every slot and hold every invariant against it: 0, or DKV_ECORRUPT with a
   sentence in `why`. O(n), one shard's lock at a time. */
int dkv_check(dkv_table *t, char *why, size_t size);

/* Do again what records of a file say, before anybody else has the table. An expired entry stays
   until the next sweep, as a later record may give it another expiry. */
typedef struct {
    uint64_t offset; /* in the file; moves on */
    uint32_t seed;   /* the checksum of its header */
    const char *why; /* after DKV_ECORRUPT */
} dkv_replaying;

/* As many whole records as there are in `size` bytes: how many bytes those are, or a code. */
int64_t dkv_replay(dkv_table *t, const uint8_t *bytes, size_t size, dkv_replaying *r);

/* The last version there was; to see one makes it at least that. */
uint64_t dkv_last_version(dkv_table *t);
void dkv_see_version(dkv_table *t, uint64_t version);

/* Give the table's Python type to the module dumbkv._native: 0, or -1 with the
   exception printed. Once, at import. */
int dkv_install(void);

/* cdef end */

enum { DKV_SLICE = 4096 };

/* Values of this many bytes and more are kept by their owner, if they have one. Below it
   a copy is as fast and half the memory. */
enum { DKV_OWNED_FROM = 1024 };

typedef struct {
    const uint8_t *bytes;
    size_t len;
    void *owner; /* NULL: copy */
} dkv_value;

static inline bool dkv_takes_owner(dkv_value value)
{
    return value.owner && value.len >= DKV_OWNED_FROM;
}

typedef struct dkv_entry dkv_entry;
typedef struct dkv_shard dkv_shard;

/* What happens to keys. DKV_CLEARED is of all, and its key is empty; DKV_NOTHING is what came of
   a change that could not be kept. */
typedef enum { DKV_SET, DKV_DELETED, DKV_EXPIRED, DKV_EVICTED, DKV_CLEARED, DKV_NOTHING } dkv_event;

/* What a hold knows of its key. The pointers stay good until dkv_put, dkv_drop or
   dkv_release. */
typedef struct {
    dkv_table *table;
    dkv_shard *shard; /* locked */
    const uint8_t *key;
    size_t key_len;
    dkv_value value;
    uint64_t version; /* 0 when the key is absent */
    int64_t deadline;
    uint64_t hash;
    dkv_value gone; /* what dkv_put or dkv_drop took out: its owner is the caller's to let go of */
    dkv_entry *entry;
    size_t slot;
} dkv_hold;

/* What to do with one key of many: write it, write it and leave the deadline it has, remove
   it, or only look at its version; or, of dkv_prepare alone, write what it has with another
   deadline and its present version. */
typedef enum { DKV_PUT, DKV_PUT_KEEPING, DKV_DROP, DKV_LOOK, DKV_MOVE } dkv_act;

enum { DKV_ANY = 0 };
#define DKV_ABSENT UINT64_MAX
#define DKV_PRESENT (UINT64_MAX - 1)

/* One key of many. */
typedef struct {
    const uint8_t *key;
    size_t key_len;
    dkv_act act;
    dkv_value value;
    int64_t deadline;
    uint64_t want;    /* the version it has to be at, DKV_ABSENT, DKV_PRESENT or DKV_ANY */
    uint64_t version; /* of what was written; of what is removed, whether it was there */
    uint64_t hash;    /* the rest is the table's */
    int64_t until;
    dkv_entry *entry;
    bool there; /* when it was prepared */
} dkv_pair;

/* A new empty table, or NULL when memory or randomness could not be had. `limit` is in
   bytes, 0 for none; `evict` is what to do about it. */
dkv_table *dkv_new(uint64_t limit, bool evict);

/* Free the table. Nobody may be inside a call; dkv_close and dkv_reap come before. */
void dkv_free(dkv_table *t);

/* Whether owners wait to be let go of, and letting go of them, at most `most`. */
bool dkv_has_dead(const dkv_table *t);
void dkv_reap(dkv_table *t, void (*let_go)(void *owner), size_t most);

/* True once for each time the table comes to hold a deadline after having held none, or
   after dkv_rest: the moment to start whatever calls dkv_sweep. */
bool dkv_wakes(dkv_table *t);

bool dkv_closed(const dkv_table *t);

/* Stop both clocks at these microseconds. For tests. */
void dkv_set_clock(dkv_table *t, int64_t monotonic, int64_t wall);
int64_t dkv_now(const dkv_table *t);
int64_t dkv_wall(const dkv_table *t);

/* Find a key to change it: 1 there, 0 absent, both with its shard locked; or a code,
   with nothing locked. `key` has to outlive the hold. */
int dkv_acquire(dkv_table *t, const void *key, size_t key_len, dkv_hold *h);

/* The same, counted as a hit or a miss. */
int dkv_read(dkv_table *t, const void *key, size_t key_len, dkv_hold *h);

/* What the failed write would have taken, and what the limit left. */
uint64_t dkv_limit(const dkv_table *t);
uint64_t dkv_used(const dkv_table *t);

/* Find some key, to look at it or drop it; 0, with nothing locked, when the table is empty. */
int dkv_acquire_any(dkv_table *t, dkv_hold *h);

/* Write a value under the held key, there or not, with this deadline; the hold then
   shows the new entry. O(1), and once in a while O(n / DKV_SHARDS) to grow. */
int dkv_put(dkv_hold *h, dkv_value value, int64_t deadline);

/* Change the deadline of the held key, which is there. */
int dkv_expire(dkv_hold *h, int64_t deadline);

/* Remove the held key, which is there. */
void dkv_drop(dkv_hold *h);

void dkv_release(dkv_hold *h);

/* Many keys, the shards they need, and the one moment at which they are looked at. */
typedef struct {
    dkv_table *table;
    dkv_pair *pairs;
    size_t n;
    int64_t now;
    uint64_t wanted;        /* a bit for each shard */
    bool records;           /* dkv_prepare found something to do */
    bool holds;             /* and holds events back until it is done */
    size_t undo;            /* what the list of what to undo had before */
    uint64_t before, after; /* the last version, before and after it was prepared */
} dkv_span;

static inline bool dkv_wants(const dkv_span *span, size_t shard)
{
    return span->wanted >> shard & 1;
}

/* Lock the shards of many keys at once, and unlock them. Between the two, dkv_find gives a
   hold on pair `i`, which is not to be released, and asks for the memory of the next ones
   ahead of their turn. */
int dkv_begin(dkv_table *t, dkv_pair *pairs, size_t n, dkv_span *span);
int dkv_find(const dkv_span *span, size_t i, bool read, dkv_hold *h);
void dkv_end(const dkv_span *span);

/* Do with every pair, in order, what it says, as one step for all who look on: all of it or,
   with a code, nothing. After DKV_ECONFLICT `*at` is the pair that was not as wanted. A key
   may come more than once; what is wanted of it is what was there before. */
int dkv_commit(dkv_table *t, dkv_pair *pairs, size_t n, size_t *at);

/* The log. A table that has one writes each change to a file before anybody sees it. One writer
   at a time: the caller sees to that, and to the file, in which there has to be room. A change is
   prepared with shards locked, when all that can fail is done and the record is there; written
   with none locked; and applied, which cannot fail, or abandoned. Only what has expired goes away
   meanwhile, and that needs no record.

   What is `undoing` also keeps how to take changes back whose bytes may not reach the disk. */
int dkv_log_begin(dkv_table *t, bool undoing);
bool dkv_logs(const dkv_table *t);

/* Go on in this file: `offset` is where the next record goes and `end` where the room ends, both
   in the file; `seed` is the checksum of its header; `before` are the bytes of files before. */
void dkv_log_file(dkv_table *t, int fd, uint64_t offset, uint64_t end, uint32_t seed,
                  uint64_t before);
void dkv_log_room(dkv_table *t, uint64_t end);

/* Where the next record goes, in the file and in all of the log; how many the file has. */
uint64_t dkv_log_offset(const dkv_table *t);
uint64_t dkv_log_end(const dkv_table *t);
uint64_t dkv_log_records(const dkv_table *t);

/* The next record is to tell that the file is on the disk up to here. */
void dkv_log_synced(dkv_table *t, uint64_t offset);

/* As dkv_commit, up to where it can no longer fail; of one key not both a write and a removal.
   With DKV_EROOM, dkv_log_need says how many
   bytes there has to be room for. */
int dkv_prepare(dkv_table *t, dkv_pair *pairs, size_t n, size_t *at, dkv_span *span);
uint64_t dkv_log_need(const dkv_table *t);
void dkv_apply(dkv_span *span);
void dkv_abandon(dkv_span *span);

/* Prepare a record of operations that are encoded already: 0 or a code. */
int dkv_log_body(dkv_table *t, const uint8_t *body, size_t size);

/* Prepare a record of those sets in whole records, `size` bytes of a file from `offset` on, that
   are still what the table has: how many bytes were read, or a code. `*kept` is whether there
   are any. */
int64_t dkv_log_keep(dkv_table *t, const uint8_t *records, size_t size, uint64_t offset,
                     uint32_t seed, bool *kept);

/* Write what is prepared: 0, or an errno, and then bytes behind the end may be anything. */
int dkv_log_write(dkv_table *t);

/* Changes from here on are a generation of their own, and those up to here are one; the one before
   is not to be undone any more; all that are kept are undone, the last first. */
void dkv_undo_swap(dkv_table *t);
void dkv_undo_forget(dkv_table *t);
int dkv_undo_all(dkv_table *t, void (*let_go)(void *owner));

/* Call `each` with some entries, about a thousand, a lock held meanwhile: 0, a code, or the
   first answer of `each` that is not 0, at which it stops. Begin with a cursor of 0 and go on
   until it is 0 again; a key that is there all the time comes exactly once. */
typedef int dkv_each(void *arg, const uint8_t *key, size_t key_len);
int dkv_walk(dkv_table *t, uint64_t *cursor, dkv_each *each, void *arg);

/* The next key of those that dkv_sort_keys copied, or NULL when there are no more. */
const uint8_t *dkv_sorted_next(dkv_sorted *sorted, size_t *key_len);

/* Keep a journal of keys that appear and vanish, from an empty one on, or stop it. */
void dkv_note_changes(dkv_table *t, bool on);

/* Take a shard's journal: of each key its length, in two bytes, and itself; 0, DKV_ECLOSED,
   or DKV_ELOST when there were too many. The caller frees it. */
int dkv_take_changes(dkv_table *t, size_t shard, uint8_t **bytes, size_t *len);
void dkv_free_changes(uint8_t *bytes);

/* Begin to watch what happens after version `since`, or from DKV_NOW on, and give the place
   of the first event: 0, DKV_ELOST when events since then are not kept, or another code.
   Each watch that began has to end. Not two of these at a time. */
#define DKV_NOW UINT64_MAX
int dkv_watch(dkv_table *t, uint64_t since, uint64_t *at);
void dkv_unwatch(dkv_table *t);

/* Copy whole events from `*at` on, which moves, into `room` bytes, enough for the largest:
   the bytes of them, 0 when there are none yet, or a code. An event is its version, in 8
   bytes, the length of the key, in 2, the dkv_event, in 1, and the key. */
enum { DKV_EVENT_HEADER = 11 };
int64_t dkv_read_events(dkv_table *t, uint64_t *at, uint8_t *out, size_t room);

/* After dkv_expect_news, dkv_has_news is true once after something happened. To wait, expect
   news, read once more, and only then wait for whoever finds dkv_has_news to say so. */
void dkv_expect_news(dkv_table *t);
bool dkv_has_news(dkv_table *t);

#endif
