"""The same study from and to S3."""

from __future__ import annotations

from pathlib import Path

from levelseq.cohort import open_cohort
from levelseq.ingest import plan, step
from levelseq.ingest.params import IngestParams
from levelseq.store import open_store


def test_a_study_on_s3_gives_the_cohort_of_the_local_one(lab, ingest, s3) -> None:
    lab.csv("a.csv.gz", lab.draw(0))
    lab.tenx_mtx("b", lab.draw(1))
    lab.h5ad("c.h5ad", lab.draw(2))
    lab.tenx_h5("d.h5", lab.draw(3))
    rows = "".join(f"{b},T{i % 2}\n" for i, b in enumerate(lab.barcodes))
    lab.write("meta.csv", "barcode,kind\n" + rows)
    names = ["a.csv.gz", "b", "c.h5ad", "d.h5"]
    sheet = lab.sheet(
        [{"address": n, "metadata": "meta.csv", "run": f"r{i}"} for i, n in enumerate(names)]
    )
    store = open_store(f"{s3}/lab")
    for path in Path(lab.folder).rglob("*"):
        if path.is_file():
            store.put(str(path.relative_to(lab.folder)), path.read_bytes())

    params = IngestParams(batch="run", label="kind", keep=["kind==T0"])
    local = open_cohort(step.run(plan.run(params, [sheet], ingest.workspace), ingest.workspace))
    planned = plan.run(params, [f"{s3}/lab/deposits.csv"], f"{s3}/w")
    address = step.run(planned, f"{s3}/w")
    remote = open_cohort(address)

    assert address == f"{s3}/w/cohorts/{local.fingerprint}"
    assert remote.manifest["shards"] == local.manifest["shards"]
    assert remote.obs().equals(local.obs())
    assert len(remote.obs()) == 4 * 5
    objects = open_store(f"{s3}/w").list()
    assert step.run(planned, f"{s3}/w") == address
    assert open_store(f"{s3}/w").list() == objects
