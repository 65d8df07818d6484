"""What a ``model.skops`` file may hold: types of the scikit-learn estimators that astrokeras trains, and no others."""

from __future__ import annotations

_TREE = "sklearn.ensemble._hist_gradient_boosting"
_PLAIN = {
    "DictNode": ("builtins.dict",),
    "ListNode": ("builtins.list",),
    "TupleNode": ("builtins.tuple",),
    "JsonNode": ("builtins.str",),
    # Types of the keys of dictionaries.
    "TypeNode": ("builtins.str", "builtins.int"),
    "NdArrayNode": tuple(
        f"numpy.{name}" for name in ("ndarray", "float32", "float64", "int32", "int64", "uint8", "uint64", "bool")
    ),
    "RandomStateNode": ("numpy.random.mtrand.RandomState",),
    "RandomGeneratorNode": ("numpy.random._generator.Generator",),
}
_SKLEARN = {
    "TreeNode": ("sklearn.tree._tree.Tree",),
    "LossNode": tuple(
        f"sklearn._loss._loss.Cy{name}"
        for name in ("AbsoluteError", "HalfBinomialLoss", "HalfMultinomialLoss", "HalfSquaredError")
    ),
    "ObjectNode": (
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.ensemble._forest.RandomForestRegressor",
        "sklearn.tree._classes.DecisionTreeClassifier",
        "sklearn.tree._classes.DecisionTreeRegressor",
        f"{_TREE}.binning._BinMapper",
        f"{_TREE}.gradient_boosting.HistGradientBoostingClassifier",
        f"{_TREE}.gradient_boosting.HistGradientBoostingRegressor",
        f"{_TREE}.predictor.TreePredictor",
        "sklearn._loss.link.HalfLogitLink",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.loss.AbsoluteError",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn.svm._classes.SVC",
        "sklearn.svm._classes.SVR",
        "sklearn.gaussian_process._gpc.GaussianProcessClassifier",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process._gpr.GaussianProcessRegressor",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.Matern",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.gaussian_process.kernels.RationalQuadratic",
        "sklearn.gaussian_process.kernels.Sum",
        "sklearn.gaussian_process.kernels.WhiteKernel",
        "sklearn.multiclass.OneVsRestClassifier",
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.preprocessing._label.LabelBinarizer",
        "sklearn.preprocessing._label.LabelEncoder",
        "sklearn.neighbors._classification.KNeighborsClassifier",
        "sklearn.neighbors._regression.KNeighborsRegressor",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.linear_model._ridge.Ridge",
    ),
}
#: Pairs of what makes an object and its type, as in ``schema.json``.
ALLOWED = frozenset((loader, name) for part in (_PLAIN, _SKLEARN) for loader, names in part.items() for name in names)
#: Types that skops does not trust by itself; what they hold is checked by `astrokeras.models.estimator_bounds`.
TRUSTED = tuple(sorted({name for names in _SKLEARN.values() for name in names}))
