"""A verifier whose verdicts differ from response to response, whatever the model that wrote them."""

import zlib


def varied(gold, response):
    """Right is a response whose CRC-32 with the gold answer is even; there is no verdict on the gold ``unknown``."""
    if gold == "unknown":
        raise ValueError("no verdict, as asked")
    return zlib.crc32(f"{gold}:{response.text}".encode()) % 2 == 0
