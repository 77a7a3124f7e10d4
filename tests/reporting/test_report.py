"""The report: every number of the tables, nothing that is not there, and what was simulated said first."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from reporting import run_fixture

from nbhelpers.errors import UserError
from nbhelpers.reporting import checklists, report, run_facts


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_fixture.write(tmp_path / "demo")


def page(run: Path) -> str:
    return report.write(run).read_text("utf-8")


def text(page: str) -> str:
    """What a reader sees, with single spaces."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_each_primary_metric_of_the_table_is_on_the_page_with_its_interval(run: Path) -> None:
    told = text(page(run))
    table = pd.read_csv(run / "04_external_validation" / "metrics.csv")
    for row in table[table["primary"]].to_dict("records"):
        assert f"{row['value']:.3f}" in told and f"{row['ci_low']:.3f} to {row['ci_high']:.3f}" in told


def test_trivial_baselines_stand_beside_the_arms_and_say_what_they_used(run: Path) -> None:
    told = text(page(run))
    assert re.search(r"thumbnail \(trained on this set\) uses this set's labels 0\.950", told)
    assert re.search(r"file size 0\.750 \(0\.700 to 0\.800\)", told)
    assert "cropped trained on simulated images 0.800" in told and "beats the best trivial baseline" in told


def test_an_arms_method_stands_beside_its_source_and_crop(run: Path) -> None:
    assert "simulator, crop none, pairs" in text(page(run))


def test_what_is_simulated_comes_before_the_first_result(run: Path) -> None:
    told = text(page(run))
    assert told.index("Part of this run is simulated") < told.index("raw (simulated) 0.700")
    assert "0.800" not in told[: told.index("Part of this run is simulated")]


def test_a_wholly_simulated_run_says_so_and_a_real_one_does_not(run: Path) -> None:
    datasets = run / "04_external_validation" / "datasets.csv"
    table = pd.read_csv(datasets)
    for stage in run.glob("0*/**/run.json"):
        record = json.loads(stage.read_text())
        record["parameters"]["arms"] = {"cropped": run_fixture.ARMS["cropped"]}
        stage.write_text(json.dumps(record))
    table[table["simulated"]].to_csv(datasets, index=False)
    assert "Everything in this run is simulated" in page(run)
    table[~table["simulated"]].to_csv(datasets, index=False)
    assert "Everything in this run is simulated" not in page(run)


def test_exclusions_are_counted_with_their_reasons(run: Path) -> None:
    told = text(page(run))
    assert "2 near duplicate" in told and "4 unreadable" in told and "2 file missing" in told


def test_what_a_reader_should_know_of_a_set_stands_under_it(run: Path) -> None:
    note = "12 films found, 5,856 <published>"
    table = pd.DataFrame({"dataset": ["kermany"], "note": [note]})
    table.to_csv(run / "04_external_validation" / "notes.csv", index=False)
    written = page(run)
    assert html.escape(note) in written
    assert written.index("Chest X-Ray (Kermany)</td>") < written.index("12 films found")


def test_text_of_the_run_never_becomes_markup(run: Path) -> None:
    evil = "<script>alert(1)</script>"
    record = json.loads((run / "01_prompting" / "run.json").read_text())
    record["parameters"]["note"] = evil
    (run / "01_prompting" / "run.json").write_text(json.dumps(record))
    table = pd.read_csv(run / "04_external_validation" / "datasets.csv")
    table["title"] = evil
    table.to_csv(run / "04_external_validation" / "datasets.csv", index=False)
    written = page(run)
    assert "<script" not in written and html.escape(evil) in written


def test_a_run_of_the_first_stages_alone_has_a_page_without_results(tmp_path: Path) -> None:
    run = run_fixture.write(tmp_path / "demo", with_validation=False)
    told = text(page(run))
    assert "No film has been scored yet" in told and "nan" not in told.lower().split()


