"""The same promises from every store: local files, memory, S3 (moto), Google's, Azure (Azurite)."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
import zarr

from levelseq.cohort import ShardReader, write_shard
from levelseq.errors import BadAddress, BadInput, BadOption, Conflict, LevelseqError, Retryable
from levelseq.store import Store, absolute, join, open_store, parent, read_bytes, read_json


@pytest.fixture(params=["file", "memory", "s3", "gs", "az"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address of each kind, with nothing there."""
    if request.param in ("s3", "gs", "az"):
        return str(request.getfixturevalue(request.param))
    return str(tmp_path / "w") if request.param == "file" else f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def store(place: str) -> Store:
    return open_store(place)


def test_what_is_put_is_got(store: Store) -> None:
    store.put("a/b.bin", b"0123456789")
    assert store.get("a/b.bin") == b"0123456789"
    assert store.get_range("a/b.bin", 2, 3) == b"234"
    assert store.size("a/b.bin") == 10
    assert store.exists("a/b.bin")


def test_put_replaces_the_whole_object(store: Store) -> None:
    store.put("x", b"long content")
    store.put("x", b"short")
    assert store.get("x") == b"short"


def test_an_empty_object_is_an_object(store: Store) -> None:
    store.put("empty", b"")
    assert store.exists("empty")
    assert store.get("empty") == b""
    assert store.list() == ["empty"]


def _copied(store: Store, path: str) -> bytes:
    with store.local_copy(path) as copy:
        return copy.read_bytes()


@pytest.mark.parametrize(
    "read",
    [Store.get, Store.size, lambda store, path: store.get_range(path, 0, 1), _copied],
    ids=["get", "size", "get_range", "local_copy"],
)
def test_a_missing_object_is_named_by_its_address(
    store: Store, place: str, read: Callable[[Store, str], object]
) -> None:
    store.put("there", b"1")
    with pytest.raises(BadAddress) as caught:
        read(store, "not/there")
    assert f"{place}/not/there" in str(caught.value)
    assert caught.value.code == 2


def test_a_missing_object_at_the_root_of_the_file_system_is_named_once_rooted() -> None:
    with pytest.raises(BadAddress) as error:
        open_store("/").get("levelseq-none.csv")
    assert error.value.where == "/levelseq-none.csv"


def test_nothing_stands_in_a_store_that_was_never_written(store: Store) -> None:
    assert store.list() == []
    assert not store.exists("x")
    assert store.get_versioned("x") is None
    store.delete("x")


def test_put_if_absent_never_replaces(store: Store) -> None:
    assert store.put_if_absent("manifest.json", b"first") is True
    assert store.put_if_absent("manifest.json", b"second") is False
    assert store.get("manifest.json") == b"first"


def test_put_if_version_replaces_what_was_read(store: Store) -> None:
    store.put_if_version("champion.json", b"1", None)
    read = store.get_versioned("champion.json")
    assert read is not None
    assert read.content == b"1"
    store.put_if_version("champion.json", b"2", read.version)
    assert store.get("champion.json") == b"2"


def test_put_if_version_loses_to_who_came_first(store: Store) -> None:
    store.put_if_version("champion.json", b"1", None)
    read = store.get_versioned("champion.json")
    assert read is not None
    store.put_if_version("champion.json", b"2", read.version)
    with pytest.raises(Conflict) as caught:
        store.put_if_version("champion.json", b"3", read.version)
    assert isinstance(caught.value, Retryable)
    with pytest.raises(Conflict):
        store.put_if_version("champion.json", b"3", None)
    assert store.get("champion.json") == b"2"


def test_list_is_sorted_and_below_a_folder(store: Store) -> None:
    for path in ("b/2", "a/1", "b/1/x", "bb/1"):
        store.put(path, b"1")
    assert store.list() == ["a/1", "b/1/x", "b/2", "bb/1"]
    assert store.list("b") == ["b/1/x", "b/2"]
    assert store.list("c") == []


def test_a_stamp_changes_with_what_is_written_and_a_listing_tells_the_same(store: Store) -> None:
    store.put("a/1", b"first")
    store.put("a/2", b"other")
    before = store.stamps("a")
    assert list(before) == ["a/1", "a/2"]
    assert {path: store.stamp(path) for path in before} == before
    store.put("a/1", b"secnd")
    after = store.stamps()
    assert after["a/1"].version != before["a/1"].version
    assert after["a/2"] == before["a/2"]
    assert store.stamp("a/3") is None
    assert store.stamp("a") is None
    assert store.stamps("b") == {}


