from __future__ import annotations

import pytest

from include.queries.titles import bare_title, count_words, is_question

BARE = [
    # numbering in front
    ("Ep. 47 – Why we sleep", "", "Why we sleep"),
    ("Episode #12: Bread", "", "Bread"),
    ("EP2087: The Cathy Victor Case", "", "The Cathy Victor Case"),
    ("EP39.5: Woodenism", "", "Woodenism"),
    ("S02E05 The White Tub", "", "The White Tub"),
    ("#112: Lost property", "", "Lost property"),
    ("#173 The fart funnel", "", "The fart funnel"),
    ("091 - Bees", "", "Bees"),
    ("053 Corona weekly", "", "Corona weekly"),
    ("[12] Hello there", "", "Hello there"),
    ("TAS 323: Habits", "", "Habits"),
    ("Mi363 – Pommes", "", "Pommes"),
    ("MBA827 How to part", "", "How to part"),
    ("Folge 28: Zu wenig getrunken", "", "Zu wenig getrunken"),
    ("Avsnitt 3 - Höstmörker", "", "Höstmörker"),
    ("Épisode 7 : La colère", "", "La colère"),
    ("🎧 #12: Night walks 🎉", "", "Night walks 🎉"),
    # and behind
    ("Seven ways to rank | Ep. #190", "", "Seven ways to rank"),
    ("Awful posts Part 22", "", "Awful posts"),
    ("Dark matter (2)", "", "Dark matter"),
    ("Photos (Season 4, Episode 6)", "", "Photos"),
    ("Dr. Who – S3 E2", "", "Dr. Who"),
    ("Milk stout 12-16-14", "", "Milk stout"),
    ("What the packet hides (REPEAT)", "", "What the packet hides"),
    # nothing but a number
    ("Episode 466", "", ""),
    ("S02E05", "", ""),
    ("Season One, Episode 5", "", ""),
    ("19.06.2023", "", ""),
    # years, and numbers that are words of the title, are kept
    ("2016: a year in review", "", "2016: a year in review"),
    ("Best of 2016", "", "Best of 2016"),
    ("Albums - 2016", "", "Albums - 2016"),
    ("Review (2016)", "", "Review (2016)"),
    ("1984 by George Orwell", "", "1984 by George Orwell"),
    ("12 rules for bread", "", "12 rules for bread"),
    ("24 hours in Lagos", "", "24 hours in Lagos"),
    ("Living with Covid-19", "", "Living with Covid-19"),
    ("Apollo 13: the story", "", "Apollo 13: the story"),
    # the show's name
    ("Why we sleep | The Night Shift", "The Night Shift", "Why we sleep"),
    ("THE NIGHT SHIFT: Why we sleep", "The Night Shift", "Why we sleep"),
    ("UKW053 Corona weekly", "UKW", "Corona weekly"),
    ("Showtime tonight", "Show", "Showtime tonight"),
    ("C++ (fun) basics", "C++ (fun)", "basics"),
    # quotation marks only where they are a pair around the whole
    ('S01E10 "I thought it was my heart"', "", "I thought it was my heart"),
    ('One Star: "The Cat Looked at Me"', "", 'One Star: "The Cat Looked at Me"'),
    ("眠れない夜", "", "眠れない夜"),
    ("", "", ""),
]


@pytest.mark.parametrize(("title", "show", "bare"), BARE)
def test_bare_title_is_what_a_listener_might_ask(title: str, show: str, bare: str) -> None:
    assert bare_title(title, show) == bare


@pytest.mark.parametrize("title", [title for title, _, bare in BARE if bare])
def test_a_bare_title_is_bare(title: str) -> None:
    """Stripping twice gives nothing new, or the number of the title would depend on how often it was cleaned."""
    once = bare_title(title, "")
    assert bare_title(once, "") == once


@pytest.mark.parametrize(
    ("title", "asks"),
    [
        ("Why we sleep", True),
        ("Night walks in Lagos", True),
        ("Night Walks", True),  # its words are common, whatever their case here
        ("Anouk Terwilliger and Joop van Dalen", True),  # the names of four words and more may be a subject
        ("Anouk Terwilliger", False),
        ("Sleep", False),
        ("December 28, 2016", False),
        ("Wednesday 11 May", False),
        ("", False),
        ("🎉 🎉", False),
        ("眠れない夜", True),
    ],
)
def test_dates_and_names_of_guests_are_no_questions(title: str, asks: bool) -> None:
    """Title and name are held out of the positive: nothing in it would answer such a query."""
    assert is_question(title, {"why", "we", "sleep", "night", "walks"}) is asks


def test_words_are_counted_in_scripts_without_spaces() -> None:
    assert count_words("why we sleep – 12 !") == 3
    assert count_words("眠れない夜です") == 3
    assert count_words("") == 0
