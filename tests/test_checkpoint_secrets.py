"""A secret planted in env, args, a mounted file and annotations comes out nowhere: it is searched for."""

import base64
import json

from tests import checkpoint_made as made

from glowplug.checkpoint import bundle, content, explain, verdict
from glowplug.checkpoint.differences import differences
from glowplug.checkpoint.eligible import ineligible
from glowplug.checkpoint.key import WorkloadKey
from glowplug.checkpoint.manifest import Key, dumps

ENCODED = (
    made.SECRET.encode(),
    base64.b64encode(made.SECRET.encode()).rstrip(b"="),
    made.SECRET.encode().hex().encode(),
)


def planted(secret: str) -> tuple[dict[str, object], dict[str, str | None]]:
    found = made.spec()
    found["process"]["env"] += [
        f"A={secret}",
        f"URL=http://user:{secret}@10.1.2.3/",
        f"B={secret}",
        f"B={secret}2",
    ]
    found["process"]["args"] += [f"--password={secret}", secret]
    found["annotations"]["glowplug.dev/of-a-later-version"] = secret
    found["hooks"] = {
        "createRuntime": [{"path": "/bin/hook", "args": ["hook", secret], "env": [f"T={secret}"]}]
    }
    found["process"]["ioPriority"] = {"class": secret}
    answers = made.ANSWERS | {"/etc/app": content.digest([("password", 0o600, secret.encode())])}
    return found, {**answers}


def test_a_planted_secret_comes_out_nowhere() -> None:
    found, answers = planted(made.SECRET)
    other, other_answers = planted(made.SECRET + "-of-another-pod")
    captured = made.key_of(found, mount_identity=answers)
    wanted = made.key_of(other, mount_identity=other_answers)
    manifest = made.manifest_of(captured)
    found_verdict = verdict.judge(manifest, wanted, made.HOST, made.RESOURCES, made.NOW)
    candidate = verdict.Candidate("aa", manifest.created, found_verdict)
    shown = [
        dumps(manifest),
        repr(manifest).encode(),
        repr(found_verdict).encode(),
        " ".join(map(str, found_verdict.reasons)).encode(),
        json.dumps(explain.candidate_rows([candidate])).encode(),
        json.dumps(explain.key_rows(captured.parts)).encode(),
        repr(ineligible(bundle.read(found))).encode(),
        repr(verdict.choose([candidate])).encode(),
    ]
    assert not [text for text in shown for secret in ENCODED if secret in text]


def test_the_difference_is_still_reported() -> None:
    found, answers = planted(made.SECRET)
    other, other_answers = planted("another")
    captured, wanted = (
        made.key_of(found, mount_identity=answers),
        made.key_of(other, mount_identity=other_answers),
    )
    reported = {reason.part: reason for reason in differences(captured.parts, wanted)}
    assert {"env A", "env B", "env URL", "args[4]", "args[5]", "mount /etc/app"} <= set(reported)
    assert reported["env A"].needs == "the captured value"
    assert reported["env A"].has == "another value"


def test_the_same_secret_has_another_hash_under_another_salt() -> None:
    here, there = _hashes(made.key_of()), _hashes(made.key_of(salt=b"another salt of that length"))
    assert here
    assert not here & there


def _hashes(found: WorkloadKey) -> set[str]:
    env = found.parts["env"]
    assert isinstance(env, dict)
    return {value for value in env.values() if not value.startswith("<")}


def test_the_key_s_content_hash_is_not_the_plain_digest() -> None:
    found, answers = planted(made.SECRET)
    text = json.dumps(made.key_of(found, mount_identity=answers).parts)
    assert answers["/etc/app"]
    assert answers["/etc/app"][:32] not in text


def test_all_of_a_captured_key_is_kept() -> None:
    captured = made.key_of()
    assert Key(captured.digest, captured.parts, captured.conditions) == made.manifest_of(captured).key
