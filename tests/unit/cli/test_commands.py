"""Commands, their output and their exit status, against a served API."""

import json
from pathlib import Path

import pytest
import yaml

from metier.domain.ids import NodeId
from tests.unit.cli.conftest import Metier
from tests.unit.web.fake_controller import FakeController


def test_a_list_is_a_table_with_the_columns_of_the_operation(metier: Metier) -> None:
    result = metier("node", "list")
    assert result.status == 0
    assert result.out.splitlines() == [
        "NAME        KIND      ENGAGED",
        "host-1      physical  yes",
        "host-1/VM1  virtual   yes",
        "host-1/VM3  virtual   yes",
    ]


def test_wide_adds_the_other_columns(metier: Metier) -> None:
    header = metier("node", "list", "-o", "wide").out.splitlines()[0]
    assert header.split() == ["NAME", "KIND", "ENGAGED", "ADDRESS", "ATTRIBUTES", "GENERATION"]


def test_json_yaml_and_names(metier: Metier) -> None:
    rows = json.loads(metier("node", "list", "-o", "json").out)
    assert [row["name"] for row in rows] == ["host-1", "host-1/VM1", "host-1/VM3"]
    assert yaml.safe_load(metier("node", "list", "-o", "yaml").out) == rows
    assert metier("node", "list", "-o", "name").out.split() == ["host-1", "host-1/VM1", "host-1/VM3"]


def test_filters_are_options(metier: Metier) -> None:
    assert metier("node", "list", "--kind", "physical", "-o", "name").out == "host-1\n"
    assert metier("node", "list", "--engaged", "off", "-o", "name").out == ""
    assert metier("node", "list", "--kind", "paper").status == 2


def test_show_leaves_out_what_is_unknown_unless_it_is_wide(metier: Metier) -> None:
    result = metier("node", "show", "host-1/VM3")
    assert "name:       host-1/VM3" in result.out
    assert "address" not in result.out
    assert "address:    -" in metier("node", "show", "host-1/VM3", "-o", "wide").out


def test_show_takes_several_names(metier: Metier) -> None:
    rows = json.loads(metier("node", "show", "host-1", "host-1/VM1", "-o", "json").out)
    assert [row["name"] for row in rows] == ["host-1", "host-1/VM1"]


def test_one_unknown_name_does_not_keep_the_others_from_being_shown(metier: Metier) -> None:
    result = metier("node", "show", "host-1", "host-9", "-o", "name")
    assert (result.status, result.out) == (3, "host-1\n")
    assert result.err == "error: there is no node host-9\n  see `metier node list`\n"


def test_a_verb_that_reads_has_its_options(metier: Metier) -> None:
    row = json.loads(metier("node", "explain", "host-1/VM3", "--tier", "web", "-o", "json").out)
    assert row == {"name": "host-1/VM3", "tier": "web", "why": ["because"]}


def test_a_change_says_what_it_did(metier: Metier, controller: FakeController) -> None:
    result = metier("node", "disengage", "host-1/VM3", "--why", "new disk")
    assert (result.status, result.out) == (0, "node host-1/VM3 disengaged\n")
    assert controller.view().fleet.nodes[NodeId("host-1/VM3")].engagement.why == "new disk"


def test_a_verb_takes_several_names(metier: Metier) -> None:
    result = metier("node", "disengage", "host-1/VM1", "host-1/VM3")
    assert result.out == "node host-1/VM1 disengaged\nnode host-1/VM3 disengaged\n"


def test_every_kind_of_option_arrives_as_its_type(metier: Metier) -> None:
    result = metier(
        *("tier", "create", "db", "--target", "3", "--weight", "1.5", "--harvesting", "off"),
        *("--keep-instances", "--spread", "pack", "--collector", "ping", "--collector", "tcp:80"),
        *("--slot", "1", "--slot", "2", "-o", "json"),
    )
    made = json.loads(result.out)["object"]
    assert (made["target"], made["weight"], made["harvesting"], made["keep_instances"]) == (
        3,
        1.5,
        False,
        True,
    )
    assert (made["collectors"], made["slots"]) == (["ping", "tcp:80"], [1, 2])


