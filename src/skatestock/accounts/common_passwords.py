"""Passwords of ten characters and more that are tried first everywhere, and how their like is told."""

import re

# What people write when ten characters are asked for, in lower case and with letters for look-alikes.
_WHOLE = """
    1qaz2wsx3edc 1q2w3e4r5t 1q2w3e4r5t6y zaq12wsxcde3 qazwsxedcr qazwsxedcrfv q1w2e3r4t5 q1w2e3r4t5y6
    asdfghjkl123 asdfghjklqwerty qwertyasdfgh qwerasdfzxcv qwertyuiopasdfghjkl 123qweasdzxc 1234qwerasdf
    0123456789 1234567890 9876543210 0987654321 1234567891 1122334455 1212121212 1231231231 1231231234
    123123123123 11223344556677 147258369 1472583690 147852369 1478523690 7894561230 789456123 3141592653
    31415926535 2718281828 5201314520 0000000001 1111111112 abcd123456 abcde12345 a123456789 aa123456789
    abc1234567 abc123456789 qwe1234567 letmeinnow trustno1trustno1 correcthorsebatterystaple
"""
_STEMS = """
    password passwords passwort motdepasse contrasena contraseña parola wachtwoord passwordpassword
    mypassword thepassword newpassword oldpassword testpassword adminpassword yourpassword changeme
    changemenow changethis letmein letmeinplease iloveyou iloveyouso iloveu ihateyou welcome welcomehome
    administrator admin adminadmin root rootroot superuser superman batman spiderman dragon monkey football
    baseball basketball princess sunshine starwars pokemon michael michelle jennifer jessica charlie shadow
    master computer internet whatever trustno qwerty qwertyui qwertyuiop qwertz qwertzuiop azerty
    azertyuiop asdfgh asdfghjkl zxcvbn zxcvbnm qazwsx qazwsxedc abcdef abcdefgh abcdefghij test testtest
    testing guest default secret topsecret secretpassword nothing freedom liverpool chelsea barcelona
    manchester ronaldo metallica blink slipknot nirvana samsung google facebook instagram linkedin
    skate skater skateboard skateboarding skateshop skatestock skateordie skateanddestroy thrasher
    tonyhawk kickflip
"""
_COMMON, _COMMON_STEMS = frozenset(_WHOLE.split()), frozenset(_STEMS.split())
_LOOK_ALIKES = str.maketrans("@4301!5$7", "aaeoiisst")
_ROWS = ("01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "abcdefghijklmnopqrstuvwxyz")
_ENDS = re.compile(r"^[\W\d_]+|[\W\d_]+$")


def find_weakness(password: str, email: str) -> str | None:
    """Tell why a password would be guessed early; None for one that would not."""
    folded = password.casefold()
    if folded == email or folded in (email.partition("@")[0], email.partition("@")[2]):
        return "is your e-mail address"
    if len(set(folded)) < 3:
        return "is one or two characters over and over"
    if _is_run(folded):
        return "is a row of the keyboard or the alphabet"
    candidates = {folded, folded.translate(_LOOK_ALIKES)}
    stems = {_ENDS.sub("", text) for text in (folded, _ENDS.sub("", folded).translate(_LOOK_ALIKES))}
    if candidates & _COMMON or stems & _COMMON_STEMS:
        return "is one of the most common passwords"
    return None


def _is_run(text: str) -> bool:
    """Tell whether the text is a piece of a row, forwards or backwards, repeated or not."""
    steps = [row + row for row in _ROWS]
    return any(text in row * 8 or text in row[::-1] * 8 for row in steps)