def test_what_stands_against_the_networks_is_told_under_results(run: Path) -> None:
    row = {"dataset": "kermany", "metric": "in_lungs", "value": 0.2, "random_map_less_high": -0.01}
    known = pd.DataFrame(
        [
            row | {"map": "cropped"},
            row | {"map": "raw", "value": 0.3, "random_map_less_high": 0.02},
            row | {"map": "random_map", "value": 0.28, "random_map_less_high": None},
        ]
    )
    known.to_csv(run / "05_interpretability" / "saliency.csv", index=False)
    clusters = pd.DataFrame({"arm": ["cropped", "raw", "not_fine_tuned"], "dataset": "kermany", "prevalence": 0.3})
    clusters = clusters.assign(accuracy=[0.65, 0.75, 0.55], ari=0.1)
    clusters.to_csv(run / "05_interpretability" / "clusters.csv", index=False)
    told = text(page(run))
    results = told[told.index("Caveats") : told.index("Figures", told.index("Caveats"))]
    assert "than of a random map lies in the lungs (0.280): cropped 0.200." in results
    assert "by the larger class does (0.700): accuracy of cropped 0.650." in results


def test_each_figure_says_what_in_it_is_simulated(run: Path) -> None:
    (run / "figures").mkdir()
    for name in ("figure_1", "figure_2", "training_cropped", "training_photos"):
        (run / "figures" / f"{name}.png").write_bytes(b"x")
    written = page(run)
    badges = {
        name: re.findall(r'class="mark simulated">([^<]+)<', body)
        for name, body in re.findall(r'<figure id="(\w+)">(.*?)</figure>', written, flags=re.DOTALL)
    }
    assert badges["training_cropped"] == ["simulated"] and badges["training_photos"] == []
    assert badges["figure_1"] == ["in part simulated"]
    assert badges["figure_2"] == ["some arms trained on simulated images, some films simulated"]
    assert "Diamond" not in written  # 24 films are not the paper's
    assert "Run demo: " in text(written)


def test_notebooks_and_figures_are_linked_only_where_they_are(run: Path) -> None:
    (run / "notebooks").mkdir()
    (run / "notebooks" / "03_training_raw.html").write_text("x")
    (run / "figures").mkdir()
    (run / "figures" / "figure_2.png").write_bytes(b"x")
    (run / "figures" / "figure_2.svg").write_bytes(b"x")
    written = page(run)
    links = [link for link in re.findall(r'(?:href|src)="([^"#]+)"', written)]
    assert {"notebooks/03_training_raw.html", "figures/figure_2.png"} <= set(links)
    assert [link for link in links if not (run / link).is_file()] == []
    assert "Not written by this run: figure_1, figure_3, figure_4" in text(written)


def test_further_results_stand_with_their_figures_once_they_are_there(run: Path) -> None:
    assert "Robustness" not in text(page(run)) and "Operating point" not in text(page(run))
    place = run / "04_external_validation"
    row = {"dataset": "kermany", "arm": "cropped", "change": "blur", "strength": 2.0, "n": 24}
    pd.DataFrame([row | {"drop": 0.1, "drop_low": 0.05, "drop_high": 0.2}]).to_csv(
        place / "robustness.csv", index=False
    )
    metrics = pd.read_csv(place / "metrics.csv")
    rate = metrics.iloc[[1]].assign(metric="sensitivity", value=0.7, ci_method="wilson", primary=True)
    pd.concat([metrics, rate]).to_csv(place / "metrics.csv", index=False)
    (run / "figures").mkdir()
    (run / "figures" / "robustness.png").write_bytes(b"x")
    written = page(run)
    told = text(written)
    assert "-0.100 (-0.200 to -0.050)" in told and told.index("Operating point") < told.index("Robustness")
    assert written.count('id="robustness"') == 1 and "wilson" not in told
    assert "95 % intervals: bootstrap over patients." in told


