import pytest

from nbhelpers.errors import UserError
from nbhelpers.networks import checkpoints


def made(folder):
    folder.mkdir(parents=True)
    for name in checkpoints.FILES:
        (folder / name).touch()
    return folder


def test_arms_lie_in_the_run_and_checkpoints_where_the_parameter_says(tmp_path):
    arm, own = made(tmp_path / "03_training/raw"), made(tmp_path / "elsewhere")
    assert checkpoints.folders(["raw"], {"mine": str(own)}, tmp_path) == {"raw": arm, "mine": own}


def test_a_name_that_is_both_an_arm_and_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="'raw' is an arm and a checkpoint"):
        checkpoints.folders(["raw"], {"raw": str(tmp_path)}, tmp_path)


@pytest.mark.parametrize("missing", checkpoints.FILES)
def test_a_folder_that_lacks_a_file_says_how_it_is_made(tmp_path, missing):
    (made(tmp_path / "03_training/raw") / missing).unlink()
    (made(tmp_path / "own") / missing).unlink()
    with pytest.raises(UserError, match=r"'raw' is not trained.*run 03_training"):
        checkpoints.folders(["raw"], {}, tmp_path)
    with pytest.raises(UserError, match=f"lacks {missing}.*nbhelpers checkpoint"):
        checkpoints.folders([], {"mine": str(tmp_path / "own")}, tmp_path)


@pytest.mark.parametrize(("arm", "seed", "name"), [("raw", None, "raw"), ("a_seed_b", 12, "a_seed_b/seed_12")])
def test_a_networks_name_tells_its_arm_and_further_seed(arm, seed, name):
    assert checkpoints.network_name(arm, seed) == name
    assert checkpoints.parse_name(name) == (arm, seed)


def test_further_seeds_follow_the_first_and_a_negative_number_of_them_is_named():
    assert checkpoints.further_seeds(3, 2) == [4, 5]
    assert checkpoints.further_seeds(3, 0) == []
    with pytest.raises(UserError, match="extra_seeds"):
        checkpoints.further_seeds(3, -1)
