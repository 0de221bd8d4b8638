from __future__ import annotations

from pathlib import Path

import pytest

from deploy.configuration import docstrings
from include.retriever.recipe import Recipe, RecipeError, read_recipe
from include.settings import get_settings


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_without_a_file_it_is_the_articles() -> None:
    recipe = read_recipe(None)
    assert recipe == Recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.train_share) == (1, 64, 2e-5, 0.8)


def test_what_a_file_leaves_out_stays_as_it_is(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, "epochs = 2\nmatryoshka = [256, 128]\n"))
    assert recipe == Recipe(epochs=2, matryoshka=[256, 128])


def test_the_local_profile_has_one() -> None:
    path = get_settings().training.recipe
    assert path is not None
    recipe = read_recipe(path)
    assert (recipe.max_episodes, recipe.learning_rate) == (3_000, 5e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rat = 1e-4", "there is no learning_rat; the closest match is learning_rate"),
        ("epochs = 0", "epochs = 0: Input should be greater than or equal to 1"),
        ("learning_rate = nan", "learning_rate = nan: "),
        ("train_share = 0.9\neval_share = 0.1", "train_share and eval_share leave nothing to test on"),
        ('teacher = "judge"', "A teacher scores hard negatives"),
        ("epochs: 3", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named_with_the_file_and_the_value(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.toml \(PODSEARCH_RECIPE\) cannot be read"):
        read_recipe(tmp_path / "none.toml")


def test_every_entry_is_described() -> None:
    assert docstrings(Recipe).keys() == Recipe.model_fields.keys()
