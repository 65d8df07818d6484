"""Grammar of expressions: a text becomes a tree that holds allowed nodes only."""

from __future__ import annotations

import ast
import itertools
import keyword
import re
import warnings
from typing import NoReturn

from ..errors import ExpressionError, did_you_mean

MAX_LENGTH = 4000
MAX_DEPTH = 60
#: What an expression may hold; the end of every message about something else.
ALLOWED = (
    "allowed: column names (in backquotes if they are no identifiers), numbers, 'text', True, False, "
    "== != < <= > >=, in (...), not in (...), and or not, & | ~, + - * / ** %, and the functions "
)
#: Functions and the number of their arguments.
FUNCTIONS = {
    "abs": 1,
    "sqrt": 1,
    "log10": 1,
    "log": 1,
    "exp": 1,
    "min": 2,
    "max": 2,
    "isfinite": 1,
    "isnan": 1,
}
ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod, ast.Pow)
BITS = (ast.BitAnd, ast.BitOr)
COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)
# Words of Python that stay operators; any other (`class`, `from`) is a column like any name.
_OPERATORS = {"and", "or", "not", "in", "True", "False", "None", "is", "if", "else", "lambda"}
_TOKENS = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|[^\W\d]\w*")


class Syntax:
    """The checked tree of a text.

    Parameters
    ----------
    text : str
        The expression.

    Attributes
    ----------
    tree : ast.AST
        Allowed nodes only.
    names : frozenset of str
        Columns used.

    Raises
    ------
    ExpressionError
        Names the column of the text, and what is allowed.
    """

    def __init__(self, text: str):
        self.text = text
        self._words: dict[str, str] = {}
        self.tree = self._parsed()
        found: set[str] = set()
        self._check(self.tree, 0, found)
        self.names = frozenset(found)

    def _parsed(self) -> ast.AST:
        if len(self.text) > MAX_LENGTH:
            raise ExpressionError(f"an expression of {len(self.text)} characters is too long; at most {MAX_LENGTH}")
        flat = self._stand_ins(re.sub(r"\s", " ", self.text))
        self._shift = len(flat) - len(flat.lstrip())
        self._flat = flat.strip()
        if not self._flat:
            raise ExpressionError("an empty expression; write a condition, such as 'r < 20'")
        try:
            with warnings.catch_warnings():
                # Warnings of the parser (an unknown escape, `1or 2`) become syntax errors.
                warnings.simplefilter("error")
                return ast.parse(self._flat, mode="eval").body
        except SyntaxError as error:
            self._fail((error.offset or 1) + self._shift, f"cannot be understood ({error.msg}){self._hint()}")
        except (MemoryError, RecursionError, ValueError) as error:
            raise ExpressionError(f"{self.text[:60]!r} cannot be understood: {error or 'nested too deeply'}") from None

    def _stand_ins(self, text: str) -> str:
        """Replace `` `odd names` `` and Python's words that are column names by identifiers of the same length."""
        known: dict[str, str] = {}

        def replace(match: re.Match) -> str:
            word = match[0]
            quoted = word.startswith("`")
            if not quoted and (word in _OPERATORS or not keyword.iskeyword(word)):
                return word
            if word not in known:
                names = (f"_{i}".ljust(len(word), "_") for i in itertools.count())
                name = next(n for n in names if n not in text and n not in self._words)
                if len(name) != len(word):
                    self._fail(match.start() + 1, f"too many short names in backquotes: {word}")
                known[word] = name
                self._words[name] = word.strip("`") if quoted else word
            return known[word]

        return _TOKENS.sub(replace, text)

    def _hint(self) -> str:
        if re.search(r"[^=<>!]=[^=]", self.text):
            return "; equality is written =="
        if re.search(r"&&|\|\||\b(AND|OR|NOT|IN)\b|<>", self.text):
            return "; write and, or, not, in and !="
        return ""

    def _fail(self, column: int, message: str) -> NoReturn:
        raise ExpressionError(f"{self.text!r}, column {column}: {message}")

    def refuse(self, node: ast.AST, message: str) -> NoReturn:
        before = self._flat.encode()[: getattr(node, "col_offset", 0)].decode(errors="replace")
        self._fail(len(before) + 1 + self._shift, message)

    def source(self, node: ast.AST) -> str:
        """The text of a node as it was written, quoted."""
        line = self._flat.encode()
        begin, end = (len(line[:i].decode()) + self._shift for i in (node.col_offset, node.end_col_offset))
        return repr(self.text[begin:end][:60])

    def _check(self, node: ast.AST, depth: int, found: set[str]) -> None:
        """Refuse every node that is not on the list, and collect the columns."""
        if depth > MAX_DEPTH:
            self.refuse(node, f"nested more than {MAX_DEPTH} deep")
        if isinstance(node, (ast.Name, ast.Subscript)):
            found.add(self.column(node))
        for part in self._parts(node):
            self._check(part, depth + 1, found)

    def _parts(self, node: ast.AST) -> list[ast.AST]:
        """Parts of an allowed node."""
        match node:
            case ast.Name() | ast.Subscript():
                return []
            case ast.Constant():
                return self._constant(node)
            case ast.BoolOp():
                return node.values
            case ast.UnaryOp():
                return [node.operand]
            case ast.BinOp() if isinstance(node.op, ARITHMETIC + BITS):
                return [node.left, node.right]
            case ast.Compare():
                return self._comparison_parts(node)
            case ast.Call():
                return self._call_parts(node)
        self.refuse(node, f"{type(node).__name__} is not allowed; {ALLOWED}{', '.join(FUNCTIONS)}")

    def column(self, node: ast.AST) -> str:
        if isinstance(node, ast.Name):
            return self._words.get(node.id, node.id)
        index = node.slice
        if not isinstance(node.value, ast.Name) or not isinstance(index, ast.Constant) or type(index.value) is not int:
            self.refuse(node, "an element of a vector column is written NAME[2]")
        return f"{self.column(node.value)}[{index.value}]"

    def _constant(self, node: ast.Constant) -> list[ast.AST]:
        value = node.value
        if isinstance(value, int) and abs(value) >= 2**63:
            self.refuse(node, "an integer must fit 64 bits")
        if not isinstance(value, (bool, int, float, str)):
            self.refuse(node, f"{value!r} is not allowed; {ALLOWED}{', '.join(FUNCTIONS)}")
        return []

    def _comparison_parts(self, node: ast.Compare) -> list[ast.AST]:
        middle = node.comparators[:-1]
        if any(isinstance(m, ast.BinOp) and type(m.op) in BITS for m in middle):
            self.refuse(node, "put parentheses around each comparison that & or | joins, or write and, or")
        parts = [node.left]
        for op, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, (ast.In, ast.NotIn)):
                if not isinstance(right, (ast.Tuple, ast.List, ast.Set)):
                    self.refuse(right, "what follows `in` is a list in parentheses, such as (3, 6)")
                parts += right.elts
            elif type(op) in COMPARISONS:
                parts.append(right)
            else:
                self.refuse(node, f"`is` is not allowed; {ALLOWED}{', '.join(FUNCTIONS)}")
        return parts

    def _call_parts(self, node: ast.Call) -> list[ast.AST]:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in FUNCTIONS:
            self.refuse(node, f"no function {self.source(node.func)}{did_you_mean(name, FUNCTIONS)}")
        count = FUNCTIONS[name]
        if len(node.args) != count or node.keywords:
            self.refuse(node, f"{name} takes {count} value{'s' if count > 1 else ''} and nothing else")
        return node.args
