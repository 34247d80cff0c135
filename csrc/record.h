/*
 * Changes as bytes in a file, and bytes back to changes: docs/format.md in C. It knows no table,
 * no file and no Python; dumbkv/_record.py is its twin, and a test holds the two to the same
 * bytes.
 *
 * A record is built in a buffer: room for its head, operation after operation, and at last the
 * head, which takes the place in the file into its checksum.
 */
#ifndef DKV_RECORD_H
#define DKV_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DKV_HEAD = 8, DKV_SET_SIZE = 23, DKV_DELETE_SIZE = 3, DKV_EXPIRE_SIZE = 11 };
enum { DKV_NUMBER_SIZE = 9 };

#define DKV_BODY_CEILING UINT32_MAX
#define DKV_EXPIRY_CEILING INT64_C(100000000000000000)

/* What an operation is. The numbers are those in files. */
typedef enum {
    DKV_OP_SET = 1,
    DKV_OP_DELETE,
    DKV_OP_CLEAR,
    DKV_OP_EXPIRE,
    DKV_OP_END,
    DKV_OP_SYNCED
} dkv_kind;

/* One operation; what its kind does not have is 0. */
typedef struct {
    dkv_kind kind;
    const uint8_t *key;
    size_t key_len;
    const uint8_t *value;
    size_t value_len;
    uint64_t version;
    int64_t expiry;  /* microseconds since 1970, 0 for never */
    uint64_t number; /* of DKV_OP_END and DKV_OP_SYNCED */
} dkv_operation;

typedef struct {
    uint8_t *bytes;
    size_t used, room;
} dkv_buffer;

/* See to it that `more` bytes fit: false when there is no memory for them. */
bool dkv_buffer_want(dkv_buffer *buffer, size_t more);
void dkv_buffer_free(dkv_buffer *buffer);

/* The bytes of an operation, and putting them behind what a buffer has: false, and nothing is
   put, when there is no memory. */
size_t dkv_encoded_size(const dkv_operation *operation);
bool dkv_encode(dkv_buffer *buffer, const dkv_operation *operation);

/* Fill in the head of the record of `size` bytes, head and body, that will stand at `offset`.
   `seed` is the checksum of the file's header. */
void dkv_seal(uint32_t seed, uint64_t offset, uint8_t *record, size_t size);

/* Look at a record at `offset` of which `left` bytes are there: its size, 0 when it begins with
   a length of 0, DKV_CUT when more than `left` bytes belong to it, or DKV_WRONG when the
   checksum does not fit. */
enum { DKV_CUT = -1, DKV_WRONG = -2 };
int64_t dkv_record_size(uint32_t seed, uint64_t offset, const uint8_t *record, size_t left);

/* Read the operation at `*at` of a body and move behind it: NULL, or what is wrong there. */
const char *dkv_decode(const uint8_t *body, size_t size, size_t *at, dkv_operation *operation);

#endif
