"""Spellings of one name have the same letters."""

from tag2mask.text.letters import letters_of


def test_case_and_punctuation_do_not_count():
    assert letters_of(" Is_Train-2 ") == letters_of("is train 2") == "istrain2"
    assert letters_of("Größe") == "grösse"
