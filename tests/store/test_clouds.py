"""What differs between the clouds: credentials, encryption, servers that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from google_server import GoogleServer
from loopback import Answering, Loopback, serving

from levelseq.errors import BadAddress, BadOption, Conflict, LevelseqError
from levelseq.store import open_store
from levelseq.store.connect import forget_connections

KEY = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
ARN = "arn:aws:kms:eu-west-1:123456789012:key/abcd"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment, changed for this test alone."""
    forget_connections()
    yield monkeypatch
    monkeypatch.undo()
    forget_connections()


def without_azure(environment: pytest.MonkeyPatch) -> None:
    for name in ("ACCOUNT_NAME", "ACCOUNT_KEY", "ENDPOINT"):
        environment.delenv(f"AZURE_STORAGE_{name}", raising=False)


def test_google_without_credentials_says_what_to_set(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.delenv("STORAGE_EMULATOR_HOST", raising=False)
    environment.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    environment.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(BadOption, match=r"^gs://b: .*GOOGLE_APPLICATION_CREDENTIALS"):
        open_store("gs://b/x")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("", r"^s3://b: .*\(ours\).*AWS_PROFILE"),
        ("[profile ours]\naws_access_key_id = a\n", r"^s3://b: .*aws_secret_access_key"),
        (
            "[profile ours]\nsso_start_url = https://x\nsso_region = us-east-1\n"
            "sso_account_id = 1\nsso_role_name = r\n",
            r"^s3://b: .*SSO.*log in again",
        ),
    ],
    ids=["no profile", "half a key", "no login"],
)
def test_aws_that_cannot_be_entered_says_what_to_set(
    environment: pytest.MonkeyPatch, tmp_path: Path, config: str, said: str
) -> None:
    (tmp_path / "config").write_text(config)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.delenv(name, raising=False)
    environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    environment.setenv("HOME", str(tmp_path))
    environment.setenv("AWS_PROFILE", "ours")
    forget_connections()
    with pytest.raises(BadOption, match=said):
        open_store("s3://b/x")


def test_azure_without_an_account_or_credentials_says_what_to_set(
    environment: pytest.MonkeyPatch,
) -> None:
    without_azure(environment)
    with pytest.raises(BadOption, match=r"^az://c: .*AZURE_STORAGE_ACCOUNT_NAME"):
        open_store("az://c/x")
    environment.setenv("AZURE_STORAGE_ACCOUNT_NAME", "a")
    with pytest.raises(BadOption, match=r"^az://c: .*AZURE_STORAGE_SAS_TOKEN"):
        open_store("az://c/x")


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_a_bucket_that_is_not_there_is_named(scheme: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(scheme)
    store = open_store(f"{scheme}://no-such-bucket/x")
    with pytest.raises(BadAddress, match=f"{scheme}://no-such-bucket/x/y"):
        store.get("y")
    with pytest.raises(BadAddress, match=f"{scheme}://no-such-bucket/x/y"):
        store.put("y", b"1")


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_a_server_that_does_not_answer_is_worth_a_retry(
    scheme: str, environment: pytest.MonkeyPatch
) -> None:
    nowhere = "http://127.0.0.1:9"
    if scheme == "gs":
        from levelseq.store import google

        environment.setenv("STORAGE_EMULATOR_HOST", nowhere)
        environment.setattr(google, "RETRY", google.RETRY.with_timeout(1.0))
    else:
        environment.setenv("AZURE_STORAGE_ENDPOINT", f"{nowhere}/a")
        environment.setenv("AZURE_STORAGE_ACCOUNT_NAME", "a")
        environment.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    with pytest.raises(LevelseqError) as caught:
        open_store(f"{scheme}://b/x").get("y")
    assert caught.value.code == 75
    assert "\n" not in str(caught.value)


def test_a_denied_google_bucket_is_bad_input(
    gs: str, google_server: GoogleServer, environment: pytest.MonkeyPatch
) -> None:
    environment.setattr(google_server, "denied", True)
    with pytest.raises(BadAddress, match=f"{gs}/y: access is denied"):
        open_store(gs).get("y")


def test_a_google_read_that_loses_races_ends_as_a_conflict(
    gs: str, google_server: GoogleServer, environment: pytest.MonkeyPatch
) -> None:
    store = open_store(gs)
    store.put("champion.json", b"1")
    environment.setattr(google_server, "restless", True)
    with pytest.raises(Conflict):
        store.get_versioned("champion.json")
    environment.setattr(google_server, "restless", False)
    read = store.get_versioned("champion.json")
    assert read is not None
    assert read.content == b"1"


def test_a_google_server_that_is_busy_is_asked_again(gs: str, google_server: GoogleServer) -> None:
    store = open_store(gs)
    google_server.busy = 2
    assert store.put_if_absent("x", b"1")
    google_server.busy = 2
    assert store.get("x") == b"1"
    assert google_server.busy == 0


def test_a_large_google_object_is_uploaded_whole(gs: str) -> None:
    content = bytes(range(256)) * (40 << 12)
    store = open_store(gs)
    assert store.put_if_absent("large", content)
    assert not store.put_if_absent("large", content[:1])
    assert store.get("large") == content
    with store.local_copy("large") as path:
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("settings", "arrived"),
    [
        ({"AWS_SERVER_SIDE_ENCRYPTION": "AES256"}, ("AES256", None)),
        (
            {"AWS_SERVER_SIDE_ENCRYPTION": "aws:kms", "AWS_SSE_KMS_KEY_ID": ARN},
            ("aws:kms", ARN),
        ),
    ],
)
def test_s3_is_told_how_to_encrypt(
    s3: str,
    environment: pytest.MonkeyPatch,
    settings: dict[str, str],
    arrived: tuple[str, str | None],
) -> None:
    for name, value in settings.items():
        environment.setenv(name, value)
    store = open_store(s3)
    store.put("x", b"1")
    assert store.put_if_absent("y", b"1")
    bucket, prefix = s3.removeprefix("s3://").split("/")
    for name in "xy":
        head = boto3.client("s3").head_object(Bucket=bucket, Key=f"{prefix}/{name}")
        assert (head["ServerSideEncryption"], head.get("SSEKMSKeyId")) == arrived
    assert store.get("x") == b"1"


