"""Evaluation of expressions with numpy."""

from __future__ import annotations

import ast
import operator
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..errors import ExpressionError, did_you_mean
from .grammar import Syntax

_FUNCTIONS = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "log10": np.log10,
    "log": np.log,
    "exp": np.exp,
    "min": np.minimum,
    "max": np.maximum,
    "isfinite": np.isfinite,
    "isnan": np.isnan,
}
_TESTS = ("isfinite", "isnan")
_ARITHMETIC = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.Mod: np.mod,
    ast.Pow: np.float_power,
}
_BITS = {ast.BitAnd: np.bitwise_and, ast.BitOr: np.bitwise_or}
_COMPARE = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class _Value(NamedTuple):
    """Values of a part of an expression: an array, or a plain scalar, and where they are missing by a mask."""

    data: Any
    missing: Any = False

    @property
    def kind(self) -> str:
        if isinstance(self.data, str):
            return "U"
        return np.asarray(self.data).dtype.kind


class Expression:
    """A parsed condition.

    Missing values: a comparison with NaN or a masked value is False, ``!=`` and ``not in`` too, so ``not x > 1`` holds
    where x is missing; ``isnan(x)`` finds them.

    Parameters
    ----------
    text : str
        The expression.

    Attributes
    ----------
    text : str
        As it was given.
    names : frozenset of str
        Columns that it uses; an element of a vector column is named ``MODELFLUX[2]``.

    Examples
    --------
    >>> import numpy as np
    >>> bright = Expression.parse("14 < r < 19.5 and type in (3, 6)")
    >>> sorted(bright.names)
    ['r', 'type']
    >>> bright.select({"r": np.array([18.0, np.nan, 21.0]), "type": np.array([3, 3, 6])}, 3)
    array([ True, False, False])
    """

    def __init__(self, text: str):
        self.text = text
        self._syntax = Syntax(text)
        self._refuse = self._syntax.refuse
        self._source = self._syntax.source
        self.names = self._syntax.names

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    @staticmethod
    @lru_cache(maxsize=256)
    def parse(text: str) -> Expression:
        """Parse a text.

        Raises
        ------
        ExpressionError
            If it is no expression of the allowed kind; names the column of the text.
        """
        return Expression(text)

    def only(self, known: Iterable[str]) -> None:
        """Refuse names that are not among those of known columns.

        Raises
        ------
        ExpressionError
            If one is not; suggests a near name.
        """
        known = tuple(known)
        unknown = sorted(name for name in self.names if name.partition("[")[0] not in known)
        for name in unknown[:1]:
            raise ExpressionError(f"unknown column {name!r}{did_you_mean(name, known)}")

    def select(self, columns: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        """Rows for which the condition holds.

        Parameters
        ----------
        columns : mapping of str to array, shape (n,)
            Numbers, texts or booleans; masked arrays are understood. Vector columns have shape (n, k).
        n : int
            Number of rows.

        Returns
        -------
        array of bool, shape (n,)

        Raises
        ------
        ExpressionError
            If a column is unknown, types do not fit, or the result is no condition.
        """
        with np.errstate(all="ignore"):
            result = self._condition(self._syntax.tree, columns)
        chosen = np.asarray(result.data) & ~np.asarray(result.missing)
        return np.array(np.broadcast_to(chosen, (n,)))

    def _condition(self, node: ast.AST, columns: Mapping[str, np.ndarray]) -> _Value:
        value = self._value(node, columns)
        if value.kind != "b":
            what = "text" if value.kind == "U" else "a number"
            self._refuse(node, f"{self._source(node)} is {what}, not a condition; compare it with something")
        return value

    def _value(self, node: ast.AST, columns: Mapping[str, np.ndarray]) -> _Value:
        if isinstance(node, ast.Constant):
            return _Value(node.value)
        if isinstance(node, (ast.Name, ast.Subscript)):
            return self._column(node, columns)
        if isinstance(node, ast.BoolOp):
            return self._bool_op(node, columns)
        if isinstance(node, ast.Compare):
            return self._comparison(node, columns)
        if isinstance(node, ast.UnaryOp):
            return self._unary(node, columns)
        if isinstance(node, ast.Call):
            return self._call(node, columns)
        left, right = self._value(node.left, columns), self._value(node.right, columns)
        if type(node.op) in _BITS:
            fits = left.kind == right.kind == "b" or (left.kind in "iu" and right.kind in "iu")
            return self._apply(node, _BITS[type(node.op)], (left, right), fits, "two integers or two conditions")
        numbers = left.kind in "iuf" and right.kind in "iuf"
        return self._apply(node, _ARITHMETIC[type(node.op)], (left, right), numbers, "numbers")

    def _column(self, node: ast.AST, columns: Mapping[str, np.ndarray]) -> _Value:
        name = self._syntax.column(node)
        element = None
        if name not in columns and isinstance(node, ast.Subscript):
            name, element = self._syntax.column(node.value), node.slice.value
        if name not in columns:
            self._refuse(node, f"no column {name!r}{did_you_mean(name, columns)}")
        array = columns[name]
        if element is not None:
            if array.ndim != 2 or not element < array.shape[1]:
                self._refuse(node, f"column {name!r} has no element {element}; its cells have shape {array.shape[1:]}")
            array = array[:, element]
        if array.ndim != 1:
            self._refuse(node, f"column {name!r} has several values per object; name one, such as {name}[0]")
        missing = np.ma.getmaskarray(array) if np.ma.isMaskedArray(array) else False
        data = np.ma.getdata(array)
        if data.dtype.kind in "SOT":
            return _Value(data.astype(str), missing)
        # 64 bits, so that small integers neither overflow nor refuse a constant.
        return _Value(data.astype(np.int64) if data.dtype.kind in "iu" and data.dtype.itemsize < 8 else data, missing)

    def _apply(self, node: ast.AST, function: Any, values: tuple[_Value, ...], fits: bool, needs: str) -> _Value:
        if not fits:
            self._refuse(node, f"{self._source(node)} needs {needs}")
        missing = np.logical_or.reduce(np.broadcast_arrays(*(v.missing for v in values)))
        # Constants stay weak scalars, as in numpy; Python's own integers would grow without bound.
        constant = all(isinstance(v.data, (bool, int, float)) for v in values)
        try:
            data = function(*(v.data for v in values))
        except (OverflowError, TypeError) as error:
            self._refuse(node, f"{self._source(node)} cannot be computed: {error}")
        return _Value(data.item() if constant else data, missing)

    def _bool_op(self, node: ast.BoolOp, columns: Mapping[str, np.ndarray]) -> _Value:
        parts = [self._condition(v, columns) for v in node.values]
        known = [np.asarray(p.data) & ~np.asarray(p.missing) for p in parts]
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return _Value(join.reduce(np.broadcast_arrays(*known)))

    def _unary(self, node: ast.UnaryOp, columns: Mapping[str, np.ndarray]) -> _Value:
        if isinstance(node.op, ast.Not):
            value = self._condition(node.operand, columns)
            return _Value(np.logical_not(value.data), value.missing)
        value = self._value(node.operand, columns)
        if isinstance(node.op, ast.Invert):
            function = np.logical_not if value.kind == "b" else np.invert
            return self._apply(node, function, (value,), value.kind in "biu", "an integer or a condition")
        function = np.negative if isinstance(node.op, ast.USub) else np.positive
        return self._apply(node, function, (value,), value.kind in "iuf", "a number")

    def _call(self, node: ast.Call, columns: Mapping[str, np.ndarray]) -> _Value:
        function = _FUNCTIONS[node.func.id]
        values = tuple(self._value(a, columns) for a in node.args)
        value = self._apply(node, function, values, all(v.kind in "iuf" for v in values), "numbers")
        if node.func.id not in _TESTS:
            return value
        return _Value(np.where(value.missing, node.func.id == "isnan", value.data))

    def _comparison(self, node: ast.Compare, columns: Mapping[str, np.ndarray]) -> _Value:
        left = self._value(node.left, columns)
        result: Any = True
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, (ast.In, ast.NotIn)):
                options = [self._value(e, columns) for e in right_node.elts]
                hits = [self._compared(node, operator.eq, left, o) for o in options]
                inside = np.logical_or.reduce(np.broadcast_arrays(*hits)) if hits else np.False_
                step = inside if isinstance(op, ast.In) else ~(inside | _absent(left))
            else:
                right = self._value(right_node, columns)
                step = self._compared(node, _COMPARE[type(op)], left, right)
                left = right
            result = np.logical_and(result, step)
        return _Value(result)

    def _compared(self, node: ast.AST, compare: Any, left: _Value, right: _Value) -> Any:
        if (left.kind == "U") != (right.kind == "U"):
            self._refuse(node, f"{self._source(node)} compares text with a number")
        data = compare(np.asarray(left.data), right.data) if left.kind == "U" else compare(left.data, right.data)
        return np.asarray(data) & ~(_absent(left) | _absent(right))


def _absent(value: _Value) -> Any:
    """Where a value is masked or NaN."""
    nan = np.isnan(value.data) if value.kind == "f" else np.False_
    return np.asarray(value.missing) | nan