def test_the_users_own_films_are_not_called_real_films(run: Path) -> None:
    for name in ("datasets", "predictions", "metrics"):
        path = run / "04_external_validation" / f"{name}.csv"
        pd.read_csv(path).replace({"dataset": {"kermany": "folder"}}).to_csv(path, index=False)
    told = text(page(run))
    assert "own films" in told and "real films" not in told


def test_no_films_of_a_set_that_names_its_negatives_are_called_normal(run: Path) -> None:
    path = run / "04_external_validation" / "datasets.csv"
    table = pd.read_csv(path).assign(negatives=["normal", "no lung opacity"])
    table.to_csv(path, index=False)
    told = text(page(run))
    assert "12 pneumonia + 12 no lung opacity" in told
    answers = checklists.fill(run_facts.read(run)).set_index(["checklist", "item"])["answer"]
    failures = answers["CLAIM 2024", "39"]
    assert "no lung opacity with the highest scores" in failures.split("Kermany")[1].split(";")[0]


def test_a_part_of_a_set_leaves_items_of_the_checklist_open(run: Path) -> None:
    path = run / "04_external_validation" / "datasets.csv"
    pd.read_csv(path).assign(published=[None, 5856]).to_csv(path, index=False)
    table = checklists.fill(run_facts.read(run)).set_index(["checklist", "item"])
    for item in ("8", "10", "35"):
        found = table.loc[("CLAIM 2024", item)]
        assert found["status"] == "partly" and "24 of the 5,856 films published (0.4%)" in found["open"]


def test_an_arm_that_was_taken_out_is_not_shown(run: Path) -> None:
    for stage in run.glob("0*/**/run.json"):
        record = json.loads(stage.read_text())
        record["parameters"]["arms"] = {name: run_fixture.ARMS[name] for name in ("cropped", "photos")}
        stage.write_text(json.dumps(record))
    written = page(run)
    assert "<h3>cropped</h3>" in written and "<h3>raw</h3>" not in written
    assert "raw: simulator, crop none" not in text(written)


def test_a_folder_without_a_run_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no stage of a run"):
        report.write(tmp_path)


def test_masks_have_a_section_of_their_own_beside_what_choice_alone_gives(tmp_path):
    folder = run_fixture.write(tmp_path / "run")
    run_fixture.write_segmentation(folder)
    page = report.write(folder).read_text(encoding="utf-8")
    assert 'id="segmentation"' in page and "stand-in (no omnimodel)" in page and "+0.187" in page and "+0.201" in page
    assert 'id="figure_6"' in page and "notebooks/07_segmentation.html" in page


def test_a_run_of_masks_alone_says_that_the_other_notebooks_were_left_out(tmp_path):
    folder = tmp_path / "run"
    run_fixture.write_segmentation(folder)
    page = report.write(folder).read_text(encoding="utf-8")
    assert "notebooks 01 to 05 were not run" in page and 'id="segmentation"' in page
    assert 'id="results"' not in page and "Run run: masks" in page


def test_a_run_without_masks_shows_no_section_of_them(tmp_path):
    page = report.write(run_fixture.write(tmp_path / "run")).read_text(encoding="utf-8")
    assert 'id="segmentation"' not in page and "were not run" not in page


def test_edits_have_a_section_of_their_own_that_says_what_is_simulated_and_what_never_came(tmp_path):
    folder = tmp_path / "run"
    run_fixture.write_editing(folder)
    page = report.write(folder).read_text(encoding="utf-8")
    assert 'id="editing"' in page and "44.4" in page and "0 of 28" in page and "28 of 28" in page
    assert 'id="figure_5"' in page and "notebooks/06_image_editing.html" in page
    assert "Run run: edits" in page and "notebooks 01 to 05 were not run" in page
    assert "gone returned no image" in page and "on simulated films" in page
    section = page[page.index('id="editing"') :]
    assert "simulated" in section[: section.index("</section>")]


def test_a_run_without_edits_shows_no_section_of_them(tmp_path):
    page = report.write(run_fixture.write(tmp_path / "run")).read_text(encoding="utf-8")
    assert 'id="editing"' not in page
