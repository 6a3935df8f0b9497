"""The tools: what a task does with a text. Each is a function of the text and of parameters that have defaults."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from inspect import getfullargspec
from typing import Any

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_SENTENCE = re.compile(r"[^.!?\s][^.!?]*[.!?]*")
_QUANTITY = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*(km|m|cm|mi|ft|in|kg|g|lb|oz)s?\b")
_LONGEST = 15_000  # characters: what several steps have given grows with each that reads it
_VOWELS = re.compile(r"[aeiouy]+")
_COMMON = (
    "a an and are as at be but by for from had has have he her his i in is it its not of on or our she so that the their "
    "there they this to was we were what when which who will with would you your"
)
_STOP_WORDS = frozenset(_COMMON.split())
_FACTORS: Mapping[str, tuple[float, str]] = {
    "km": (0.621371, "mi"), "m": (3.28084, "ft"), "cm": (0.393701, "in"), "kg": (2.20462, "lb"), "g": (0.035274, "oz"),
    "mi": (1.609344, "km"), "ft": (0.3048, "m"), "in": (2.54, "cm"), "lb": (0.45359237, "kg"), "oz": (28.349523, "g"),
}  # fmt: skip


class ToolError(Exception):
    """A tool cannot do anything with the text; its message is for whoever gave it."""


def count_words(text: str) -> str:
    """Return how many words, sentences and characters there are."""
    return f"{len(_WORD.findall(text))} words, {len(_sentences(text))} sentences, {len(text)} characters"


def extract_keywords(text: str, *, count: int = 5) -> str:
    """Return the words that occur most, the common ones of English left out."""
    return ", ".join(word for word, _ in _frequencies(text).most_common(count))


def summarise(text: str, *, sentences: int = 2) -> str:
    """Return the sentences whose words occur most in the text, in their order (Luhn, 1958)."""
    frequencies, found = _frequencies(text), _sentences(text)

    def score(sentence: str) -> float:
        words = [word.lower() for word in _WORD.findall(sentence)]
        return sum(frequencies[word] for word in words) / (len(words) or 1)

    best = sorted(range(len(found)), key=lambda place: score(found[place]), reverse=True)[:sentences]
    return " ".join(found[place] for place in sorted(best))


def measure_readability(text: str) -> str:
    """Return Flesch's reading ease: 206.835 - 1.015 words per sentence - 84.6 syllables per word (Flesch, 1948)."""
    words, found = _WORD.findall(text), _sentences(text)
    if not words:
        raise ToolError("there are no words to read")
    syllables = sum(max(1, len(_VOWELS.findall(word.lower().removesuffix("e")))) for word in words)
    ease = 206.835 - 1.015 * len(words) / len(found) - 84.6 * syllables / len(words)
    return f"reading ease {ease:.0f} of 100"


def convert_units(text: str) -> str:
    """Return the text with its lengths and weights in the other system, metric or imperial."""
    converted, count = _QUANTITY.subn(_converted, text)
    if not count:
        raise ToolError("there is no length or weight to convert")
    return converted


def describe_text(text: str, *, longest: int = 3) -> str:
    """Return how long words are on average, how many of them differ, and the longest ones."""
    words = [word.lower() for word in _WORD.findall(text)]
    if not words:
        raise ToolError("there are no words to describe")
    distinct = sorted(set(words), key=lambda word: (-len(word), word))
    average = sum(map(len, words)) / len(words)
    return f"{average:.1f} letters a word, {len(distinct)} different words, longest: {', '.join(distinct[:longest])}"


def tidy(text: str) -> str:
    """Return the text with one blank between words, and none before a comma or a full stop."""
    return re.sub(r"\s+([,.;:!?])", r"\1", " ".join(text.split()))


TOOLS: Mapping[str, Callable[..., str]] = {
    tool.__name__: tool
    for tool in (count_words, extract_keywords, summarise, measure_readability, convert_units, describe_text, tidy)
}
"""The functions that rows of `Tool` name."""


def use(function: str, text: str, parameters: Mapping[str, Any]) -> str:
    """Return what a tool makes of *text*, with those of the parameters that it has.

    Raises:
        ToolError: It cannot do anything with the text, which may be too long, or there is no such function.
    """
    if (tool := TOOLS.get(function)) is None:
        raise ToolError(f"there is no function called {function}")
    if len(text) > _LONGEST:
        raise ToolError(f"the text has more than {_LONGEST:,} characters")
    return tool(text, **{name: parameters[name] for name in getfullargspec(tool).kwonlyargs if name in parameters})


def _sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in _SENTENCE.findall(text)]


def _frequencies(text: str) -> Counter[str]:
    return Counter(word for word in (found.lower() for found in _WORD.findall(text)) if word not in _STOP_WORDS)


def _converted(quantity: re.Match[str]) -> str:
    number, unit = quantity.groups()
    factor, other = _FACTORS[unit]
    return f"{float(number) * factor:.4g} {other}"
