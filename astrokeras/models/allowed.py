"""What the architecture of a model may hold: allow-lists, and the weights that each class of layer implies."""

from __future__ import annotations

import math
import re
from typing import Any

from ..errors import UnsafeModelError

#: No number in an architecture (units, filters, shape, ...) is larger.
MAX_INT = 16_384
#: No tensor has more elements per object.
MAX_ELEMENTS = 1 << 24

MODELS = ("Functional", "Sequential")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LAYERS = _words("""
    InputLayer Dense Activation ReLU LeakyReLU ELU Softmax Identity
    BatchNormalization LayerNormalization UnitNormalization Rescaling
    Dropout AlphaDropout GaussianDropout GaussianNoise SpatialDropout2D
    Add Average Concatenate Maximum Minimum Multiply Subtract Flatten Reshape
    Conv2D Conv2DTranspose DepthwiseConv2D SeparableConv2D UpSampling2D ZeroPadding2D Cropping2D
    AveragePooling2D MaxPooling2D GlobalAveragePooling2D GlobalMaxPooling2D""")
INITIALIZERS = _words("""
    Constant GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Ones Orthogonal
    OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros""")
_REGULARIZERS = _words("L1 L2 L1L2")
_CONSTRAINTS = _words("MaxNorm MinMaxNorm NonNeg UnitNorm")
_OPS = _words("Absolute Add Divide Multiply Negative OnesLike Subtract ZerosLike")
_DTYPES = _words("float16 bfloat16 float32 float64 mixed_float16 mixed_bfloat16")
ACTIVATIONS = _words("""
    celu elu exponential gelu hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear log_sigmoid log_softmax
    mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign swish tanh tanh_shrink""")

# Module of a serialized object to the classes allowed from it.
_CLASSES = {
    "keras": frozenset({"DTypePolicy", "Sequential"}),
    "keras.layers": _LAYERS,
    "keras.initializers": INITIALIZERS,
    "keras.regularizers": _REGULARIZERS,
    "keras.constraints": _CONSTRAINTS,
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.src.ops.numpy": _OPS,
}
_OURS = re.compile(r"astrokeras\.layers(\.[a-z_]+)*")
# Numbers under these keys are no sizes.
_IDENTITIES = frozenset({"seed", "shared_object_id"})
# Keys that would change what a layer is or how many weights it has.
_FORBIDDEN = _words("lora_rank lora_alpha quantization_mode quantization_config gptq_unpacked_column_size")


def problem(key: str, value: Any) -> str | None:
    """Say what is wrong with a value of an architecture, found under ``key``; None if nothing is."""
    if isinstance(value, dict):
        return _object_problem(key, value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float) and key not in _IDENTITIES and abs(value) > MAX_INT:
        return f"{key} {value} is too large; at most {MAX_INT} is allowed"
    if isinstance(value, list):
        return _list_problem(key, value)
    if key.endswith("activation") and isinstance(value, str) and value not in ACTIVATIONS:
        return f"{key} {value!r} is not allowed; activations are {', '.join(sorted(ACTIVATIONS))}"
    if key in _FORBIDDEN and value is not None:
        return f"{key} is not allowed"
    return None


def _list_problem(key: str, value: list[Any]) -> str | None:
    if key.endswith("shape") and math.prod(n for n in value if isinstance(n, int)) > MAX_ELEMENTS:
        return f"{key} {value} is too large; at most {MAX_ELEMENTS} elements are allowed"
    if key == "batch_shape" and not (value and value[0] is None and all(isinstance(n, int) for n in value[1:])):
        return f"{key} {value} is not allowed; all but the first size are fixed"
    if key == "inbound_nodes" and len(value) > 1:
        # What the second call makes would escape `astrokeras.models.bundle.largest_tensor`.
        return "a layer is called more than once, which is not allowed"
    return None


def _object_problem(key: str, value: dict[str, Any]) -> str | None:
    if key in _FORBIDDEN:
        return f"{key} is not allowed"
    if "class_name" not in value:
        return None
    name, module, registered = value["class_name"], value.get("module"), value.get("registered_name")
    if name == "__keras_tensor__":
        return None
    if not (isinstance(name, str) and isinstance(module, str) and isinstance(value.get("config"), dict)):
        return f"{module}.{name} ({str(value.get('config'))[:80]!r}) under {key!r} is not allowed"
    if name == "DTypePolicy" and str(value["config"].get("name")) not in _DTYPES:
        return f"dtype {value['config'].get('name')!r} is not allowed; {', '.join(sorted(_DTYPES))} are"
    ours = _OURS.fullmatch(module) and registered == f"astrokeras>{name}"
    builtin = name in _CLASSES.get(module, ()) and registered in (None, name)
    return None if ours or builtin else f"{module}.{name} (registered {registered!r}) is not allowed"