def test_what_is_not_given_is_left_to_the_controller(metier: Metier) -> None:
    made = json.loads(metier("tier", "create", "db", "-o", "json").out)["object"]
    assert (made["target"], made["harvesting"], made["keep_instances"], made["collectors"]) == (
        1,
        True,
        False,
        [],
    )


@pytest.mark.parametrize(("words", "wanted"), [(["on"], True), (["off"], False), (["No"], False), ([], True)])
def test_a_switch_may_stand_alone(metier: Metier, words: list[str], wanted: bool) -> None:
    result = metier("tier", "create", "--keep-instances", *words, "db", "-o", "json")
    assert json.loads(result.out)["object"]["keep_instances"] is wanted


def test_an_edit_and_a_delete(metier: Metier) -> None:
    assert metier("tier", "edit", "web", "--target", "4").out == "tier web changed\n"
    assert metier("tier", "delete", "web").out == "tier web deleted\n"
    assert metier("tier", "show", "web").status == 3


def test_a_plan_is_printed_and_nothing_changes(metier: Metier, controller: FakeController) -> None:
    result = metier("node", "shutdown", "host-1", "--plan")
    assert result.status == 0
    assert result.out.splitlines() == [
        "would be: shutdown of node host-1 ordered",
        "actions:",
        "AT     ACTION     SUBJECT  WHY         RULE",
        "+0:35  free-node  host-1   it is idle  R-RELEASE-2",
        "takes about 0:35 in all",
        "dips:",
        "  - web is below its minimum of 2 for about 40 s, from +0:05; lowest 1",
        "displaced:",
        "  - host-2/VM1 takes slot 1 of web over from host-1/VM1, after a gap of about 40 s from +0:05",
        "times rest on:",
        "  - guest boot of web@3: measured 12 times, median 31 s",
        "  - host boot of host-9: never measured, 180 s assumed",
        "notes:",
        "  - job 7, image-import of web@4, is not foreseen: how long it takes is not known",
        "what slot 1 of web is told differs:",
        "  --- a",
        "  +++ b",
        "waiting:",
        "SUBJECT  WHY                                        RULE",
        "hosts    node host-1 still hosts active guests VM1  R-SHRINK-2",
    ]
    assert result.err.splitlines()[0] == "warning: web/1 is lost"
    assert json.loads(metier("node", "shutdown", "host-1", "--plan", "-o", "json").out)["actions"]
    assert not controller.callers


def test_consequences_need_acceptance(metier: Metier) -> None:
    refused = metier("node", "shutdown", "host-1")
    assert (refused.status, refused.out) == (4, "")
    assert refused.err.splitlines() == [
        "warning: web/1 is lost",
        "warning: web/2 too",
        "error: shutdown of node host-1 has consequences",
        "  repeat with --accept-warnings to go on",
    ]
    accepted = metier("node", "shutdown", "host-1", "--accept-warnings")
    assert (accepted.status, accepted.out) == (0, "shutdown of node host-1 ordered\n")
    assert accepted.err == "warning: it may take a while\n"


def test_errors_are_json_where_json_is_asked_for(metier: Metier) -> None:
    result = metier("node", "shutdown", "host-1", "-o", "json")
    assert (result.status, result.out) == (4, "")
    error = json.loads(result.err)["error"]
    assert error["code"] == "needs-acceptance"
    assert error["warnings"] == ["web/1 is lost", "web/2 too"]
    wrong = metier("node", "list", "--kind", "paper", "-o", "json")
    assert json.loads(wrong.err)["error"]["code"] == "wrong-usage"


def test_a_refusal_ends_with_1_and_an_unknown_name_with_3(metier: Metier) -> None:
    refused = metier("tier", "create", "web")
    assert refused.status == 1
    assert refused.err == "error: cannot create tier web: it exists\n  choose another name\n"
    assert metier("node", "show", "host-9").status == 3


