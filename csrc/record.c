#include "record.h"

#include "crc32.h"
#include "memory.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers go into files as they are");

bool dkv_buffer_want(dkv_buffer *buffer, size_t more)
{
    size_t room = buffer->room ? buffer->room : 512;
    if (more > SIZE_MAX / 2 - buffer->used)
        return false;
    while (room < buffer->used + more)
        room *= 2;
    if (room == buffer->room)
        return true;
    uint8_t *bytes = DKV_MALLOC(room);
    if (!bytes)
        return false;
    if (buffer->used)
        memcpy(bytes, buffer->bytes, buffer->used);
    DKV_FREE(buffer->bytes);
    buffer->bytes = bytes;
    buffer->room = room;
    return true;
}

void dkv_buffer_free(dkv_buffer *buffer)
{
    DKV_FREE(buffer->bytes);
    *buffer = (dkv_buffer){NULL, 0, 0};
}

size_t dkv_encoded_size(const dkv_operation *operation)
{
    switch (operation->kind) {
    case DKV_OP_SET:
        return DKV_SET_SIZE + operation->key_len + operation->value_len;
    case DKV_OP_DELETE:
        return DKV_DELETE_SIZE + operation->key_len;
    case DKV_OP_EXPIRE:
        return DKV_EXPIRE_SIZE + operation->key_len;
    case DKV_OP_CLEAR:
        return 1;
    default:
        return DKV_NUMBER_SIZE;
    }
}

static uint8_t *put_bytes(uint8_t *at, const void *from, size_t n)
{
    if (n) /* memcpy may not be given NULL, even for no bytes */
        memcpy(at, from, n);
    return at + n;
}

bool dkv_encode(dkv_buffer *buffer, const dkv_operation *operation)
{
    size_t size = dkv_encoded_size(operation);
    if (!dkv_buffer_want(buffer, size))
        return false;
    uint8_t *at = buffer->bytes + buffer->used;
    uint16_t key_len = (uint16_t)operation->key_len;
    uint32_t value_len = (uint32_t)operation->value_len;
    *at++ = (uint8_t)operation->kind;
    switch (operation->kind) {
    case DKV_OP_SET:
        at = put_bytes(at, &key_len, sizeof key_len);
        at = put_bytes(at, &value_len, sizeof value_len);
        at = put_bytes(at, &operation->version, sizeof operation->version);
        at = put_bytes(at, &operation->expiry, sizeof operation->expiry);
        break;
    case DKV_OP_EXPIRE:
        at = put_bytes(at, &key_len, sizeof key_len);
        at = put_bytes(at, &operation->expiry, sizeof operation->expiry);
        break;
    case DKV_OP_DELETE:
        at = put_bytes(at, &key_len, sizeof key_len);
        break;
    case DKV_OP_CLEAR:
        break;
    default:
        at = put_bytes(at, &operation->number, sizeof operation->number);
    }
    at = put_bytes(at, operation->key, operation->key_len);
    (void)put_bytes(at, operation->value, operation->value_len);
    buffer->used += size;
    return true;
}

static uint32_t checksum(uint32_t seed, uint64_t offset, const uint8_t *body, uint32_t size)
{
    uint8_t place[sizeof offset + sizeof size];
    memcpy(place, &offset, sizeof offset);
    memcpy(place + sizeof offset, &size, sizeof size);
    return dkv_crc32(dkv_crc32(seed, place, sizeof place), body, size);
}

void dkv_seal(uint32_t seed, uint64_t offset, uint8_t *record, size_t size)
{
    uint32_t length = (uint32_t)(size - DKV_HEAD);
    uint32_t crc = checksum(seed, offset, record + DKV_HEAD, length);
    memcpy(record, &length, sizeof length);
    memcpy(record + sizeof length, &crc, sizeof crc);
}

int64_t dkv_record_size(uint32_t seed, uint64_t offset, const uint8_t *record, size_t left)
{
    uint32_t length, crc;
    if (left < sizeof length)
        return DKV_CUT;
    memcpy(&length, record, sizeof length);
    if (!length)
        return 0;
    if (left < DKV_HEAD || length > left - DKV_HEAD)
        return DKV_CUT;
    memcpy(&crc, record + sizeof length, sizeof crc);
    if (checksum(seed, offset, record + DKV_HEAD, length) != crc)
        return DKV_WRONG;
    return DKV_HEAD + (int64_t)length;
}

/* Take `n` bytes of a body from `*at` on, if there are as many. */
static bool take_bytes(const uint8_t *body, size_t size, size_t *at, void *to, size_t n)
{
    if (size - *at < n)
        return false;
    memcpy(to, body + *at, n);
    *at += n;
    return true;
}

static const char *take_text(const uint8_t *body, size_t size, size_t *at, dkv_operation *o)
{
    if (o->key_len > size - *at)
        return "the key goes past the end of the record";
    o->key = body + *at;
    *at += o->key_len;
    if (o->value_len > size - *at)
        return "the value goes past the end of the record";
    o->value = body + *at;
    *at += o->value_len;
    if (!o->key_len)
        return "an empty key";
    if (o->expiry < 0 || o->expiry > DKV_EXPIRY_CEILING)
        return "an expiry that is out of range";
    return NULL;
}

const char *dkv_decode(const uint8_t *body, size_t size, size_t *at, dkv_operation *o)
{
    static const char cut[] = "an operation is cut";
    uint8_t kind;
    uint16_t key_len;
    uint32_t value_len;
    *o = (dkv_operation){.key_len = 0};
    if (!take_bytes(body, size, at, &kind, sizeof kind))
        return cut;
    o->kind = (dkv_kind)kind;
    switch (kind) {
    case DKV_OP_SET:
        if (!take_bytes(body, size, at, &key_len, sizeof key_len) ||
            !take_bytes(body, size, at, &value_len, sizeof value_len) ||
            !take_bytes(body, size, at, &o->version, sizeof o->version) ||
            !take_bytes(body, size, at, &o->expiry, sizeof o->expiry))
            return cut;
        if (o->version == 0 || o->version > INT64_MAX)
            return "a version that is out of range";
        o->key_len = key_len;
        o->value_len = value_len;
        return take_text(body, size, at, o);
    case DKV_OP_DELETE:
        if (!take_bytes(body, size, at, &key_len, sizeof key_len))
            return cut;
        o->key_len = key_len;
        return take_text(body, size, at, o);
    case DKV_OP_EXPIRE:
        if (!take_bytes(body, size, at, &key_len, sizeof key_len) ||
            !take_bytes(body, size, at, &o->expiry, sizeof o->expiry))
            return cut;
        o->key_len = key_len;
        return take_text(body, size, at, o);
    case DKV_OP_CLEAR:
        return NULL;
    case DKV_OP_END:
    case DKV_OP_SYNCED:
        return take_bytes(body, size, at, &o->number, sizeof o->number) ? NULL : cut;
    default:
        return "an operation of an unknown kind";
    }
}