def test_a_file_is_settled_when_the_clock_has_ticked(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("x", b"1")
    assert store.stamps()["x"].settled is False
    an_hour_ago = time.time() - 3600
    os.utime(tmp_path / "x", (an_hour_ago, an_hour_ago))
    assert store.stamps()["x"].settled is True
    assert store.stamp("x") == store.stamps()["x"]


def test_list_goes_on_behind_the_first_page(store: Store) -> None:
    for number in range(1100):
        store.put(f"p/{number:04d}", b"")
    assert len(store.list("p")) == 1100


def test_delete_removes_one_object_or_a_folder(store: Store) -> None:
    for path in ("keep", "gone", "folder/a", "folder/b/c"):
        store.put(path, b"1")
    store.delete("gone")
    store.delete("gone")
    store.delete_folder("folder")
    assert store.list() == ["keep"]


def test_local_copy_has_the_bytes_and_the_name(store: Store) -> None:
    store.put("a/b.h5ad", b"bytes")
    with store.local_copy("a/b.h5ad") as path:
        assert path.read_bytes() == b"bytes"
        assert path.name == "b.h5ad"
    assert store.get("a/b.h5ad") == b"bytes"


def test_an_address_below_another_sees_the_same_objects(store: Store, place: str) -> None:
    store.put("cohorts/f/cohort.json", b'{"n": 1}')
    assert open_store(join(place, "cohorts", "f")).get("cohort.json") == b'{"n": 1}'
    assert read_bytes(join(place, "cohorts/f/cohort.json")) == b'{"n": 1}'
    assert read_json(join(place, "cohorts/f/cohort.json")) == {"n": 1}
    open_store(join(place, "cohorts")).put("g/x", b"2")
    assert store.list("cohorts") == ["cohorts/f/cohort.json", "cohorts/g/x"]


def test_a_shard_comes_back_as_it_was_written(store: Store) -> None:
    counts = sp.random(30, 20, density=0.3, random_state=0, format="csr")
    counts.data = np.arange(1, counts.nnz + 1)
    shard = ad.AnnData(X=counts.astype(np.uint16))
    entry = write_shard(store, "shards/00000.zarr", shard)
    (back,) = ShardReader(store, [entry])
    assert back.X.dtype == np.uint16
    assert (back.X != shard.X).nnz == 0
    assert list(back.obs_names) == list(shard.obs_names)


def test_the_digest_of_a_shard_is_of_its_content(store: Store) -> None:
    shard = ad.AnnData(X=sp.csr_matrix(np.eye(5, dtype=np.uint8)))
    other = ad.AnnData(X=sp.csr_matrix(2 * np.eye(5, dtype=np.uint8)))
    digests = [write_shard(store, f"{i}.zarr", s)["sha256"] for i, s in enumerate((shard, shard))]
    assert digests[0] == digests[1]
    assert write_shard(store, "2.zarr", other)["sha256"] != digests[0]


def test_zarr_reads_and_cannot_write(store: Store) -> None:
    write_shard(store, "a.zarr", ad.AnnData(X=np.ones((3, 2), dtype=np.float32)))
    group = zarr.open_group(store.zarr("a.zarr"), mode="r")
    assert group["X"][:].tolist() == [[1, 1]] * 3
    with pytest.raises(ValueError, match="read"):
        zarr.open_group(store.zarr("a.zarr"), mode="r+").create_array("y", shape=1, dtype="i4")


def test_a_local_put_leaves_no_parts(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("x", b"1")
    store.put("x", b"2")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    "address", ["http://h/x", "gcs://b/x", "s3://", "gs://", "az://", "memory://"]
)
def test_an_address_that_names_no_store_is_refused(address: str, s3_bucket: str) -> None:
    with pytest.raises(BadOption) as caught:
        open_store(address)
    assert address in str(caught.value)
    assert caught.value.code == 2


def test_s3_without_credentials_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, s3: str, tmp_path: Path, forget_aws: Callable[[], None]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    forget_aws()
    try:
        with pytest.raises(BadInput, match="AWS_ACCESS_KEY_ID"):
            open_store(s3).get("x")
    finally:
        monkeypatch.undo()
        forget_aws()


def test_a_bucket_that_is_not_there_is_named(s3_bucket: str) -> None:
    with pytest.raises(BadAddress, match="s3://no-such-bucket/x/y"):
        open_store("s3://no-such-bucket/x").get("y")


def test_a_server_that_does_not_answer_is_worth_a_retry(
    monkeypatch: pytest.MonkeyPatch, s3: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(LevelseqError) as caught:
        open_store(s3).get("x")
    assert caught.value.code == 75
    assert "\n" not in str(caught.value)


def test_joining_and_splitting_addresses() -> None:
    assert join("s3://b/a/", "x", "y.csv") == "s3://b/a/x/y.csv"
    assert join("s3://b/a", "s3://c/d") == "s3://c/d"
    assert join("folder", "/rooted") == "/rooted"
    assert parent("s3://b/a/x.csv") == ("s3://b/a", "x.csv")
    assert parent("x.csv") == (".", "x.csv")
    assert parent("/x.csv") == ("/", "x.csv")
    with pytest.raises(BadAddress, match="bucket"):
        parent("s3://b")


def test_absolute_holds_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("a.csv") == str(tmp_path / "a.csv")
    assert absolute("s3://b/a.csv") == "s3://b/a.csv"


def test_file_addresses_and_paths_are_the_same_place(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    open_store(str(folder)).put("x", b"1")
    assert open_store(f"file://{str(folder).replace(' ', '%20')}").get("x") == b"1"
