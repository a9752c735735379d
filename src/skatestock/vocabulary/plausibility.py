"""Which prices are believed at first sight, and which a second crawl must confirm."""

# A change by more than 7/10 of the believed price is a jump.
_JUMP_NUMERATOR = 7
_JUMP_DENOMINATOR = 10


def is_price_jump(believed_minor: int, new_minor: int) -> bool:
    """Tell whether a new price must be confirmed: it is zero, or more than 70 % away from the believed one.

    From a believed price of zero any price is plausible: there is nothing to measure the distance against.
    """
    if new_minor == 0:
        return True
    if believed_minor == 0:
        return False
    return _JUMP_DENOMINATOR * abs(new_minor - believed_minor) > _JUMP_NUMERATOR * believed_minor
