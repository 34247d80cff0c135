"""Popularity as caches meet it: the key of rank r is asked for in proportion to 1 / r ** 0.99.

The exponent is that of YCSB, which most published figures of key-value stores use.
"""

import random
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

T = TypeVar("T")

EXPONENT = 0.99


def draws(keys: Sequence[T], count: int, *, seed: int | None = None) -> list[T]:
    """`count` of the keys, the first being the most popular; the same ones for the same seed.

    >>> drawn = draws(range(1000), 10_000, seed=1)
    >>> 1000 < drawn.count(0) < 1700 and drawn.count(0) > drawn.count(10) > drawn.count(500)
    True
    """
    weights = accumulate((rank + 1) ** -EXPONENT for rank in range(len(keys)))
    return random.Random(seed).choices(keys, cum_weights=list(weights), k=count)
