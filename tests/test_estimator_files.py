"""A file of an estimator is looked into before skops and scikit-learn see it; what could do harm is refused."""

import io
import json
import shutil
import zipfile

import numpy as np
import pytest

from astrokeras import Classify, PhotoZ
from astrokeras.errors import ModelError, UnsafeModelError
from astrokeras.models.bundle import inspected, load, verify
from astrokeras.models.estimator_inspect import SCHEMA, inspect_estimator
from astrokeras.synthetic.catalog import Synthetic

BANDS = ("g", "r", "i")
METHODS = {
    "forest": ("random_forest", {"n_estimators": 2, "max_depth": 4}),
    "boosting": ("hist_gradient_boosting", {"max_iter": 3, "max_leaf_nodes": 4}),
    "vectors": ("svm_rbf", {}),
    "neighbours": ("knn", {}),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return one small classifier of each kind, by name."""
    folder = tmp_path_factory.mktemp("estimators")
    source = Synthetic(rows=240, seed=9, bands=BANDS, classes={"star": 0.5, "galaxy": 0.5})
    table = source.read(next(iter(source.partitions(240))), [f.name for f in source.fields()])
    table["split"] = np.array(["train"] * 160 + ["calibrate"] * 80)
    for name, (method, parameters) in METHODS.items():
        recipe = {"method": method, "parameters": parameters, "threads": 1}
        Classify(bands=BANDS, classes=("STAR", "GALAXY"), train=recipe).fit(table, folder / name)
    recipe = {"method": "svm_rbf", "n_grid": 32, "threads": 1}
    PhotoZ(bands=BANDS, train=recipe).fit(table[table["class_true"] == "GALAXY"], folder / "regression")
    return folder


class Changed:
    """Copy of a model whose estimator file is taken apart, to be changed and written again."""

    def __init__(self, model, directory):
        self.directory = shutil.copytree(model, directory / "changed")
        self.path = self.directory / "model.skops"
        with zipfile.ZipFile(self.path) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}
        self.schema = json.loads(self.members[SCHEMA])

    def nodes(self, name):
        """All objects of a class."""
        stack, found = [self.schema], []
        while stack:
            value = stack.pop()
            if isinstance(value, dict):
                found += [value] if value.get("__class__") == name else []
                stack += value.values()
            elif isinstance(value, list):
                stack += value
        return found

    def attributes(self, name):
        """Attributes of the first object of a class."""
        return self.nodes(name)[0]["content"]["content"]

    def array(self, node):
        return np.load(io.BytesIO(self.members[node["file"]]))

    def put(self, node, array):
        stream = io.BytesIO()
        np.save(stream, array)
        self.members[node["file"]] = stream.getvalue()

    def write(self, compression=zipfile.ZIP_STORED, again=()):
        self.members[SCHEMA] = json.dumps(self.schema).encode()
        with zipfile.ZipFile(self.path, "w", compression) as archive:
            for name, data in [*self.members.items(), *again]:
                archive.writestr(name, data)
        return self.path


@pytest.fixture
def changed(models, tmp_path):
    return lambda name: Changed(models / name, tmp_path)


def refused(path, message):
    with pytest.raises(UnsafeModelError, match=message):
        inspect_estimator(path)


@pytest.mark.parametrize("name", [*METHODS, "regression"])
def test_what_astrokeras_saves_passes(models, name):
    found = inspect_estimator(models / name / "model.skops")
    assert found.parameters > 20
    assert found.nbytes >= 4 * found.parameters
    assert verify(models / name).ok


def test_the_digest_knows_content_and_not_addresses(changed):
    model = changed("forest")
    digest = inspect_estimator(model.path).digest
    renamed = json.dumps(model.schema)
    for number, name in enumerate(n for n in list(model.members) if n != SCHEMA):
        renamed = renamed.replace(name, f"{number + 90}.npy").replace(name.removesuffix(".npy"), str(number + 90))
        model.members[f"{number + 90}.npy"] = model.members.pop(name)
    model.schema = json.loads(renamed)
    assert inspect_estimator(model.write()).digest == digest
    text(model, "RandomForestClassifier", "n_estimators", 3)
    assert inspect_estimator(model.write()).digest != digest


def test_another_estimator_is_not_the_model_described(changed):
    model = changed("forest")
    node = model.nodes("Tree")[0]["content"]["content"]["values"]
    model.put(node, model.array(node)[:, :, ::-1].copy())
    model.write()
    with pytest.raises(ModelError, match="not the model described"):
        load(model.directory)


@pytest.mark.parametrize(
    ("loader", "module", "name"),
    [
        ("FunctionNode", "os", "system"),
        ("TypeNode", "subprocess", "Popen"),
        ("ObjectNode", "builtins", "list"),
        ("ConstructorFromReduceNode", "numpy", "ndarray"),
        ("OperatorFuncNode", "operator", "methodcaller"),
        ("MethodNode", "builtins", "str"),
        ("PartialNode", "functools", "partial"),
        ("ObjectNode", "sklearn.pipeline", "Pipeline"),
        ("LossNode", "sklearn.svm._classes", "SVC"),
        ("ObjectNode", 7, "SVC"),
    ],
)
def test_other_types_are_refused(changed, loader, module, name):
    model = changed("forest")
    node = model.attributes("RandomForestClassifier")["criterion"]
    node.update(__loader__=loader, __module__=module, __class__=name)
    refused(model.write(), "is not allowed" if isinstance(module, str) else "says not what it is")


def forest_child(model, field, value):
    node = model.nodes("Tree")[0]["content"]["content"]["nodes"]
    nodes = model.array(node)
    nodes[field][0] = value
    model.put(node, nodes)


def boosted(model, field, value):
    node = model.attributes("TreePredictor")["nodes"]
    nodes = model.array(node)
    nodes[field][0] = value
    model.put(node, nodes)


def numbers(model, owner, name, change):
    node = model.attributes(owner)[name]
    model.put(node, change(model.array(node)))


def text(model, owner, name, value):
    # Equal numbers and texts are one object, of which only these are to change.
    for state in (node["content"]["content"] for node in model.nodes(owner)):
        if name in state:
            state[name].update(content=json.dumps(value), __id__=1)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("forest", lambda m: forest_child(m, "left_child", 10**6)),
        ("forest", lambda m: forest_child(m, "right_child", -7)),
        ("forest", lambda m: forest_child(m, "left_child", 0)),  # a walk would never end
        ("forest", lambda m: forest_child(m, "feature", 99)),
        ("forest", lambda m: forest_child(m, "feature", -2)),
        ("boosting", lambda m: boosted(m, "left", 10**6)),
        ("boosting", lambda m: boosted(m, "right", 0)),
        ("boosting", lambda m: boosted(m, "feature_idx", 99)),
        ("boosting", lambda m: boosted(m, "is_categorical", 1)),
        ("vectors", lambda m: text(m, "SVC", "kernel", "precomputed")),
        ("vectors", lambda m: numbers(m, "SVC", "support_vectors_", lambda x: x[:, :2].copy())),
        ("vectors", lambda m: numbers(m, "SVC", "_dual_coef_", lambda x: x[:, :1].copy())),
        ("vectors", lambda m: numbers(m, "SVC", "_n_support", lambda x: x + 1000)),
        ("regression", lambda m: numbers(m, "SVR", "_intercept_", lambda x: x[:0].copy())),
        ("neighbours", lambda m: numbers(m, "KNeighborsClassifier", "_y", lambda x: x + 5)),
        ("neighbours", lambda m: text(m, "KNeighborsClassifier", "n_neighbors", 10**7)),
        ("neighbours", lambda m: text(m, "KNeighborsClassifier", "_fit_method", "kd_tree")),
    ],
)
def test_indices_out_of_bounds_are_refused(changed, name, change):
    model = changed(name)
    change(model)
    refused(model.write(), "an index out of bounds, or arrays that do not fit together")


def test_an_estimator_of_other_features_is_refused(changed):
    model = changed("forest")
    text(model, "DecisionTreeClassifier", "n_features_in_", 3)
    refused(model.write(), r"take .* features; one number is due")


def test_arrays_larger_than_the_file_are_refused(changed):
    model = changed("neighbours")
    node = model.attributes("KNeighborsClassifier")["_fit_X"]
    data = model.members[node["file"]]
    head = data[: 10 + int.from_bytes(data[8:10], "little")]
    assert b"(160, " in head
    model.members[node["file"]] = head.replace(b"(160, ", b"(10**9,"[:6]) + data[len(head) :]
    with pytest.raises(ModelError, match="damaged"):
        inspect_estimator(model.write())
    model.members[node["file"]] = head.replace(b"(160, ", b"(9**9,"[:6]) + data[len(head) :]
    with pytest.raises(ModelError):
        inspect_estimator(model.write())
    model.members[node["file"]] = head.replace(b"(160, ", b"(960, ") + data[len(head) :]
    refused(model.write(), r"has the shape \(960, \d+\), \d+ bytes, of which \d+ are there")


def test_arrays_of_objects_are_refused(changed):
    model = changed("neighbours")
    node = model.attributes("KNeighborsClassifier")["_fit_X"]
    stream = io.BytesIO()
    np.save(stream, np.array([print], dtype=object), allow_pickle=True)
    model.members[node["file"]] = stream.getvalue()
    refused(model.write(), "has the type object")


def test_two_objects_with_one_number_are_refused(changed):
    model = changed("forest")
    first, second = model.nodes("Tree")
    second["__id__"] = first["__id__"]
    refused(model.write(), "two different objects have the number")


def test_other_members_are_refused(changed):
    model = changed("vectors")
    model.members["../evil.py"] = b"import os"
    refused(model.write(), "member '../evil.py' is not allowed")
    del model.members["../evil.py"]
    refused(model.write(zipfile.ZIP_DEFLATED), "compressed or encrypted")
    name = next(n for n in model.members if n != SCHEMA)
    with pytest.warns(UserWarning, match="Duplicate name"):
        model.write(again=[(name, b"x")])
    refused(model.path, "occurs 2 times")


def test_deep_and_odd_schemas_are_refused(changed):
    model = changed("vectors")
    node = model.attributes("SVC")["C"]
    good = node["content"]
    node["content"] = "[" * 100_000
    refused(model.write(), "more than 65536 characters")
    node["content"] = good
    deep = "x"
    for _ in range(400):
        deep = [deep]
    node["extra"] = deep
    refused(model.write(), "nested too deep")
    del node["extra"]
    model.schema["protocol"] = 0
    refused(model.write(), "not of skops protocol 2")


def test_what_is_no_archive_is_told(models, tmp_path):
    for name, data in (
        ("missing", None),
        ("text", b"hello"),
        ("cut", (models / "forest" / "model.skops").read_bytes()[:900]),
    ):
        folder = shutil.copytree(models / "forest", tmp_path / name)
        (folder / "model.skops").unlink()
        if data is not None:
            (folder / "model.skops").write_bytes(data)
        with pytest.raises(ModelError, match=r"model.skops: (no such file|damaged archive)"):
            inspected(folder)


def signed(model):
    """Write a changed model with the digest that it now has."""
    from astrokeras.models.card_file import read_card, write_card
    from astrokeras.models.files import digest_of

    model.write()
    card = read_card(model.directory)
    write_card(card.model_copy(update={"digest": digest_of(model.directory, card)}), model.directory / "card.json")
    return model.directory


def test_another_version_of_scikit_learn_must_give_the_same(changed):
    model = changed("forest")
    for node in model.nodes("RandomForestClassifier") + model.nodes("DecisionTreeClassifier"):
        node["content"]["content"]["_sklearn_version"]["content"] = '"1.7.0"'
    # Equal outputs: it is loaded.
    assert verify(signed(model)).ok
    node = model.nodes("Tree")[0]["content"]["content"]["values"]
    model.put(node, model.array(node)[:, :, ::-1].copy())
    with pytest.raises(ModelError, match=r"was made with scikit-learn 1.7.0 and gives something else with"):
        load(signed(model))


def test_files_that_do_not_belong_together_are_refused(models, changed):
    model = changed("forest")
    del model.schema["content"]["slope"]
    model.schema["content"]["grid"] = model.schema["content"].pop("offset")
    model.schema["key_types"]["content"].pop()
    with pytest.raises(ModelError, match=r"holds .*, not"):
        load(signed(model))
