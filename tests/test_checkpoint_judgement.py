"""A judgement keeps what was decided at a create, without secrets; and shows what is another since."""

from dataclasses import replace

import pytest
from tests.checkpoint_made import SALT, key_of, spec

from glowplug.checkpoint import bundle
from glowplug.checkpoint import judgement as judgements
from glowplug.checkpoint.judgement import Judgement


def made(**env: str) -> Judgement:
    found = spec()
    found["process"]["env"] = [f"{name}={value}" for name, value in env.items()]
    hashed = judgements.spec_hash(SALT, found)
    return judgements.make("c1", bundle.read(found), key_of(found), (), spec=hashed, edited="", salt=SALT)


def test_its_json_form_is_the_same_judgement_and_holds_no_secret() -> None:
    judgement = made(PASSWORD="xyzzy-plugh")
    text = judgements.dumps(judgement)
    assert judgements.loads(text) == judgement
    assert "xyzzy" not in text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', '{"format": 1}', "null"])
def test_what_is_no_judgement_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        judgements.loads(text)


def test_it_is_of_the_judged_spec_and_of_the_edited_one() -> None:
    judgement = replace(made(), edited="e")
    assert judgement.is_of(judgement.spec) and judgement.is_of("e")
    assert not judgement.is_of("another")


def test_parts_that_changed_are_reported() -> None:
    assert judgements.changed(made(A="1", B="1").key, made(A="1", B="2").key) == ["env.B"]
    assert judgements.changed(made(A="1").key, made(A="1").key) == []
    assert judgements.changed(made(A="1").key, made(A="2").key, ignored=("env",)) == []


@pytest.mark.parametrize(
    ("pod", "family"),
    [
        ("web-7d9f8c6b5d-x2k4q", "web"),
        ("web-0", "web"),
        ("web-12", "web"),
        ("train-x2k4q", "train"),
        ("nightly-28391234-x2k4q", "nightly"),
        ("llama-server", "llama-server"),
        ("auto-7bca5e", "auto-7bca5e"),
    ],
)
def test_a_controllers_pods_are_one_family(pod: str, family: str) -> None:
    assert judgements.family(pod) == family


def test_a_workload_is_known_again_whatever_its_variables_are() -> None:
    assert made(A="1").workload == made(A="2").workload


def test_what_can_not_be_known_is_said_with_its_reason() -> None:
    found = made()
    unknown = replace(found.key, digest="", unknown={"extra weights": "its weights"})
    why = judgements.MountedFiles(why={"extra weights": "they are being read, for the next start"})
    writable = replace(found.key, conditions={"volumes": {"/known": "a hash", "/data": None}})
    slow = judgements.MountedFiles(why={"/data": "not read in time"})
    ((slug, sentence),) = replace(found, key=writable, files=slow).objections()
    assert slug == "volume-state"
    assert sentence.startswith(
        "mount /data: it can be written to, and its state can't be known (not read in time)"
    )
    assert replace(found, key=unknown, files=why).objections() == [
        (
            "unknown-fact",
            "extra weights: its weights can't be known (they are being read, for the next start)",
        )
    ]
