"""docs/NORMALISATION.md belongs to the rules as they are, and its figures to what is measured now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from benchmarks import normalisation
from benchmarks.normalisation import REACH_PERCENT, load_gold, render_block, score

from skatestock.vocabulary.rules.loading import current_rules, digest_rules

PAGE = Path(__file__).parents[2] / "docs" / "NORMALISATION.md"


def test_the_page_belongs_to_the_rules_as_they_are() -> None:
    mark = f"Rules {current_rules().version}, state {digest_rules()}."
    assert mark in PAGE.read_text("utf-8"), "run `python -m benchmarks.normalisation --write`"


def test_the_figures_on_the_page_are_those_that_are_measured(shared_data: Path) -> None:
    assert render_block(shared_data) in PAGE.read_text("utf-8")


def test_recorded_listings_are_read_as_a_person_read_them(shared_data: Path) -> None:
    gold = load_gold(shared_data)
    scored = score(gold, current_rules())
    assert scored.listings == 280
    least = scored.listings * (100 - REACH_PERCENT) / 100
    assert scored.brands >= least
    assert scored.categories >= least
    assert scored.unnamed < scored.listings - least


def test_what_makers_usually_make_is_asked_last(shared_data: Path) -> None:
    """Without it some listings are silent, but none says anything else."""
    gold = load_gold(shared_data)
    with_it, without = (
        score(gold, rules) for rules in (current_rules(), normalisation.without_usual(current_rules()))
    )
    assert without.brands == with_it.brands
    assert without.categories < with_it.categories
    assert without.categories + without.unnamed >= with_it.categories


def test_the_benchmark_finds_the_data_where_the_tests_find_it(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(os.environ, "SKATESTOCK_SHARED_DATA", str(shared_data))
    assert normalisation.find_data() == shared_data
    monkeypatch.setitem(os.environ, "SKATESTOCK_SHARED_DATA", str(tmp_path))
    assert normalisation.find_data() is None


def test_no_rule_is_about_one_listing(shared_data: Path) -> None:
    """A name that holds four words or more and stands in one title only would be that title, not a rule."""
    titles = {row.title.casefold() for row in load_gold(shared_data)}
    rules = current_rules()
    phrases = [noun for rule in rules.categories.categories.values() for noun in rule.nouns]
    phrases += [*rules.categories.not_nouns, *rules.brands.brands]
    for phrase in phrases:
        assert len(phrase.split()) <= 5, phrase
        assert phrase.casefold() not in titles
