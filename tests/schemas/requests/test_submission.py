"""The same job has the same name on a cluster, however it is spelled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.jobs.preparation.submission_id import local_places, submission_of, travelling
from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.job import JobSpec
from bitmill.schemas.requests.submission import attempt_name, split_name
from tests.support.fakes import make_job


@given(st.text("0123456789abcdef", min_size=16, max_size=16), st.integers(1, 10**6))
def test_an_attempts_name_tells_base_and_number(digits, attempt):
    base = f"bitmill-{digits}"
    assert split_name(attempt_name(base, attempt)) == (base, attempt)


@pytest.mark.parametrize(
    "name", ["raysubmit_4LamXRuQpYdSMg7J", "bitmill-12", "/data/tokens", "bitmill-" + 16 * "0" + "-0"]
)
def test_other_names_are_none_of_ours(name):
    assert split_name(name) is None


@pytest.mark.parametrize(
    "same",
    [
        {"source": {"paths": ["/b/../a/", "/media"]}},
        {"source": {"paths": ["/media", "/a"]}},
        {"compute": {"actors": 7, "decoders": 2}},
        {"limits": {"item_timeout_s": 5}},
        {"max_failures": 0.5},
        {"output": "/x/../tokens/"},
    ],
)
def test_the_same_dataset_has_the_same_name(same):
    job = make_job(source={"paths": ["/a", "/media"]})
    assert submission_of(make_job(**{"source": {"paths": ["/a", "/media"]}, **same})) == submission_of(job)


@pytest.mark.parametrize(
    "other",
    [
        {"output": "/tokens2"},
        {"source": {"paths": ["/media2"]}},
        {"source": {"manifest": "/media.csv"}},
        {"sampling": {"fps": 4}},
        {"tokenizer": {"preset": "tiny", "seed": 1}},
        {"compute": {"dtype": "bfloat16"}},
    ],
)
def test_another_dataset_has_another_name(other):
    assert submission_of(make_job(**other)) != submission_of(make_job())


def test_a_job_travels_without_its_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = make_job(
        source={"paths": ["clips", "s3://bucket/x/"]}, output="out", tokenizer={"path": "s3://bucket/t"}
    )
    document = travelling(job)
    assert document["source"]["paths"] == [f"{tmp_path}/clips", "s3://bucket/x/"]
    assert document["output"] == f"{tmp_path}/out"
    monkeypatch.chdir("/")
    assert submission_of(JobSpec.model_validate(document)) == submission_of(make_job(**document))
    assert local_places(JobSpec.model_validate(document)) == [f"{tmp_path}/clips", f"{tmp_path}/out"]


def test_places_with_credentials_do_not_travel():
    job = make_job(output="s3://key:hunter2@bucket/tokens")
    with pytest.raises(UsageError, match="contains credentials") as told:
        submission_of(job)
    assert "hunter2" not in str(told.value)
