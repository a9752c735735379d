"""Currency marks: the symbols, codes and words by which price texts name a currency."""

import re
from collections.abc import Iterable
from typing import NamedTuple

# ISO 4217, list one (2026), and the codes that old price texts still carry.
_ISO_CODES = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD
CDF CHF CLF CLP CNY COP CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT
LAK LBP LKR LRD LSL LTL LVL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK
NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RUR RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS
SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UYW UZS VED VES VND VUV WST
XAF XCD XOF XPF YER ZAR ZMW ZWG ZWL ATS BEF DEM ESP FIM FRF GRD IEP ITL LUF NLG PTE SIT SKK EEK
"""
# Codes that are English words when written small: those count in capitals only.
_WORDS_TOO = frozenset(
    {"all", "cup", "gel", "mad", "mop", "pen", "ron", "sit", "sos", "top", "try", "scr", "bob"}
)

# Marks that name a currency wherever they stand; "-" where it is not in ISO 4217, or its hundredth (¢, GBp).
# A sign that several share is read as the best known of them.
_STRONG = """
$ USD|US$ USD|US $ USD|U$S USD|A$ AUD|AU$ AUD|AU $ AUD|C$ CAD|CA$ CAD|CA $ CAD|CAN$ CAD|CAD$ CAD|NZ$ NZD
NZ $ NZD|HK$ HKD|S$ SGD|SG$ SGD|NT$ TWD|MX$ MXN|R$ BRL|BZ$ BZD|J$ JMD|RD$ DOP|TT$ TTD|T$ TOP|Z$ ZWL
G$ GYD|GY$ GYD|N$ NAD|CUC$ CUC|MOP$ MOP|$U UYU|$b BOB|EC$ XCD|FJ$ FJD|B$ BSD|L$ LRD|Bds$ BBD|GH₵ GHS
R₣ RWF|E£ EGP|€ EUR|£ GBP|￡ GBP|¥ JPY|￥ JPY|₹ INR|₽ RUB|₴ UAH|₺ TRY|₪ ILS|₫ VND|฿ THB|₩ KRW|₦ NGN|₱ PHP
₡ CRC|₲ PYG|₵ GHS|₸ KZT|₮ MNT|₭ LAK|₾ GEL|ლ GEL|₼ AZN|֏ AMD|؋ AFN|៛ KHR|৳ BDT|﷼ IRR|ƒ AWG|₣ CHF|₤ ITL
₶ FRF|₨ INR|¢ -|₿ -|Ƀ -|円 JPY|元 CNY|圆 CNY|圓 CNY|人民币 CNY|원 KRW|บาท THB|र INR|ரூ LKR|රු LKR|ብር ETB
ናቕፋ ERN|نافكا ERN|ლარი GEL|zł PLN|Zł PLN|zl PLN|Kč CZK|Ft HUF|lei RON|Lei RON|LEI RON|лв BGN|лв. BGN
грн UAH|грн. UAH|hrn UAH|тг KZT|руб RUB|руб. RUB|рублей RUB|рубля RUB|рубль RUB|р. RUB|Р RUB|Rbl BYN
kr SEK|Kr SEK|kr. DKK|Fr. CHF|SFr CHF|CHf CHF|TL TRY|Rs INR|Rs. INR|Re INR|RM MYR|Rp IDR|KD KWD|BD BHD
DT TND|Dh AED|Dhs AED|KM BAM|км BAM|kn HRK|KSh KES|KShs KES|TSh TZS|USh UGX|Br ETB|Lek ALL|CFA XOF
FCFA XAF|FBu BIF|Fbu BIF|Fdj DJF|FG GNF|GFr GNF|FRw RWF|Nfk ERN|Nu. BTN|B/. PAB|S/. PEN|S/ PEN|VNĐ VND
đ VND|yen JPY|yuan CNY|pound GBP|pounds GBP|euro EUR|Euro EUR|euros EUR|EURO EUR|franc CHF|francs CHF
nis ILS|NIS ILS|ש״ח ILS|ש"ח ILS|ש'ח ILS|lari GEL|so'm UZS|som KGS|stg GBP|CND CAD|BTC -|Дин RSD|дин RSD
din RSD|Dinara RSD|ден MKD|ДЕН MKD|GBp -|Esc CVE|kwz AOA|SPL SLL|تومان -|ریال IRR|ريال SAR|ر.س SAR
ر.ق QAR|ر.ع OMR|ر.ي YER|ج.م EGP|جنيه EGP|ج.س SDG|ج.س. SDG|درهم AED|د.إ AED|د.م MAD|د.ك KWD
دينار كويتي KWD|د.أ JOD|د.ا JOD|دينار أردني JOD|دينار -|د.ج DZD|دج DZD|د.ت TND|د.ب BHD|.د.ب BHD|د.ع IQD
ع.د IQD|د.ل LYD|ل.د LYD|ل.س SYP|ل.ل LBP|ش.ج ILS|ش.ص SOS|د. -
"""

# Marks that are common letters or words too: they count only right behind a number, or (R) right before one.
_WEAK = """
P BWP|E SZL|D GMD|K ZMW|L HNL|G HTG|Q GTQ|q GTQ|R ZAR|с KGS|MT MZN|MK MWK|Rf MVR|RF RWF|UM MRU|Db STN
VT VUV|Vt VUV|Bs VES|Bs. VES|ZK ZMW|LD LRD|Ar MGA|ID IQD|Ks MMK|NT TWD|Nu BTN|Sl SLL|Sʻ UZS|S' UZS
"""

# The currencies that write themselves with a sign they share: a hint decides between these.
_SHARED = {
    "$": "USD AUD CAD NZD HKD SGD MXN ARS CLP COP TWD UYU BBD BMD BND BSD BZD FJD GYD JMD KYD LRD NAD XCD",
    "£": "GBP EGP FKP GIP LBP SDG SHP SSP SYP",
    "¥": "JPY CNY",
    "￥": "JPY CNY",
    "kr": "SEK NOK DKK ISK",
    "kr.": "DKK NOK SEK ISK",
    "Rs": "INR PKR LKR NPR MUR SCR",
    "Rs.": "INR PKR LKR NPR MUR SCR",
    "₨": "INR PKR LKR NPR MUR SCR",
    "Fr.": "CHF",
    "руб.": "RUB BYN",
    "руб": "RUB BYN",
    "Br": "ETB BYN",
}


class CurrencyMark(NamedTuple):
    """One mark in a text: where it stands, what it says, whether it counts anywhere."""

    start: int
    end: int
    text: str
    currency: str | None
    strong: bool


def _read_table(table: str) -> dict[str, str | None]:
    entries = (entry.rpartition(" ") for line in table.split("\n") for entry in line.split("|") if entry)
    return {mark: None if code == "-" else code for mark, _, code in entries}


_CODES = frozenset(_ISO_CODES.split())
_STRONG_MARKS = _read_table(_STRONG) | {code: code for code in _CODES}
_STRONG_MARKS |= {code.lower(): code for code in _CODES if code.lower() not in _WORDS_TOO}
_WEAK_MARKS = _read_table(_WEAK)
_MARKS = _STRONG_MARKS | _WEAK_MARKS

_LETTER = r"[^\W\d_]"


def _pattern_of(marks: Iterable[str]) -> str:
    """Write the pattern that finds the longest mark at a place.

    A mark that begins or ends with a letter is a word of its own there; a figure may touch it. They stand
    grouped by their first character, so that a place where none begins is passed at once.
    """
    tails: dict[str, list[str]] = {}
    for mark in sorted(marks, key=len, reverse=True):
        tail = re.escape(mark[1:]) + (rf"(?!{_LETTER})" if mark[-1].isalpha() else "")
        tails.setdefault(mark[0], []).append(tail)
    branches = (
        re.escape(first) + (rf"(?<!{_LETTER}{first})" if first.isalpha() else "") + f"(?:{'|'.join(ends)})"
        for first, ends in tails.items()
    )
    return rf"(?=[{re.escape(''.join(tails))}])(?:{'|'.join(branches)})"


_MARK = re.compile(_pattern_of(_MARKS))


def find_currency_marks(text: str) -> list[CurrencyMark]:
    """Find every mark in a text, longest first where several begin at one place."""
    return [
        CurrencyMark(
            match.start(), match.end(), match.group(), _MARKS[match.group()], match.group() in _STRONG_MARKS
        )
        for match in _MARK.finditer(text)
    ]


def find_currency(text: str | None) -> str | None:
    """Find the first currency that a text names beyond doubt; None where it names none."""
    marks = find_currency_marks(text or "")
    return next((mark.currency for mark in marks if mark.strong and mark.currency), None)


def resolve_shared_sign(mark: str, currency: str | None, hint: str | None) -> str | None:
    """Decide what a sign means that several currencies share: what the hint says, if it is one of them."""
    return hint if hint in _SHARED.get(mark, "").split() else currency
