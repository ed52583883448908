"""Every module has a test file of its own: part of `make check`.

`adapters/fakellmd/model.py` is covered by `tests/adapters/fakellmd/test_model.py`; a suffix is
allowed (`test_model_properties.py`), so a large subject may have several files.
Coverage finds the line that no test runs; this finds the module that nobody thought about.
"""

import sys
from pathlib import Path

FOLDERS = ("contracts", "policies", "adapters", "gateway")

WITHOUT_TESTS: dict[str, str] = {
    "contracts/anthropic_api.py": "Structs; what they take is test_messages_request's",
    "contracts/anthropic_answers.py": "Structs; tests/gateway/openapi holds answers to them",
    "contracts/responses_api.py": "Structs; what they take is test_responses_request's",
    "contracts/responses_answers.py": "Structs; tests/gateway/openapi holds answers to them",
    "contracts/catalog.py": "Structs without behaviour",
    "contracts/config.py": "Structs without behaviour; that they are read is test_yaml_document's",
    "contracts/inference.py": "Structs without behaviour",
    "contracts/openai_answers.py": "Structs for the published OpenAPI; tests/gateway/openapi holds answers to it",
    "contracts/control.py": "Structs without behaviour",
    "contracts/operator_answers.py": "Structs without behaviour",
    "contracts/capability_answers.py": "Structs; test_capabilities holds the answer to them",
    "contracts/pool_answers.py": "Structs; tests/gateway/openapi holds answers to them",
    "contracts/snapshot.py": "Structs without behaviour",
    "contracts/tasks.py": "Structs without behaviour",
    "adapters/dialect.py": "Structs and Protocols without behaviour",
    "adapters/transport.py": "Protocols",
    "gateway/records/engine.py": "a Protocol",
    "gateway/records/postgresql_engine.py": "run by all tests of records, each of which has PostgreSQL's turn",
    "gateway/records/faults.py": "exceptions without behaviour",
    "gateway/records/schema.py": "tables; that the migrations make them is test_migrate's",
    "gateway/records/migrations/env.py": "run by every migration in test_migrate",
    "gateway/records/migrations/versions/r0001_tasks_and_executions.py": "run by test_migrate",
    "gateway/records/migrations/versions/r0002_answers.py": "run by test_migrate",
    "gateway/records/migrations/versions/r0003_sizes_and_missing_bodies.py": "run by test_migrate",
    "gateway/sinks.py": "Protocols",
    "gateway/tongues.py": "Protocols",
    "gateway/tasks/store.py": "Structs and a Protocol",
    "gateway/workers/messages.py": "Structs; that they travel is test_link's",
    "gateway/workers/hub.py": "test_hub_link joins it with workers, test_supervisor runs it",
    "gateway/workers/hub_process.py": "a process; test_supervisor runs it",
    "gateway/workers/hub_pool.py": "test_hub_link joins it with workers' pools",
    "gateway/workers/shared_pool.py": "test_hub_link joins several of them",
    "gateway/workers/worker.py": "a process; test_supervisor runs two",
    "gateway/workers/process.py": "a process; test_supervisor runs three, and one that cannot begin",
    "gateway/settings.py": "Structs; that their redactor knows every secret is configuration/test_loading's",
}
"""Modules that need no test file, each with its reason. `__init__` and `__main__` never need one."""

_GLUE = ("__init__", "__main__")


def modules(root: Path) -> list[str]:
    """Every module of the four folders, as a path relative to `root`."""
    return sorted(
        path.relative_to(root).as_posix()
        for folder in FOLDERS
        for path in (root / folder).rglob("*.py")
        if path.stem not in _GLUE
    )


def has_test(root: Path, module: str) -> bool:
    """Whether `tests/` has a file for `module` at the mirrored place."""
    path = Path(module)
    place = root / "tests" / path.parent
    names = {test.stem for test in place.glob("test_*.py")}
    wanted = f"test_{path.stem}"
    others = {f"test_{Path(m).stem}" for m in modules(root) if Path(m).parent == path.parent}
    # `test_openai_body` covers `openai_body`, not `openai`, when both modules exist.
    return any(n == wanted or (n.startswith(wanted + "_") and n not in others) for n in names)


def complaints(root: Path, without_tests: dict[str, str]) -> list[str]:
    """What is wrong, one sentence each."""
    found = modules(root)
    return [
        *(
            f"{module} has no tests/{Path(module).parent}/test_{Path(module).stem}.py"
            for module in found
            if module not in without_tests and not has_test(root, module)
        ),
        *(
            f"{module} is excused from tests but does not exist"
            for module in without_tests
            if module not in found
        ),
        *(
            f"{module} is excused from tests but has one"
            for module in without_tests
            if module in found and has_test(root, module)
        ),
    ]


def main(root: Path) -> int:
    """Exit status: 0 all well, 1 something is missing."""
    missing = complaints(root, WITHOUT_TESTS)
    for sentence in missing:
        print(f"untested modules: {sentence}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[2]))
