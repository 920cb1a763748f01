"""C99 files: a net's parameters and one function."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from os import PathLike
from string import ascii_letters, digits
from textwrap import indent
from typing import Any

import numpy as np

from .. import _core
from ..checks import Array
from .files import replace_file
from .model import Dense, Function, Head, Model, Rescaling, Step

_PER_LINE = 6
_PLAIN = frozenset((ascii_letters + digits + " _-+.,:;/()=").encode())
_KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline
    int long register restrict return short signed sizeof static struct switch typedef union
    unsigned void volatile while
"""
# The functions of <math.h> on doubles; the float versions add an f.
_MATH = """
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs
    fdim floor fma fmax fmin fmod hypot ldexp lgamma log log10 log1p log2 logb nearbyint nextafter
    pow remainder rint round scalbn sin sinh sqrt tan tanh tgamma trunc
"""
# Other names that <math.h> and <stdio.h> declare, including POSIX extensions.
_DECLARED = """
    clearerr drem fclose feof ferror fflush fgetc fgetpos fgets finite fopen fprintf fputc fputs
    fread freopen frexp fscanf fseek fsetpos ftell fwrite gamma getc getchar gets ilogb j0 j1 jn
    llrint llround lrint lround main modf nan nexttoward perror printf putc putchar puts remove
    remquo rename rewind scalb scalbln scanf setbuf setvbuf signgam significand sprintf sscanf
    tmpfile tmpnam ungetc vfprintf vfscanf vprintf vscanf vsnprintf vsprintf vsscanf snprintf y0 y1
    yn
"""
_LOCAL = "b best i j n n_in n_out p sum u v w x y"
_RESERVED = frozenset(
    [*_KEYWORDS.split(), *_DECLARED.split(), *_LOCAL.split()]
    + [name + suffix for name in _MATH.split() for suffix in ("", "f", "l")]
)

_DENSE = """
static void NAME_dense(int n_in, int n_out, const real *w, const real *b, const real *x,
                       real *restrict y)
{
    for (int j = 0; j < n_out; j++)
        y[j] = b ? b[j] : 0;
    for (int i = 0; i < n_in; i++)
        for (int j = 0; j < n_out; j++)
            y[j] += x[i] * w[i * n_out + j];
}
"""

_MAIN = """
/* Rows of numbers in, rows of results out. */
#ifdef NAME_MAIN
#include <stdio.h>

int main(void)
{
    real x[N_IN], y[N_OUT];
    for (int n = 0; scanf("SCAN", &x[n]) == 1;) {
        if (++n < N_IN)
            continue;
        n = 0;
        CALL
        for (int i = 0; i < N_OUT; i++)
            printf("PRINT%c", (double)y[i], i + 1 < N_OUT ? ' ' : '\\n');
    }
    return 0;
}
#endif
"""


def write_c(path: str | PathLike[str], model: Model, name: str = "predict") -> None:
    """Write a C99 file that needs nothing but the C library's mathematical functions.

    Its function is ``void name(const T *x, T *y)``, T being the net's type; with a head that picks
    one label, ``int name(const T *x, T *p)``, which returns the label's index in ``name_classes``.
    It allocates nothing and keeps no state between calls; x may be y.

    Parameters
    ----------
    path : str or path
    model : Model
    name : str, default "predict"
        A C identifier; every name with file scope begins with it.

    Raises
    ------
    ValueError
        If the name is no C identifier or one that C or its library uses, or if the net has an
        activation without a form in C.
    """
    if not isinstance(name, str):
        raise TypeError(f"name is {name!r}; expected a name of C")
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or name in _RESERVED:
        raise ValueError(f"name is {name!r}; expected letters, digits and _, and no word of C")
    model.check_forms("c", "a C file")
    text = "".join(_Source(model, name).parts())
    replace_file(path, text.encode("ascii"))


