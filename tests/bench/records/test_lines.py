"""The lines of a run's file: what records share is written once, and both schemas are read."""

import gzip
import json

import pytest

from pks4.bench.contestants import catalogue
from pks4.bench.records import accepted, run_file
from pks4.bench.records.lines import json_schema
from pks4.bench.records.merge import merge
from pks4.bench.records.record import Provenance, Record
from pks4.errors import UserError
from tests.factories.runs import COST, made
from tests.factories.runs import record as made_record

HEADER = made().header
RESULTS = catalogue.root() / "results"
COMMITTED = sorted((RESULTS / "reference").glob("*.jsonl.gz"))
assert COMMITTED


def record(metric, **more):
    """A record of the run that `HEADER` begins."""
    return made_record(COST, "saved_bytes", metric, 1, "exact", **more)


def write(path, *entries):
    """Append entries to a run's file."""
    writer = run_file.Writer(path)
    writer.append(*entries)
    writer.close()


LABELS = {"label": [0, 1, 2], "predicted": [0, 2, 2]}
OTHER = {"environment": {"cpu": "another"}, "versions": {"torch": "2.16.0"}}
MIXED = [
    record("a", detail=LABELS),
    record("b", detail={**LABELS, "label": [2, 1, 0]}),
    record("c", **OTHER),
    record("d", detail={"bytes": 1, **LABELS}, commit="b" * 40, dirty=True),
    record("e", detail={"label": "no list"}),
    record("f", detail=LABELS, run="base-2", **OTHER),
]


def lines_of(path):
    """The lines of a run's file, as JSON."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def kinds_of(path):
    """The kind of each line of a run's file."""
    return [line["type"] for line in lines_of(path)]


def test_provenance_and_labels_are_written_once_and_records_are_read_whole(tmp_path):
    path = tmp_path / "run.jsonl"
    write(path, HEADER, *MIXED[:2])
    write(path, *MIXED[2:4])
    write(path, *MIXED[4:])
    run = run_file.read(path)
    assert (run.records, run.torn) == (MIXED, [])
    assert [list(r.detail) for r in run.records] == [list(r.detail) for r in MIXED]  # their order
    kinds = kinds_of(path)
    assert kinds[:5] == ["run", "labels", "record", "labels", "record"]
    assert [kinds.count(kind) for kind in ("provenance", "labels", "record")] == [3, 2, 6]
    assert [line["source"] for line in lines_of(path) if line["type"] == "record"][:2] == [None] * 2


def old_lines(records, header=HEADER):
    """A run's lines as schema version 1 wrote them."""
    yield header.model_copy(update={"schema_version": 1}).model_dump_json()
    for one in records:
        yield json.dumps({**one.model_dump(mode="json"), "schema_version": 1})


