"""The looks of a recurring run: cheap, going on past what is malformed, and safe side by side."""

from __future__ import annotations

import gzip
import os
import time
import uuid

import pytest

from levelseq.errors import BadAddress, BadDeposit, StoreUnavailable, from_json
from levelseq.ingest import refusal
from levelseq.ingest.arrivals import arrived
from levelseq.ingest.looks import Looks
from levelseq.ingest.params import IngestParams
from levelseq.ingest.sheet import list_deposits
from levelseq.store import Store, open_store, read_json

BAD = b"gene,c1,c2\nENSG01,1,2\nENSG02,0.5,1\n"
PARTS = {
    "matrix.mtx": b"%%MatrixMarket matrix coordinate integer general\n2 1 2\n1 1 3\n2 1 4\n",
    "barcodes.tsv": b"c1\n",
    "features.tsv": b"ENSG01\tA\nENSG02\tB\n",
}


def good(seed: int) -> bytes:
    return f"gene,c1,c2\nENSG01,{seed + 1},2\nENSG02,0,1\n".encode()


@pytest.fixture
def looked(place):
    """An inbox and a workspace at a place: a look at it, and who reads what meanwhile."""
    return Inbox(place)


@pytest.fixture(params=["file", "memory", "s3"])
def place(request, tmp_path):
    if request.param == "s3":
        return str(request.getfixturevalue("s3"))
    return str(tmp_path) if request.param == "file" else f"memory://{uuid.uuid4().hex}"


class Inbox:
    def __init__(self, place: str) -> None:
        self.address = f"{place}/inbox"
        self.workspace = f"{place}/w"
        self.store = open_store(self.address)

    def put(self, **files: bytes) -> None:
        """Files by name with `_` for the dot; on a disk they are an hour old."""
        for name, content in files.items():
            self.deliver(name.replace("_", "."), content)

    def deliver(self, path: str, content: bytes) -> None:
        self.store.put(path, content)
        if "://" not in self.address:
            then = time.time() - 3600
            os.utime(f"{self.address}/{path}", (then, then))

    def look(self, **params: object):
        chosen = IngestParams.checked(**params)
        return arrived([self.address], self.workspace, "study", chosen)

    def sheet(self, text: str):
        self.deliver("sheet.csv", text.encode())
        return arrived([f"{self.address}/sheet.csv"], self.workspace, "study")


@pytest.fixture
def read(monkeypatch):
    """Addresses of all objects of an inbox that are read, in part or whole."""
    found: list[str] = []
    for verb in ("get", "get_range", "local_copy"):
        known = getattr(Store, verb)

        def noted(store, path, *rest, known=known):
            if "/inbox" in store.address:
                found.append(f"{store.address}/{path}")
            return known(store, path, *rest)

        monkeypatch.setattr(Store, verb, noted)
    return found


def names(found):
    return sorted(row.address.rpartition("/")[2] for row in list_deposits([found.sheet]))


def test_a_second_look_reads_nothing_and_a_third_what_has_changed(looked, read):
    looked.put(a_csv=good(1), b_csv=good(2))
    looked.deliver("c/matrix.mtx", PARTS["matrix.mtx"])
    looked.deliver("c/barcodes.tsv", PARTS["barcodes.tsv"])
    looked.deliver("c/features.tsv", PARTS["features.tsv"])
    first = looked.look()
    assert (first.n_new, first.aside) == (3, ())
    assert {path.rpartition("/")[2] for path in read} == {"a.csv", "b.csv", *PARTS}
    read.clear()
    assert looked.look() == first
    assert read == []
    looked.put(b_csv=good(3), d_csv=good(4))
    assert looked.look().n_new == 4
    assert {path.rpartition("/")[2] for path in read} == {"b.csv", "d.csv"}


def test_of_a_sheet_too_only_what_is_new_is_read(looked, read):
    looked.put(a_csv=good(1), b_csv=good(2), about_csv=b"barcode,kind\nc1,T\nc2,B\n")
    text = "address,metadata\na.csv,about.csv\nb.csv,about.csv\n"
    first = looked.sheet(text)
    assert first.n_new == 2
    read.clear()
    assert looked.sheet(text) == first
    assert {path.rpartition("/")[2] for path in read} == {"sheet.csv"}
    looked.put(about_csv=b"barcode,kind\nc1,T\nc2,T\n")
    assert looked.sheet(text).sheet == first.sheet
    assert "about.csv" in {path.rpartition("/")[2] for path in read}


