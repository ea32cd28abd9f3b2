"""`__all__` is the API: it is what is there, and nothing else is promised."""

import importlib
import pkgutil
import subprocess
import sys

import levelseq
import levelseq_pipelines


def modules(package):
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def test_the_package_offers_what_the_contract_names():
    offered = {"load_model", "normalize_counts", "open_cohort", "open_normalized"}
    assert set(levelseq.__all__) == offered
    assert all(callable(getattr(levelseq, name)) for name in offered)


def test_what_is_offered_is_listed_before_it_is_imported():
    code = "import levelseq; assert set(levelseq.__all__) <= set(dir(levelseq))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_module_says_what_is_public_and_has_it():
    found = [*modules(levelseq), *modules(levelseq_pipelines)]
    assert len(found) > 50
    for module in found:
        if hasattr(module, "__all__"):
            missing = [name for name in module.__all__ if not hasattr(module, name)]
            assert not missing, module.__name__
        else:
            own = [
                name
                for name, value in vars(module).items()
                if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
            ]
            assert not own, f"{module.__name__} has no __all__"


def test_importing_levelseq_costs_no_torch():
    code = "import levelseq, sys; assert not {'torch', 'kfp', 'anndata'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