@pytest.mark.parametrize(
    "words",
    [
        ("nodes",),
        ("node", "explode"),
        ("node", "show"),
        ("node", "list", "--colour", "red"),
        ("tier", "create", "db", "--target", "many"),
        ("tier", "create", "db", "--harvesting", "perhaps"),
        ("tier", "create", "db", "extra"),
        ("node", "list", "-o", "xml"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_where_to_look(metier: Metier, words: tuple[str, ...]) -> None:
    result = metier(*words)
    assert (result.status, result.out) == (2, "")
    first, second = result.err.splitlines()[:2]
    assert first.startswith("error: ")
    assert not first.endswith(".")
    assert second.startswith("  see `metier")


def test_an_unreachable_controller_ends_with_5(metier: Metier, tmp_path: Path) -> None:
    result = metier("--state", str(tmp_path / "nowhere"), "status")
    assert result.status == 5
    assert "cannot reach the controller" in result.err
    assert metier("status", "--state", str(tmp_path / "nowhere")).status == 5


def test_a_stale_socket_is_an_unreachable_controller(metier: Metier, tmp_path: Path) -> None:
    (tmp_path / "metier.sock").write_text("")
    assert metier("status", "--state", str(tmp_path)).status == 5


def test_a_site_file_is_read_here_and_applied_there(metier: Metier, tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("tiers: [a, b]\n")
    assert metier("apply", "-f", str(file)).out == "2 tiers\n"
    assert metier("apply", "-f", "-", stdin="tiers: [c]\n").out == "1 tiers\n"


BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
)


@pytest.mark.parametrize(
    "text",
    [
        "tiers: [",
        "- a",
        "!!python/object/apply:os.system [id]",
        "\x00",
        "tiers: !!binary aGVsbG8=",
        "on: off",
        "a: &a [*a]",
        "[" * 5000,
        BOMB,
    ],
    ids=["cut", "list", "object", "nul", "binary", "switch-as-name", "endless", "deep", "bomb"],
)
def test_a_bad_site_file_is_wrong_usage(metier: Metier, tmp_path: Path, text: str) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(text)
    assert metier("apply", "-f", str(file)).status == 2
    assert metier("apply", "-f", str(tmp_path / "none.yaml")).status == 1


def test_dates_and_numbers_of_a_site_file_stay_readable(metier: Metier, tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("tiers: [2026-05-04]\n1: x\n")
    assert metier("apply", "-f", str(file)).out == "1 tiers\n"


def test_bytes_that_are_no_text_harm_nobody(metier: Metier) -> None:
    assert metier("tier", "show", "\udc80").status == 3
    assert metier("node", "disengage", "host-1", "--why", "\udc80").status == 2
    assert metier("event", "list", "--subject", "\udc80").status == 0


def test_messages_cannot_steer_the_terminal(metier: Metier) -> None:
    assert "\x1b" not in metier("tier", "show", "\x1b[31m").err


def test_a_long_socket_path_is_no_obstacle(tmp_path: Path, metier: Metier, site: tuple[Path, str]) -> None:
    long = tmp_path / ("d" * 100) / ("e" * 100)
    long.parent.mkdir()
    long.symlink_to(site[0])
    assert metier("status", "--state", str(long)).status == 0


def test_a_file_is_named_by_its_absolute_path_here(
    metier: Metier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = metier("image", "import", "w2k", "-f", "./a/../filename.tgz", "-o", "json")
    assert json.loads(result.out)["object"]["file"] == str(tmp_path / "filename.tgz")


def test_from_afar_a_file_is_sent_ahead(
    metier: Metier, tmp_path: Path, uploads: Path, site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "filename.tgz"
    archive.write_bytes(b"x" * 100_000)
    monkeypatch.delenv("METIER_STATE")
    monkeypatch.setenv("METIER_URL", site[1])
    monkeypatch.setenv("METIER_TOKEN", "good")
    result = metier("image", "import", "w2k", "-f", str(archive), "-o", "json")
    sent = Path(json.loads(result.out)["object"]["file"])
    assert (sent.parent.parent, sent.name) == (uploads, "filename.tgz")
    assert sent.read_bytes() == archive.read_bytes()


def test_a_wrong_token_is_refused(
    metier: Metier, site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("METIER_STATE")
    monkeypatch.setenv("METIER_URL", site[1])
    monkeypatch.setenv("METIER_TOKEN", "bad")
    result = metier("status")
    assert result.status == 1
    assert "does not know who asks" in result.err


@pytest.mark.parametrize(
    "url", ["ftp://x", "nonsense", "http://metier.example", "https://x:99999", "https://x/y"]
)
def test_a_url_that_makes_no_sense_or_is_not_safe_is_refused(
    metier: Metier, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("METIER_STATE")
    monkeypatch.setenv("METIER_URL", url)
    assert metier("status").status == 2
