"""The rule files: those that come with SkateStock are sound, and broken ones are refused with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import pytest

from skatestock.vocabulary.category import Category
from skatestock.vocabulary.errors import RulesFileError
from skatestock.vocabulary.rules.loading import (
    RULE_FILES,
    current_rules,
    digest_rules,
    load_rules,
    parse_rules,
)

SOURCES: Mapping[str, str] = {
    name: files("skatestock.vocabulary.rules").joinpath(f"{name}.toml").read_text("utf-8")
    for name in RULE_FILES
}


def test_the_rules_that_come_with_skatestock_are_sound() -> None:
    rules = current_rules()
    assert set(rules.categories.categories) == set(Category)
    assert len(rules.version.split(".")) == len(RULE_FILES)
    assert len(rules.brands.brands) > 150


def test_brands_stand_in_the_order_of_their_names() -> None:
    names = [name.casefold().replace("é", "e") for name in current_rules().brands.brands]
    letters = ["".join(filter(str.isalnum, name)) for name in names]
    assert letters == sorted(letters)


@pytest.mark.parametrize(
    ("file", "before", "after", "why"),
    [
        ("brands", "version = 1", "version = 0", "brands.toml: version: Expected `int` >= 1"),
        ("brands", "version = 1", "", "brands.toml: Object missing required field `version`"),
        ("brands", "[brands]", "[brands", "brands.toml: this is no TOML"),
        ("brands", '"Alltimers" = {}', '"Alltimers" = { alias = ["x"] }', "unknown field `alias`"),
        ("brands", '"Alltimers" = {}', '"Alltimers" = { aliases = ["vans"] }', "one of 'Alltimers' already"),
        ("brands", '"Alltimers" = {}', '"Alltimers" = { aliases = ["!?"] }', "'!?' has no letters or digits"),
        ("brands", '"Alltimers" = {}', '"Alltimers" = { usual = "hammers" }', "Invalid enum value 'hammers'"),
        ("brands", '"Alltimers" = {}', '"Alltimers" = { within = "Vans" }', "'within' names another brand"),
        (
            "brands",
            '"Alltimers" = {}',
            "\"Alltimers\" = { style_codes = [{ pattern = '[A' }] }",
            "'[A' is no pattern",
        ),
        ("categories", "[categories.media]", "[categories.films]", "Invalid enum value 'films'"),
        ("categories", "[categories.media]", "[categories.media.x]", "unknown field `x`"),
        ("categories", 'nouns = ["bearing"]', 'nouns = ["bearing", "truck"]', "'truck' is a word of"),
        ("categories", 'taxonomy = "aa-8"', 'taxonomy = "Shoes"', "Expected `str` matching regex"),
        ("sizes", "media = [", "films = [", "kinds: 'media' is missing"),
        ("sizes", '["deck", "one-size"]', '["dek"]', "Invalid enum value 'dek'"),
        ("sizes", 'axle = ["7", "11"]', 'axle = ["11", "7"]', "'axle' goes from 11 to 7"),
        ("sizes", 'axle = ["7", "11"]', "", "limits: 'axle' is missing"),
        ("sizes", 'bare = "men"', 'bare = "dogs"', "'bare' is 'dogs'"),
        ("sizes", '[hangers."Ace"]', '[hangers."Acme"]', "no brand 'Acme' in brands.toml"),
        ("sizes", '"6XL" = ["6x"]', '"9XL" = ["9x"]', "there is no size '9XL'"),
        ("titles", '"aqua"', '"Aqua"', "'Aqua' is not one word in lower case"),
        ("titles", "colours = [", "colors = [", "unknown field `colors`"),
    ],
)
def test_a_broken_rule_file_is_refused_with_the_place_and_the_reason(
    file: str, before: str, after: str, why: str
) -> None:
    assert before in SOURCES[file]
    broken = {**SOURCES, file: SOURCES[file].replace(before, after, 1)}
    with pytest.raises(RulesFileError) as refused:
        parse_rules(broken)
    assert why in str(refused.value)
    assert f"{file}.toml" in str(refused.value)


def test_a_category_without_a_rule_is_missed() -> None:
    start = SOURCES["categories"].index("[categories.media]")
    end = SOURCES["categories"].index("[categories.gift-cards]")
    text = SOURCES["categories"][:start] + SOURCES["categories"][end:]
    with pytest.raises(RulesFileError, match="category 'media' has no rule"):
        parse_rules({**SOURCES, "categories": text})


def test_rules_are_read_from_another_folder_and_told_apart(tmp_path: Path) -> None:
    for name, text in SOURCES.items():
        (tmp_path / f"{name}.toml").write_text(text, "utf-8")
    assert load_rules(tmp_path) == current_rules()
    assert digest_rules(tmp_path) == digest_rules()
    changed = SOURCES["brands"].replace("version = 1", "version = 2", 1)
    (tmp_path / "brands.toml").write_text(changed, "utf-8")
    assert load_rules(tmp_path).version == "2." + current_rules().version.partition(".")[2]
    assert digest_rules(tmp_path) != digest_rules()
    (tmp_path / "brands.toml").unlink()
    with pytest.raises(RulesFileError, match=r"brands\.toml: the rule file cannot be read"):
        load_rules(tmp_path)