def test_google_is_told_which_key_encrypts(
    gs: str, google_server: GoogleServer, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("LEVELSEQ_GS_KMS_KEY", KEY)
    store = open_store(gs)
    store.put("x", b"1")
    store.put_if_absent("y", bytes(9 << 20))
    bucket, prefix = gs.removeprefix("gs://").split("/")
    for name in "xy":
        assert google_server.objects[bucket][f"{prefix}/{name}"].kms_key == KEY
    assert store.get("x") == b"1"


def test_azure_is_told_the_scope_on_writes_alone(
    environment: pytest.MonkeyPatch, wire: Loopback
) -> None:
    without_azure(environment)
    environment.setenv("AZURE_STORAGE_ACCOUNT_NAME", "a")
    environment.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=s")
    environment.setenv("AZURE_STORAGE_ENDPOINT", f"http://127.0.0.1:{wire.server_port}")
    environment.setenv("LEVELSEQ_AZ_ENCRYPTION_SCOPE", "clinical")
    store = open_store("az://c/x")
    store.put("y", b"1")
    with pytest.raises(BadAddress):
        store.get("y")
    assert wire.heard == [("PUT", "clinical"), ("GET", None)]


@pytest.fixture
def wire() -> Iterator[Loopback]:
    """A server that writes down method and encryption scope, takes all and has nothing."""

    class Handler(Answering):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.told(201)

        def do_GET(self) -> None:
            self.told(404)

        def told(self, status: int) -> None:
            self.server.heard.append((self.command, self.headers["x-ms-encryption-scope"]))
            self.send_response(status)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Handler, heard=[]) as server:
        yield server


@pytest.mark.parametrize(
    ("scheme", "settings", "named"),
    [
        ("s3", {"AWS_SERVER_SIDE_ENCRYPTION": "rot13"}, "AWS_SERVER_SIDE_ENCRYPTION"),
        ("s3", {"AWS_SSE_KMS_KEY_ID": ARN}, "AWS_SSE_KMS_KEY_ID"),
        ("gs", {"LEVELSEQ_GS_KMS_KEY": "k"}, "LEVELSEQ_GS_KMS_KEY"),
        (
            "az",
            {
                "LEVELSEQ_AZ_ENCRYPTION_SCOPE": "s",
                "AZURE_STORAGE_ACCOUNT_NAME": "a",
                "AZURE_STORAGE_ACCOUNT_KEY": "a2V5",
            },
            "AZURE_STORAGE_ACCOUNT_KEY",
        ),
    ],
)
def test_encryption_that_cannot_be_is_refused_before_a_write(
    scheme: str,
    settings: dict[str, str],
    named: str,
    environment: pytest.MonkeyPatch,
    s3_bucket: str,
    google_server: GoogleServer,
    forget_aws: Callable[[], None],
) -> None:
    for name, value in settings.items():
        environment.setenv(name, value)
    with pytest.raises(BadOption, match=named):
        open_store(f"{scheme}://b/x")
