/*
 * Integers as the table keeps them: decimal digits, a minus sign before a negative one, no
 * leading zeros, no plus sign, no space. One number has one spelling.
 */
#ifndef DKV_DECIMAL_H
#define DKV_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether `n` bytes spell a signed 64-bit integer; if so it is in `*number`. */
static inline bool dkv_decimal(const uint8_t *digits, size_t n, int64_t *number)
{
    bool negative = n && digits[0] == '-';
    size_t i = negative;
    uint64_t magnitude = 0;
    if (n - i < 1 || n - i > 19 || (digits[i] == '0' && n != 1))
        return false;
    for (; i < n; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        magnitude = magnitude * 10 + (uint64_t)(digits[i] - '0');
    }
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *number = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

#endif
