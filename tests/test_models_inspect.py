"""Attacks on the loader, one test each: what was found is named, and Keras never sees the file.

Refused by design: CVE-2024-3660, 2025-1550, 2025-8747, 2025-9905, 2025-9906, 2025-12058, 2025-12060, 2025-49655,
2026-0897, 2026-1462, 2026-1669 are each a member, class, function, link or size that the allow-lists do not have.
"""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib

import h5py
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrokeras.errors import ModelError, UnsafeModelError
from astrokeras.models import allowed
from astrokeras.models.inspect import CONFIG, MEMBERS, WEIGHTS, inspect

TENSOR = {
    "class_name": "__keras_tensor__",
    "config": {"shape": [None, 3], "dtype": "float32", "keras_history": ["a", 0, 0]},
}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Members of a small honest model: two inputs, one dense layer."""
    inputs = {name: keras.Input((3,), name=name) for name in ("a", "b")}
    joined = keras.layers.Concatenate(name="joined")(list(inputs.values()))
    outputs = keras.layers.Dense(4, activation="relu", kernel_regularizer="l2", name="dense")(joined)
    path = tmp_path_factory.mktemp("honest") / "model.keras"
    keras.Model(inputs, outputs).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.keras"


def write(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def with_config(path, original, change):
    config = json.loads(original[CONFIG])
    change(config)
    return write(path, original | {CONFIG: json.dumps(config)})


def with_weights(path, original, change):
    stream = io.BytesIO(original[WEIGHTS])
    with h5py.File(stream, "r+") as weights:
        change(weights)
    return write(path, original | {WEIGHTS: stream.getvalue()})


def layer(config, name="dense"):
    return next(found for found in config["config"]["layers"] if found["name"] == name)


def refused(path, *expected):
    """Refused by the inspector, naming the file and all of ``expected``."""
    with pytest.raises(UnsafeModelError) as raised:
        inspect(path)
    text = str(raised.value)
    assert text.startswith(str(path)) and "\n" not in text
    for word in expected:
        assert word in text


def test_an_honest_model_passes(path, original):
    found = inspect(write(path, original))
    assert (found.parameters, found.nbytes) == (6 * 4 + 4, 4 * 28)
    assert found.classes["Dense"] == 1 and found.classes["InputLayer"] == 2
    assert len(found.digest) == 64


class TestCode:
    """Configurations that name code."""

    @pytest.mark.parametrize(
        "form",
        [
            {"module": "keras.layers", "class_name": "Lambda", "registered_name": None},
            {"module": "keras", "class_name": "Lambda", "registered_name": None},
            {"module": "keras.src.layers.core.lambda_layer", "class_name": "Lambda", "registered_name": "Lambda"},
            {"module": "keras.layers", "class_name": "Dense", "registered_name": "Lambda"},
        ],
    )
    def test_lambda_layer(self, path, original, form):
        code = {"class_name": "__lambda__", "config": {"value": ["4wEA", None, None]}}
        refused(with_config(path, original, lambda c: layer(c).update(form, config={"function": code})), "Lambda")

    def test_lambda_function_as_activation(self, path, original):
        code = {"class_name": "__lambda__", "config": {"value": ["4wEA", None, None]}}
        refused(with_config(path, original, lambda c: layer(c)["config"].update(activation=code)), "__lambda__")

    @pytest.mark.parametrize("wrapper", ["TimeDistributed", "Bidirectional", "RNN", "Wrapper", "SpectralNormalization"])
    def test_wrappers_that_hide_a_layer(self, path, original, wrapper):
        refused(with_config(path, original, lambda c: layer(c).update(class_name=wrapper)), f"keras.layers.{wrapper}")

    @pytest.mark.parametrize(
        ("module", "function"),
        [
            ("os", "system"),
            ("builtins", "eval"),
            ("numpy", "load"),
            ("keras.utils", "get_file"),
            ("keras.utils", "pad_sequences"),
            ("keras.config", "enable_unsafe_deserialization"),
            ("keras.saving", "load_model"),
            ("keras.activations", "relu"),
        ],
    )
    def test_functions_of_any_module(self, path, original, module, function):
        gadget = {"module": module, "class_name": "function", "config": function, "registered_name": function}
        for place in ("activation", "kernel_initializer"):
            made = with_config(path, original, lambda c, p=place: layer(c)["config"].update({p: gadget}))
            refused(made, f"{module}.function ('{function}')", place)

    @pytest.mark.parametrize(
        ("module", "name"),
        [
            ("os", "system"),
            ("builtins", "exec"),
            ("subprocess", "Popen"),
            ("keras.src.utils.file_utils", "get_file"),
            ("keras.src.models.cloning", "clone_model"),
            ("astrokeras.ingest.catalog", "Catalog"),
            (None, "Dense"),
            (["keras.layers"], "Dense"),
        ],
    )
    def test_classes_of_any_module(self, path, original, module, name):
        refused(with_config(path, original, lambda c: layer(c).update(module=module, class_name=name)), name)

    @pytest.mark.parametrize("name", ["get_file", "to_categorical", "keras.utils.get_file", "os.system"])
    def test_names_of_functions_as_activation(self, path, original, name):
        refused(
            with_config(path, original, lambda c: layer(c)["config"].update(activation=name)), f"activation '{name}'"
        )

    @pytest.mark.parametrize(
        "name", ["TFSMLayer", "StringLookup", "IntegerLookup", "TextVectorization", "Hashing", "JaxLayer"]
    )
    def test_layers_that_read_files_or_run_graphs(self, path, original, name):
        config = {"name": "dense", "vocabulary": "/etc/passwd", "filepath": "/tmp/evil"}
        refused(
            with_config(path, original, lambda c: layer(c).update(class_name=name, config=config)), f"layers.{name}"
        )

    def test_foreign_registered_class(self, path, original):
        change = {"module": "evil", "class_name": "Dense", "registered_name": "evil>Dense"}
        refused(with_config(path, original, lambda c: layer(c).update(change)), "evil>Dense")
        change = {"module": "astrokeras.layers.photometry", "registered_name": "evil>Dense"}
        refused(with_config(path, original, lambda c: layer(c).update(change)), "evil>Dense")

    def test_code_in_a_call(self, path, original):
        gadget = {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "exec"}
        nodes = [{"args": [TENSOR, gadget], "kwargs": {}}]
        refused(with_config(path, original, lambda c: layer(c).update(inbound_nodes=nodes)), "builtins.function")

    @pytest.mark.parametrize("kind", ["__typespec__", "__bytes__", "__tensor__", "__numpy__", "__slice__"])
    def test_special_objects(self, path, original, kind):
        value = {"class_name": kind, "config": {"value": [1], "dtype": "float32"}}
        refused(with_config(path, original, lambda c: layer(c)["config"].update(name=value)), kind)

    def test_compile_config(self, path, original):
        refused(with_config(path, original, lambda c: c.update(compile_config={"loss": "mse"})), "compile_config")

    def test_quantized_and_low_rank_layers(self, path, original):
        refused(with_config(path, original, lambda c: layer(c)["config"].update(lora_rank=4)), "lora_rank")
        policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "int8"}, "registered_name": None}
        refused(with_config(path, original, lambda c: layer(c)["config"].update(dtype=policy)), "dtype 'int8'")

    def test_model_of_another_class(self, path, original):
        refused(with_config(path, original, lambda c: c.update(class_name="Model")), "'Model'")


class TestArchive:
    """What is in the zip file, before any of it is read."""

    @pytest.mark.parametrize(
        "name",
        [
            "../../.bashrc",
            "/etc/cron.d/x",
            "assets/vocabulary.txt",
            "assets/",
            "model.weights.npz",
            "model.weights.json",
            "x.py",
        ],
    )
    def test_other_members(self, path, original, name):
        refused(write(path, original | {name: b"x"}), f"member '{name}' is not allowed")

    @pytest.mark.parametrize("name", list(MEMBERS))
    def test_duplicate_members(self, path, original, name):
        with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(write(path, original), "a") as archive:
            archive.writestr(name, original[name])
        refused(path, f"member '{name}' occurs 2 times")

    @pytest.mark.parametrize("name", list(MEMBERS))
    def test_missing_members(self, path, original, name):
        with pytest.raises(ModelError, match=f"member '{name}' is missing"):
            inspect(write(path, {k: v for k, v in original.items() if k != name}))

    def test_compressed_bomb(self, path, original):
        members = original | {WEIGHTS: original[WEIGHTS] + bytes(10 << 20)}
        refused(write(path, members, compression=zipfile.ZIP_DEFLATED), "compressed")
        assert path.stat().st_size < 50_000

    def test_sparse_weight_bomb_of_2_gib(self, path, original):
        """Stored, not compressed, and next to nothing on disk; refused by its size, without reading it."""
        write(path, {k: v for k, v in original.items() if k != WEIGHTS})
        size = (2 << 30) - 4096
        with zipfile.ZipFile(path, "a") as archive:
            info = zipfile.ZipInfo(WEIGHTS)
            info.file_size = info.compress_size = size
            info.CRC = 0
            info.header_offset = archive.start_dir
            archive.fp.seek(archive.start_dir)
            archive.fp.write(info.FileHeader(zip64=False))
            archive.fp.seek(size, os.SEEK_CUR)
            archive.start_dir = archive.fp.tell()
            archive.filelist.append(info)
            archive.NameToInfo[WEIGHTS] = info
            archive._didModify = True
        assert path.stat().st_blocks * 512 < 1 << 20 < path.stat().st_size
        refused(path, f"'{WEIGHTS}' has {size} bytes")

    def test_a_file_larger_than_any_model(self, path):
        with path.open("wb") as stream:
            stream.write(b"PK\x03\x04")
            stream.truncate(3 << 30)
        refused(path, "3221225472 bytes")

    def test_large_configuration(self, path, original):
        refused(write(path, original | {CONFIG: b" " * (MEMBERS[CONFIG] + 1)}), CONFIG, "at most")

    @pytest.mark.parametrize("opening", [b"[", b'{"a":'])
    def test_deeply_nested_configuration(self, path, original, opening):
        refused(write(path, original | {CONFIG: opening * 200_000}), "nested too deeply")

    def test_configuration_nested_more_than_any_network(self, path, original):
        deep = []
        for _ in range(100):
            deep = [deep]
        refused(with_config(path, original, lambda c: c["config"].update(deep=deep)), "nested deeper than 64")

    @pytest.mark.parametrize("text", [b"", b"{", b"\xff\xff", b'{"a": ' + b"9" * 5000 + b"}", b"[]"])
    def test_configuration_that_is_no_json_object(self, path, original, text):
        for member in (CONFIG, "metadata.json"):
            with pytest.raises(ModelError, match=member):
                inspect(write(path, original | {member: text}))

    def test_encrypted_members(self, path, original):
        data = bytearray(write(path, original).read_bytes())
        at = data.index(b"PK\x01\x02")
        data[at + 8] |= 1
        path.write_bytes(data)
        refused(path, "compressed or encrypted")

    def test_wrong_checksum(self, path, original):
        data = bytearray(write(path, original).read_bytes())
        data[data.index(b"\x89HDF") + 3000] ^= 1
        path.write_bytes(data)
        with pytest.raises(ModelError, match=r"damaged archive .*Bad CRC"):
            inspect(path)

    @pytest.mark.parametrize("keep", [4, 100, 2000])
    def test_truncated(self, path, original, keep):
        write(path, original)
        os.truncate(path, keep)
        with pytest.raises(ModelError, match="damaged archive"):
            inspect(path)


class TestOtherFormats:
    def test_legacy_h5(self, tmp_path, original):
        for name in ("model.h5", "model.hdf5"):
            (tmp_path / name).write_bytes(original[WEIGHTS])
            refused(tmp_path / name, f"suffix '{os.path.splitext(name)[1]}'", ".keras archives only")

    def test_h5_under_our_suffix(self, path, original):
        path.write_bytes(original[WEIGHTS])
        refused(path, "an HDF5 file")

    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_pickle(self, path, protocol):
        path.write_bytes(pickle.dumps({"weights": [1, 2]}, protocol))
        refused(path, "is a pickle, which runs code")

    def test_text_pickle_and_source(self, path):
        for text in (pickle.dumps([1], 0), b"import os\nos.system('id')\n", b'{"class_name": "Functional"}'):
            path.write_bytes(text)
            refused(path, "is text")

    def test_joblib(self, path):
        path.write_bytes(zlib.compress(pickle.dumps([1])))
        refused(path, "joblib")

    @pytest.mark.parametrize(
        ("data", "what"),
        [
            (b"version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
            (b"<!DOCTYPE html>", "HTML"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\x00\x01\x02", "no zip archive"),
            (b"", "is empty"),
        ],
    )
    def test_other_files(self, path, data, what):
        path.write_bytes(data)
        refused(path, what)

    def test_saved_model_directory(self, tmp_path):
        (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
        refused(tmp_path, "TensorFlow SavedModel")

    def test_directory_with_an_unpacked_model(self, path, original):
        path.mkdir()
        for name, data in original.items():
            (path / name).write_bytes(data)
        refused(path, "is a directory")


class TestSizes:
    """Configurations that ask for more memory than the file has weights."""

    def test_dense_of_3e8_units(self, path, original):
        for units in (300_000_000, 3e8):
            refused(
                with_config(path, original, lambda c, n=units: layer(c)["config"].update(units=n)), f"units {units}"
            )

    @pytest.mark.parametrize("units", [5, 16_000])
    def test_more_units_than_weights(self, path, original, units):
        made = with_config(path, original, lambda c: layer(c)["config"].update(units=units))
        refused(made, "Dense 'dense' implies a weight of shape", f"(6, {units})")

    def test_built_for_more_inputs_than_weights(self, path, original):
        made = with_config(path, original, lambda c: layer(c).update(build_config={"input_shape": [None, 16_000]}))
        refused(made, "(16000, 4)")

    def test_not_said_for_how_many_inputs(self, path, original):
        """Else Keras would take the number from the graph, which may be anything."""
        refused(with_config(path, original, lambda c: layer(c).pop("build_config")), "not the shape it was built for")

    @pytest.mark.parametrize("units", [-4, True, "4", None, [4]])
    def test_units_that_are_no_number(self, path, original, units):
        refused(with_config(path, original, lambda c: layer(c)["config"].update(units=units)), "Dense")

    def test_many_layers_of_one_weight(self, path, original):
        def multiply(config):
            copies = [json.loads(json.dumps(layer(config))) for _ in range(9)]
            for number, copy in enumerate(copies):
                copy["name"] = copy["config"]["name"] = f"dense_{number}"
            config["config"]["layers"] += copies

        refused(with_config(path, original, multiply), "implies a weight of shape (6, 4)")

    def test_shared_identity_hides_no_layer(self, path, original):
        def share(config):
            copy = json.loads(json.dumps(layer(config)))
            copy["config"]["units"] = 16_000
            copy["shared_object_id"] = layer(config)["shared_object_id"] = 7
            config["config"]["layers"].append(copy)

        refused(with_config(path, original, share), "shared_object_id 7 names two different objects")

    def test_a_layer_called_on_another_shape_makes_no_weight(self, path, original):
        """What the check relies on: Keras builds from build_config, and refuses the call."""

        def widen(config):
            for name in ("a", "b"):
                layer(config, name)["config"]["batch_shape"] = [None, 9000]

        with_config(path, original, widen)
        inspect(path)
        with pytest.raises(ValueError, match="incompatible with the layer"):
            keras.saving.load_model(path, compile=False, safe_mode=True)

    def test_huge_shapes(self, path, original):
        shape = [None, 16_000, 16_000]
        refused(with_config(path, original, lambda c: layer(c, "a")["config"].update(batch_shape=shape)), "batch_shape")

    @pytest.mark.parametrize("shape", [[None, None], [4, 3], [], [None, "3"]])
    def test_inputs_of_any_shape(self, path, original, shape):
        made = with_config(path, original, lambda c: layer(c, "a")["config"].update(batch_shape=shape))
        refused(made, "all but the first size are fixed")

    def test_a_layer_called_twice(self, path, original):
        refused(with_config(path, original, lambda c: layer(c).update(inbound_nodes=[{}, {}])), "called more than once")

    def test_too_many_objects(self, path, original):
        zeros = {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}
        refused(with_config(path, original, lambda c: c["config"].update(more=[zeros] * 20_001)), "objects")

    @pytest.mark.parametrize(
        "made",
        [
            lambda k: k.Dense(7, use_bias=False),
            lambda k: k.Conv2D(7, (3, 2)),
            lambda k: k.Conv2D(6, 3, groups=2),
            lambda k: k.Conv2DTranspose(7, (2, 3)),
            lambda k: k.DepthwiseConv2D(3, depth_multiplier=2),
            lambda k: k.SeparableConv2D(7, 3, depth_multiplier=2),
            lambda k: k.BatchNormalization(),
            lambda k: k.BatchNormalization(scale=False, axis=1),
            lambda k: k.LayerNormalization(axis=(1, 2, 3)),
        ],
    )
    def test_implied_weights_are_those_that_keras_makes(self, path, made):
        """The rules against Keras itself; and a file without the weights is refused."""
        built = made(keras.layers)
        inputs = keras.Input((8, 9, 4))
        keras.Model(inputs, built(inputs)).save(path)
        serialized = keras.saving.serialize_keras_object(built)
        implied = allowed.weight_shapes(json.loads(json.dumps(serialized)), "here")
        real = [tuple(w.shape) for w in built.weights]
        assert implied and set(implied) <= set(real)
        # All that the rules leave out has one axis.
        rest = list(real)
        for shape in implied:
            rest.remove(shape)
        assert all(len(shape) == 1 for shape in rest)
        inspect(path)


class TestHDF5:
    """What the weights file must not hold."""

    def test_external_link(self, path, original):
        def change(weights):
            del weights["layers/dense/vars/0"]
            weights["layers/dense/vars/0"] = h5py.ExternalLink("/etc/passwd", "/x")

        refused(with_weights(path, original, change), WEIGHTS, "/layers/dense/vars/0 is an external link")

    def test_soft_link(self, path, original):
        refused(with_weights(path, original, lambda w: w.update({"x": h5py.SoftLink("/layers")})), "/x is a soft link")

    def test_hard_link_makes_a_cycle(self, path, original):
        refused(
            with_weights(path, original, lambda w: w["layers"].update({"again": w["layers"]})),
            "/layers/again",
            "second name",
        )

    def test_virtual_dataset(self, path, original):
        def change(weights):
            layout = h5py.VirtualLayout((4,), "f4")
            layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
            del weights["layers/dense/vars/1"]
            weights.create_virtual_dataset("layers/dense/vars/1", layout)

        refused(with_weights(path, original, change), "virtual or external")

    def test_external_storage(self, path, original, tmp_path):
        def change(weights):
            del weights["layers/dense/vars/1"]
            stored = [(str(tmp_path / "secret"), 0, 16)]
            weights.create_dataset("layers/dense/vars/1", (4,), "f4", external=stored)

        refused(with_weights(path, original, change), "virtual or external")

    @pytest.mark.parametrize("options", [{"chunks": (2,)}, {"compression": "gzip"}, {"fletcher32": True}])
    def test_chunks_and_filters(self, path, original, options):
        def change(weights):
            del weights["layers/dense/vars/1"]
            weights.create_dataset("layers/dense/vars/1", data=np.zeros(4, "f4"), **options)

        refused(with_weights(path, original, change), "chunked or compressed")

    @pytest.mark.parametrize("shape", [(1 << 34,), (4, 4)])
    def test_shape_without_data(self, path, original, shape):
        """64 GiB, or just an array that was never written."""
        refused(
            with_weights(path, original, lambda w: w.create_dataset("bomb", shape, "f4")),
            "/bomb has the shape",
            "holds 0",
        )

    def test_arrays_over_one_another(self, path, original):
        """Many arrays that point to the same bytes would take many times the memory of the file."""
        stream = io.BytesIO()
        with h5py.File(stream, "w") as weights:
            shapes = {
                "layers/dense/vars/0": (6, 4),
                "layers/dense/vars/1": (4,),
                **{f"x{n}": (50_000,) for n in range(3)},
            }
            made = [weights.create_dataset(name, shape, "f4") for name, shape in shapes.items()]
            # Created first and written last, the arrays lie behind everything else in the file.
            for number, dataset in enumerate(made):
                dataset[:] = number
        with h5py.File(stream, "r") as weights:
            first, *others = [weights[f"x{n}"].id.get_offset() for n in range(3)]
        data = stream.getvalue()
        # Point all to the first, cut off what is no longer used, and tell the superblock (bytes 40 to 47) the new end.
        assert first < min(others) and len(data) == max(others) + 200_000
        for other in others:
            assert data.count(struct.pack("<Q", other)) == 1
            data = data.replace(struct.pack("<Q", other), struct.pack("<Q", first))
        data = data[: min(others)]
        data = data[:40] + struct.pack("<Q", len(data)) + data[48:]
        refused(write(path, original | {WEIGHTS: data}), "with the others more than the whole file")

    @pytest.mark.parametrize("data", ["text", np.array(["a", "b"], "O"), h5py.Empty("f4")])
    def test_types_that_are_no_numbers(self, path, original, data):
        dtype = h5py.string_dtype() if isinstance(data, np.ndarray) else None
        refused(with_weights(path, original, lambda w: w.create_dataset("x", data=data, dtype=dtype)), "/x")

    def test_reference_compound_and_named_types(self, path, original):
        refused(with_weights(path, original, lambda w: w.update({"x": np.zeros(2, "f4,i4")})), "/x has the type")
        refused(with_weights(path, original, lambda w: w.update({"x": np.dtype("f4")})), "/x is a Datatype")

        def refer(weights):
            weights.create_dataset("x", data=weights["layers"].ref, dtype=h5py.ref_dtype)

        refused(with_weights(path, original, refer), "/x has the type")

    def test_too_many_groups(self, path, original):
        def change(weights):
            for number in range(20_001):
                weights.create_group(f"g{number}")

        refused(with_weights(path, original, change), "too many")

    def test_damaged(self, path, original):
        data = original[WEIGHTS]
        for broken in (b"", b"not hdf5", data[:500], data[:8] + bytes(len(data) - 8)):
            with pytest.raises(ModelError, match=f"{WEIGHTS}: damaged"):
                inspect(write(path, original | {WEIGHTS: broken}))


def places(value, trail=()):
    """Every place in a JSON tree, as the keys that lead there."""
    yield trail
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*trail, key))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["class_name", "config", "x"]), inner),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mangled_configuration_gives_our_error_or_none(path, original, data):
    config = json.loads(original[CONFIG])
    *trail, last = data.draw(st.sampled_from([p for p in places(config) if p]))
    target = config
    for key in trail:
        target = target[key]
    target[last] = data.draw(anything)
    write(path, original | {CONFIG: json.dumps(config)})
    try:
        assert inspect(path).parameters == 28
    except ModelError as error:
        assert str(error).startswith(str(path))


def test_names_that_are_no_text(path, original):
    """Two names must not look like one, or the second would go unseen."""
    refused_or_damaged = with_weights(path, original, lambda w: w.create_group(b"\xff"))
    with pytest.raises(ModelError, match="damaged"):
        inspect(refused_or_damaged)


def test_a_missing_file(path):
    with pytest.raises(ModelError, match=r"model\.keras: cannot be read \(No such file"):
        inspect(path)


def test_it_needs_no_keras_and_is_quick(path, original):
    write(path, original)
    code = (
        "import sys, time; from astrokeras.models.inspect import inspect; p = sys.argv[1]; inspect(p);"
        "s = time.process_time(); inspect(p); s = time.process_time() - s;"
        "assert not {'keras', 'tensorflow', 'astropy', 'pandas'} & set(sys.modules); print(s)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.025
