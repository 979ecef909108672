"""Checks documents by their schemas, with the jsonschema package.

    schemas.py DIRECTORY FILE ...

Each FILE holds one document. Prints a line for each that is not what its schema says. A copy of each
that lacks a field, has another schema or a field of another type has to be refused.
"""

import json, pathlib, sys

from jsonschema import Draft202012Validator


def validator(directory, document):
    verb = document["schema"].removeprefix("drover.").removesuffix("/1")
    path = directory / f"{verb}.json"
    schema = json.loads((path if path.exists() else directory / "failure.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def spoilt(document):
    """Copies that are not what the schema says."""
    yield document | {"schema": "drover.nothing/1"}
    yield document | {"error": 1}
    if "error" not in document:
        # All that some documents have besides are fields that may be absent.
        names = [name for name in ("warnings", "action", "seed") if name in document]
        for name in document.keys() - {*names, "schema"}:
            if not document[name] is None:
                yield document | {name: {"of": [{}]} if isinstance(document[name], list) else []}


def main(directory, *files):
    wrong = 0
    for file in files:
        document = json.loads(pathlib.Path(file).read_text())
        check = validator(directory, document)
        for error in check.iter_errors(document):
            print(f"{file}: {error.json_path}: {error.message[:300]}")
            wrong += 1
        for copy in spoilt(document):
            if check.is_valid(copy):
                changed = [name for name in copy if copy[name] != document.get(name)]
                print(f"{file}: accepted with another {changed}")
                wrong += 1
        if "error" not in document and check.is_valid({"schema": document["schema"]}):
            print(f"{file}: accepted without its fields")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), *sys.argv[2:]))
