from nbhelpers.validation import published


def test_published_values_mark_the_matching_films_alone():
    assert published.reference("rsna", 14_863).auroc == (0.923, 0.919, 0.927)
    assert published.reference("kermany", 5_840).aupr == (0.913, 0.904, 0.922)
    assert published.reference("rsna", 26_684) is None
    assert published.reference("simulated_hospital", 5_856) is None