class _Source:
    """The text of a file, section by section."""

    def __init__(self, model: Model, name: str) -> None:
        self.model, self.name = model, name
        self.real = "float" if model.dtype == "float32" else "double"
        self.head = model.head
        binary = self.head is not None and self.head.kind == "binary"
        self.n_results = 2 if binary else model.n_out
        self.functions = {function.name: function for function in model.functions()}
        self.returns_label = self.head is not None and self.head.kind != "multilabel"
        self.prototype = (
            f"{'int' if self.returns_label else 'void'} {name}"
            f"(const {self.real} *x, {self.real} *{'p' if self.head else 'y'})"
        )

    def parts(self) -> Iterator[str]:
        yield self._comment()
        yield "#include <math.h>\n"
        if self.model.feature_names is not None:
            yield self._constants("features", *_texts(self.model.feature_names))
        for i, step in enumerate(self.model.steps):
            yield from self._numbers(i, step)
        if self.returns_label and self.head is not None:
            yield self._constants("classes", *_labels(self.head))
        if any(isinstance(step, Dense) for step in self.model.steps):
            yield self._fit(_DENSE)
        for _, function in sorted(self.functions.items()):
            yield self._function(function)
        yield from self._predict()
        yield self._main()

    def _fit(self, code: str) -> str:
        """Code with the file's prefix and element type."""
        code = code.replace("NAME", self.name)
        if self.real == "float":
            code = re.sub(rf"\b({'|'.join(_MATH.split())})\(", r"\1f(", code)
        return re.sub(r"\breal\b", self.real, code)

    def _comment(self) -> str:
        m, result = self.model, "p" if self.head else "y"
        what = "outputs" if self.head is None else "probabilities"
        lines = [
            f"A multilayer perceptron, written by cmlp {_core.info()['version']}.",
            "",
            f"    {self.prototype};",
            "",
            f"x: {m.n_in} inputs; {result}: {self.n_results} {what}. {result} may be x.",
        ]
        if self.returns_label:
            lines.append(f"Returns the index of the label in {self.name}_classes.")
        if m.feature_names is not None:
            lines.append(f"The names of the inputs are in {self.name}_features.")
        room = sum(self._room()) * np.dtype(m.dtype).itemsize
        lines += [
            f"It allocates nothing, keeps no state, and uses {room} bytes of stack.",
            "",
            "Compile it with -std=c99 and link with -lm; declare the function where it is called.",
            f"With -D{self.name}_MAIN it is a program that reads inputs and prints the results.",
        ]
        return "".join(["/*\n", *(f" * {line}".rstrip() + "\n" for line in lines), " */\n"])

    # ---- numbers ----

    def _numbers(self, i: int, step: Step) -> Iterator[str]:
        if isinstance(step, Dense):
            # (n_in, n_out), so that the inner loop reads consecutive weights
            yield self._array(f"w{i}", step.weight.T, self.real)
            if step.bias is not None:
                yield self._array(f"b{i}", step.bias, self.real)
        elif isinstance(step, Rescaling):
            yield self._array(f"mean{i}", step.mean, "double")
            yield self._array(f"scale{i}", step.scale, "double")
        elif isinstance(step.param, np.ndarray):
            yield self._array(f"p{i}", step.param, self.real)

    def _array(self, name: str, a: Array, kind: str) -> str:
        numbers = [_number(v, kind) for v in a.ravel().tolist()]
        starts = range(0, len(numbers), _PER_LINE)
        rows = "".join(f"    {', '.join(numbers[k : k + _PER_LINE])},\n" for k in starts)
        return f"\nstatic const {kind} {self.name}_{name}[{a.size}] = {{\n{rows}}};\n"

    def _constants(self, name: str, kind: str, texts: Sequence[str]) -> str:
        rows = "".join(f"    {text},\n" for text in texts)
        return f"\nconst {kind}{self.name}_{name}[{len(texts)}] = {{\n{rows}}};\n"

    # ---- functions ----

    def _function(self, function: Function) -> str:
        assert function.forms.c is not None  # `write_c` has checked all of them
        body = indent(cleandoc(function.forms.c), "    ")
        arguments = "real x, real p" if function.param is not None else "real x"
        head = f"static real NAME_{function.name}({arguments})"
        if not _is_elementwise(function):
            head = f"static void NAME_{function.name}(int n, real *y)"
        return self._fit(f"\n{head}\n{{\n{body}\n}}\n")

    def _room(self) -> list[int]:
        """Widths of the two buffers that layers take turns to write."""
        widths = [step.weight.shape[0] for step in self.model.steps if isinstance(step, Dense)]
        first = self.model.steps[:1]
        if not (first and isinstance(first[0], Dense)):
            widths.insert(0, self.model.n_in)
        return [max(widths[i::2]) for i in range(min(2, len(widths)))]

    def _predict(self) -> Iterator[str]:
        yield f"\n{self.prototype}\n{{\n"
        buffers = ", ".join(f"{n}[{w}]" for n, w in zip("uv", self._room(), strict=False))
        yield f"    {self.real} {buffers};\n"
        current, width = "x", self.model.n_in
        for i, step in enumerate(self.model.steps):
            if isinstance(step, Dense):
                n_out = step.weight.shape[0]
                target = "v" if current == "u" else "u"
                b = "0" if step.bias is None else f"{self.name}_b{i}"
                yield (
                    f"    {self.name}_dense({width}, {n_out}, {self.name}_w{i}, {b}, "
                    f"{current}, {target});\n"
                )
                current, width = target, n_out
                continue
            if current == "x":
                yield self._loop(width, "u[i] = x[i]")
                current = "u"
            yield self._elementwise(i, step, current, width)
        if current == "x":
            yield self._loop(width, "u[i] = x[i]")
            current = "u"
        yield self._ending(current, width)

    def _loop(self, width: int, statement: str) -> str:
        return f"    for (int i = 0; i < {width}; i++)\n        {statement};\n"

    def _elementwise(self, i: int, step: Function | Rescaling, y: str, width: int) -> str:
        if isinstance(step, Rescaling):
            mean, scale = f"{self.name}_mean{i}[i]", f"{self.name}_scale{i}[i]"
            value = f"{y}[i] * {scale} + {mean}" if step.inverse else f"({y}[i] - {mean}) / {scale}"
            return self._loop(width, f"{y}[i] = ({self.real})({value})")
        if not _is_elementwise(step):
            return f"    {self.name}_{step.name}({width}, {y});\n"
        p = ""
        if isinstance(step.param, np.ndarray):
            p = f", {self.name}_p{i}[i]"
        elif step.param is not None:
            p = f", {self._constant(step.param)}"
        return self._loop(width, f"{y}[i] = {self.name}_{step.name}({y}[i]{p})")

    def _constant(self, value: Any) -> str:
        return _number(float(np.dtype(self.model.dtype).type(value)), self.real)

    def _ending(self, y: str, width: int) -> str:
        """From the outputs to the results."""
        head = self.head
        if head is None:
            return self._loop(width, f"y[i] = {y}[i]") + "}\n"
        text = ""
        if head.kind == "multiclass":
            text += "    int best = 0;\n"
            text += self._loop(width, f"best = {y}[i] > {y}[best] ? i : best")
        if head.link is not None:
            text += self._elementwise(-1, Function(head.link), y, width)
        if head.kind == "binary":
            text += f"    p[0] = 1 - {y}[0];\n    p[1] = {y}[0];\n"
            return text + "    return p[1] > 0.5;\n}\n"
        text += self._loop(width, f"p[i] = {y}[i]")
        return text + ("    return best;\n}\n" if head.kind == "multiclass" else "}\n")

    def _main(self) -> str:
        """A program that calls the function."""
        call = f"{self.name}(x, y);"
        if self.returns_label and self.head is not None:
            shown = {str: "%s", float: "%.17g"}.get(self.head.label_type, "%lld")
            call = f'printf("{shown} ", {self.name}_classes[{self.name}(x, y)]);'
        single = self.real == "float"
        code = self._fit(_MAIN).replace("CALL", call)
        code = code.replace("SCAN", "%f" if single else "%lf")
        code = code.replace("PRINT", "%.9g" if single else "%.17g")
        return code.replace("N_IN", str(self.model.n_in)).replace("N_OUT", str(self.n_results))


def _is_elementwise(function: Function) -> bool:
    return bool(_core.activations().get(function.name, {"elementwise": True})["elementwise"])


def _number(value: float, kind: str) -> str:
    """An exact hexadecimal constant; ``value`` must be representable in the type."""
    mantissa, exponent = value.hex().split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{exponent}{'f' if kind == 'float' else ''}"


def _labels(head: Head) -> tuple[str, Sequence[str]]:
    """The declaration of the labels up to their name, and the labels, in C."""
    if head.label_type is str:
        return _texts(head.classes)
    if head.label_type is float:
        return "double ", [_number(float(label), "double") for label in head.classes]
    # the least one has no literal of its own: its digits alone are beyond the type
    least = {-(2**63): f"{1 - 2**63}LL - 1"}
    return "long long ", [least.get(int(label), f"{int(label)}LL") for label in head.classes]


def _texts(values: Sequence[str]) -> tuple[str, Sequence[str]]:
    return "char *const ", [_string(value) for value in values]


def _string(text: str) -> str:
    """A C string literal in UTF-8; other than plain ASCII becomes octal escapes."""
    characters = (chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in text.encode("utf-8"))
    return f'"{"".join(characters)}"'
