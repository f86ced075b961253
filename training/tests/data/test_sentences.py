import pytest

from distillvlm.data.sentences import distinct_sentences, function_word_endings


def test_distinct_sentences_ignores_case_and_spacing() -> None:
    assert distinct_sentences(["A dog", "a  dog ", "a cat"]) == 2
    assert distinct_sentences([]) == 0


def test_function_word_endings_is_a_share_of_captions() -> None:
    assert function_word_endings(["a dog in a", "a dog in a .", "a dog", ""]) == 0.5
    with pytest.raises(ValueError, match="at least one caption"):
        function_word_endings([])