def weight_shapes(found: dict[str, Any], where: str) -> list[tuple[int, ...]]:
    """Shapes of the weights that grow as a product of sizes, as a serialized layer implies them.

    The layer is built from its ``build_config``, which Keras does before it calls the layer; a call on another shape
    fails and makes no weight. Weights of one axis are bounded by `MAX_INT`.

    Raises
    ------
    UnsafeModelError
        If a layer with weights does not state the shape it was built for, or states no integers.
    """
    name, config = found["class_name"], found["config"]
    ours = _OURS.fullmatch(str(found.get("module")))
    rule = _OUR_RULES.get(name) if ours else _RULES.get(name)
    if rule is None or not (ours or found.get("module") == "keras.layers"):
        return []
    try:
        shape = found["build_config"]["input_shape"]
        return [tuple(_size(n) for n in weight) for weight in rule(config, shape)]
    except (KeyError, TypeError, IndexError, ValueError):
        raise UnsafeModelError(
            f"{where}: {name} {config.get('name')!r} states sizes that are no integers, "
            "or not the shape it was built for"
        ) from None


def _size(n: Any) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ValueError(n)
    return n


def _pair(size: Any) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)


def _dense(config: dict[str, Any], shape: list[int]) -> list[tuple[Any, ...]]:
    return [(shape[-1], config["units"])]


def _convolution(config: dict[str, Any], shape: list[int]) -> list[tuple[Any, ...]]:
    return [(*_pair(config["kernel_size"]), shape[_channels(config)] // _size(config["groups"]), config["filters"])]


def _transposed(config: dict[str, Any], shape: list[int]) -> list[tuple[Any, ...]]:
    return [(*_pair(config["kernel_size"]), config["filters"], shape[_channels(config)])]


def _depthwise(config: dict[str, Any], shape: list[int]) -> list[tuple[Any, ...]]:
    return [(*_pair(config["kernel_size"]), shape[_channels(config)], config["depth_multiplier"])]


def _separable(config: dict[str, Any], shape: list[int]) -> list[tuple[Any, ...]]:
    depth = _size(shape[_channels(config)]) * _size(config["depth_multiplier"])
    return [*_depthwise(config, shape), (1, 1, depth, config["filters"])]


def _normalized(config: dict[str, Any], shape: list[int]) -> list[tuple[Any, ...]]:
    axes = config["axis"] if isinstance(config["axis"], list) else [config["axis"]]
    weight = tuple(shape[axis] for axis in axes)
    return [weight] * (bool(config["center"]) + bool(config["scale"]))


def _domain_score(config: dict[str, Any], shape: list[list[int]]) -> list[tuple[Any, ...]]:
    references, features, bands = config["n_references"], shape[0][-1], shape[1][-1]
    return [(references, features), (references, bands), (bands, features)]


def _forest(config: dict[str, Any], shape: list[int]) -> list[tuple[Any, ...]]:
    rows = _size(config["n_trees"]) * _size(config["n_nodes"])
    return [(rows, 3), (rows, config["n_classes"])]


def _channels(config: dict[str, Any]) -> int:
    return 1 if config["data_format"] == "channels_first" else -1


_RULES = {
    "Dense": _dense,
    "Conv2D": _convolution,
    "Conv2DTranspose": _transposed,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _separable,
    "BatchNormalization": _normalized,
    "LayerNormalization": _normalized,
}
_OUR_RULES = {"DomainScore": _domain_score, "Forest": _forest}


def canonical(value: Any) -> Any:
    """Architecture without what differs between equal models: addresses in memory, and names that Keras counted up."""
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {key: canonical(item) for key, item in value.items() if key != "shared_object_id"}
    if value.get("class_name") in MODELS and isinstance(value["config"].get("layers"), list):
        names = {_name(layer): f"{i}" for i, layer in enumerate(value["config"]["layers"])}
        value["config"] = _renamed(value["config"], names)
    return value


def _name(layer: dict[str, Any]) -> Any:
    return layer.get("name", layer["config"].get("name"))


def _renamed(config: dict[str, Any], names: dict[Any, str]) -> dict[str, Any]:
    """Configuration of a model with its layers called by their number, in all the places that name them."""

    def reference(item: Any) -> Any:
        if isinstance(item, dict) and item.get("class_name") == "__keras_tensor__":
            name, *rest = item["config"]["keras_history"]
            return item | {"config": item["config"] | {"keras_history": [names.get(name, name), *rest]}}
        if isinstance(item, dict):
            return {key: reference(child) for key, child in item.items()}
        return [reference(child) for child in item] if isinstance(item, list) else item

    def ends(item: Any) -> Any:
        if isinstance(item, list) and len(item) == 3 and isinstance(item[0], str):
            return [names.get(item[0], item[0]), *item[1:]]
        if isinstance(item, dict):
            return {key: ends(child) for key, child in item.items()}
        return [ends(child) for child in item] if isinstance(item, list) else item

    layers = []
    for layer in config["layers"]:
        new = names[_name(layer)]
        layer = layer | {"config": layer["config"] | {"name": new}}
        if "name" in layer:
            layer["name"] = new
        if "inbound_nodes" in layer:
            layer["inbound_nodes"] = reference(layer["inbound_nodes"])
        layers.append(layer)
    changed = {key: ends(config[key]) for key in ("input_layers", "output_layers") if key in config}
    return config | changed | {"layers": layers, "name": ""}
