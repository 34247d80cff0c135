/*
 * CRC-32 as zlib has it, the one of gzip and PNG: dkv_crc32(0, bytes, n) begins one, and its
 * answer goes on over the bytes behind.
 */
#ifndef DKV_CRC32_H
#define DKV_CRC32_H

#include <stddef.h>
#include <stdint.h>

uint32_t dkv_crc32(uint32_t crc, const void *bytes, size_t n);

/* The same without the processor's own multiplication, which not every processor has. */
uint32_t dkv_crc32_plain(uint32_t crc, const void *bytes, size_t n);

#endif