def test_a_file_written_twice_within_a_tick_of_the_clock_is_read_again(tmp_path):
    inbox = Inbox(str(tmp_path))
    inbox.store.put("a.csv", good(1))
    inbox.look()
    file = tmp_path / "inbox" / "a.csv"
    then = file.stat().st_mtime_ns
    with file.open("r+b") as out:
        out.write(good(2))
    os.utime(file, ns=(then, then))
    looks = Looks(inbox.workspace, "study")
    before = inbox.store.stamp("a.csv").version
    inbox.look()
    assert inbox.store.stamp("a.csv").version == before
    assert not looks.digest(f"{inbox.address}/a.csv", before)


def test_a_malformed_deposit_is_set_aside_told_once_and_the_others_go_on(looked, read, capsys):
    looked.put(a_csv=good(1), bad_csv=BAD, b_csv=good(2))
    found = looked.look()
    assert names(found) == ["a.csv", "b.csv"]
    (line,) = found.aside
    assert line.startswith(f"{looked.address}/bad.csv: 0.5 is not a whole number")
    assert line in capsys.readouterr().err
    (file,) = open_store(found.refusals).list()
    assert str(from_json(read_json(f"{found.refusals}/{file}"))) == line
    read.clear()
    again = looked.look()
    assert (again.n_new, again.aside, again.n_aside) == (2, (), 1)
    assert (read, "bad.csv" in capsys.readouterr().err) == ([], False)
    assert again.told() == [f"set aside by earlier looks: 1, see {found.refusals}"]
    looked.put(bad_csv=good(9))
    assert names(looked.look()) == ["a.csv", "b.csv", "bad.csv"]


def test_other_params_look_at_it_anew(looked):
    looked.put(a_csv=good(1), b_csv=good(2), about_csv=b"barcode,kind\nc1,T\nc2,T\n")
    text = "address,metadata\na.csv,about.csv\nb.csv,\n"
    looked.deliver("sheet.csv", text.encode())
    address = [f"{looked.address}/sheet.csv"]
    strict = arrived(address, looked.workspace, "study", IngestParams(label="kind"))
    assert strict.n_new == 1
    assert "no column 'kind', which --label names" in strict.aside[0]
    assert arrived(address, looked.workspace, "study").n_new == 2


def test_where_nothing_is_good_and_nothing_was_the_look_fails(looked):
    looked.put(bad_csv=BAD)
    for _ in range(2):
        with pytest.raises(BadDeposit, match=r"0\.5 is not a whole number"):
            looked.look()
    looked.put(bad_csv=good(1))
    with pytest.raises(BadDeposit, match="no column 'site', which --batch names"):
        looked.look(batch="site")
    assert open_store(f"{looked.workspace}/watch/study").list("refused") == []