def test_a_run_of_the_first_schema_is_read_resumed_and_merged(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text("".join(f"{line}\n" for line in old_lines(MIXED[:3])))
    before = path.read_bytes()
    assert run_file.read(path).records == MIXED[:3]
    assert run_file.read(path).header.schema_version == 1
    write(path, *MIXED[3:])
    assert path.read_bytes().startswith(before)
    run = run_file.read(path)
    assert (run.records, run.torn) == (MIXED, [])
    whole, notes = merge([run], tmp_path / "whole.jsonl")
    assert (whole.records, whole.torn) == (MIXED, [])
    assert whole.header.schema_version == 2
    assert not any("differ" in note for note in notes)


def test_a_run_killed_at_any_byte_goes_on_and_no_record_gets_another_provenance(tmp_path):
    path = tmp_path / "run.jsonl"
    write(path, HEADER)
    start = path.stat().st_size
    write(path, *MIXED)
    whole = path.read_bytes()
    ends = [i for i in range(start, len(whole)) if whole[i : i + 1] == b"\n"]
    near = {end + step for end in ends for step in (-1, 0, 1, 2)}  # what is cut elsewhere is alike
    for cut in sorted({start, *range(start, len(whole), 97), *near} - {len(whole) + 1}):
        path.write_bytes(whole[:cut])
        kept = run_file.read(path).records
        assert kept == MIXED[: len(kept)]
        write(path, *MIXED[len(kept) :])
        run = run_file.read(path)
        assert run.records == MIXED
        between = whole[cut - 1 : cut] == b"\n" or whole[cut : cut + 1] in (b"\n", b"")
        assert len(run.torn) == (not between)


def test_a_changed_shared_line_takes_its_records_with_it(tmp_path):
    path = tmp_path / "run.jsonl"
    write(path, HEADER, *MIXED)
    path.write_text(path.read_text().replace('"cpu":"another"', '"cpu":"a third"'))
    run = run_file.read(path)
    assert run.records == [r for r in MIXED if r.environment != OTHER["environment"]]
    assert len(run.torn) == 4  # two provenance lines and their records
    write(path, MIXED[2])
    assert run_file.read(path).records[-1] == MIXED[2]


NESTED = '{"type": "provenance", "environment": ' + '{"a":' * 900 + "0" + "}" * 900


@pytest.mark.parametrize(
    "line",
    [
        '{"type": "record", "source": [], "labels": {}}', '{"type": "labels", "id": 1}', "null",
        '{"type": ["record"]}', f'{NESTED}, "id": "a", "run": "a", "versions": {{}}}}', NESTED,
    ],
)  # fmt: skip
def test_a_foreign_line_is_left_out_by_reader_and_writer(tmp_path, line):
    path = tmp_path / "run.jsonl"
    write(path, HEADER, *MIXED[:3])
    with path.open("a") as file:
        file.write(line + "\n")
    write(path, *MIXED[3:])
    run = run_file.read(path)
    assert (run.records, len(run.torn)) == (MIXED, 1)


def test_a_line_without_its_shared_line_is_left_out(tmp_path):
    path = tmp_path / "run.jsonl"
    write(path, HEADER, *MIXED)
    kept = [line for line in path.read_text().splitlines() if '"type":"labels"' not in line]
    path.write_text("".join(f"{line}\n" for line in kept))
    run = run_file.read(path)
    assert run.records == [r for r in MIXED if not isinstance(r.detail.get("label"), list)]
    assert len(run.torn) == 4


def test_a_compressed_run_is_read_by_the_same_door_and_not_written(tmp_path):
    path, packed = tmp_path / "base-1.jsonl", tmp_path / "base-1.jsonl.gz"
    write(path, HEADER, *MIXED)
    packed.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    plain = run_file.read(path)
    path.unlink()
    for name in ("base-1", "latest", str(packed)):
        assert run_file.find_run(name, [tmp_path]) == packed
    assert run_file.read(packed).records == plain.records == MIXED
    assert run_file.name_of(packed) == run_file.name_of(path) == "base-1"
    with pytest.raises(UserError, match="gunzip it first"):
        run_file.Writer(packed)
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(UserError, match="is no whole gzip file"):
        run_file.read(packed)


def test_the_schema_knows_every_field_and_all_kinds_of_line():
    schema = json_schema()
    known = {name: set(line["properties"]) for name, line in schema["$defs"].items()}
    shared = {"run", *Provenance.model_fields}
    assert known["RecordLine"] - {"source", "labels"} | shared == set(Record.model_fields)
    assert known["ProvenanceLine"] == {"type", "id", *shared}
    assert shared < known["RunHeader"]
    assert schema["discriminator"]["mapping"].keys() == {"run", "record", "provenance", "labels"}
    json.dumps(schema)


@pytest.mark.slow
@pytest.mark.parametrize("path", COMMITTED, ids=run_file.name_of)
def test_a_committed_run_reads_the_same_in_both_schemas(tmp_path, path):
    run, old = run_file.read(path), tmp_path / "old.jsonl"
    assert run.records
    assert run.torn == []
    old.write_text("".join(f"{line}\n" for line in old_lines(run.records, run.header)))
    assert run_file.read(old).records == run.records


@pytest.mark.slow
def test_every_accepted_run_is_as_it_was_accepted():
    entries, torn = accepted.ledger(RESULTS)
    current = {(entry.suite, entry.environment_class): entry for entry in entries}
    assert torn == []
    assert len(current) >= 12
    for entry in current.values():
        assert accepted.accepted_run(entry, RESULTS).header.run == entry.run