def test_a_wrong_option_or_store_fails_whatever_was_good(looked, monkeypatch):
    looked.put(a_csv=good(1))
    looked.look()
    with pytest.raises(BadAddress, match=r"genes\.csv"):
        looked.look(genes=f"{looked.address}/genes.csv")
    with pytest.raises(BadAddress, match="holds no deposits"):
        arrived([f"{looked.address}/nowhere"], looked.workspace, "study")
    if looked.address.startswith("s3"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(StoreUnavailable):
            looked.look()


def test_access_denied_to_one_deposit_is_no_malformed_deposit(looked, monkeypatch):
    looked.put(a_csv=good(1), b_csv=good(2))
    known = Store.local_copy

    def denied(store, path):
        if path == "b.csv":
            raise BadAddress("access is denied", where=f"{store.address}/{path}")
        return known(store, path)

    monkeypatch.setattr(Store, "local_copy", denied)
    with pytest.raises(BadAddress, match="access is denied"):
        looked.look()


def test_what_is_listed_and_has_not_come_yet_is_set_aside_until_it_comes(looked):
    looked.put(a_csv=good(1))
    text = "address,metadata\na.csv,\nb.csv,about.csv\n"
    found = looked.sheet(text)
    assert (names(found), len(found.aside)) == (["a.csv"], 1)
    assert "b.csv: there is nothing at this address" in found.aside[0]
    looked.put(b_csv=good(2))
    found = looked.sheet(text)
    assert "about.csv: there is no metadata table here" in found.aside[0]
    assert looked.sheet(text).n_aside == 1
    looked.put(about_csv=b"barcode,kind\nc1,T\nc2,T\n")
    assert names(looked.sheet(text)) == ["a.csv", "b.csv"]


def test_a_10x_folder_of_which_a_part_is_missing_waits_for_it(looked):
    looked.put(a_csv=good(1))
    for number, (name, content) in enumerate(sorted(PARTS.items())):
        looked.deliver(f"lab/c/{name}", content)
        found = looked.look()
        assert found.n_new == (2 if number == 2 else 1)
        assert [("lab/c: " in line) for line in found.aside] == ([] if number == 2 else [True])


def test_a_file_that_is_cut_off_is_set_aside_until_it_is_whole(looked):
    whole = gzip.compress(good(2) * 1, mtime=0)
    looked.deliver("a.csv", good(1))
    looked.deliver("b.csv.gz", whole[:-9])
    assert names(looked.look()) == ["a.csv"]
    looked.deliver("b.csv.gz", whole)
    assert names(looked.look()) == ["a.csv", "b.csv.gz"]


def test_a_file_that_grows_while_it_is_read_is_left_to_the_next_look(looked, monkeypatch):
    looked.put(a_csv=good(1), b_csv=good(2))
    check = refusal.check_deposit

    def and_grown(planned, *rest):
        if planned.address.endswith("b.csv"):
            looked.put(b_csv=good(2) + b"ENSG03,7,7\n")
        return check(planned, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(refusal, "check_deposit", and_grown)
        found = looked.look()
    assert (names(found), found.n_growing, found.aside) == (["a.csv"], 1, ())
    assert found.told() == ["still being written, left to the next look: 1"]
    assert names(looked.look()) == ["a.csv", "b.csv"]


def test_of_two_copies_one_goes_on_and_the_other_takes_its_place(looked):
    looked.put(a_csv=good(1), b_csv=good(1))
    found = looked.look()
    assert names(found) == ["a.csv"]
    assert found.aside[0].startswith(f"{looked.address}/b.csv: has the same bytes as")
    assert looked.look().aside == ()
    looked.store.delete("a.csv")
    assert names(looked.look()) == ["b.csv"]


def test_a_table_about_people_among_deposits_is_set_aside_without_a_word_of_it(looked, capsys):
    looked.put(a_csv=good(1), about_csv=b"barcode,donor\nAAACCC,PT-zq81\n")
    found = looked.look()
    assert "about.csv: holds no counts: field 2 of the first row is text" in found.aside[0]
    memory = open_store(f"{looked.workspace}/watch")
    told = capsys.readouterr().err.encode() + b"".join(map(memory.get, memory.list()))
    assert b"about.csv" in told
    assert b"PT-zq81" not in told
    assert b"AAACCC" not in told


def test_two_looks_side_by_side_keep_what_both_have_read(place):
    one, other = (Looks(f"{place}/w", "study") for _ in range(2))
    one.remember_digest("x", "1", "dx")
    other.remember_digest("y", "1", "dy")
    other.remember_passed("key")
    one.keep()
    other.keep()
    after = Looks(f"{place}/w", "study")
    assert (after.digest("x", "1"), after.digest("y", "1")) == ("dx", "dy")
    assert after.has_passed("key")
    assert after.digest("x", "2") is None


def test_a_look_that_loses_every_race_drops_its_news(place, monkeypatch):
    one = Looks(f"{place}/w", "study")
    one.remember_digest("x", "1", "dx")
    versions = iter(range(100))
    put = Store.put_if_version

    def slower(store, path, content, version):
        other = f'{{"schema":"levelseq.looks/1","objects":{{}},"passed":["{next(versions)}"]}}'
        store.put(path, other.encode())
        put(store, path, content, version)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put_if_version", slower)
        one.keep()
    assert Looks(f"{place}/w", "study").digest("x", "1") is None
    one.keep()
    assert Looks(f"{place}/w", "study").digest("x", "1") == "dx"
