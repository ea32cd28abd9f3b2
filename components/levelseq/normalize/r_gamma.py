"""Logarithm of the gamma function and its slope, rounded as R rounds them, for use in kernels.

For searches that stop where rounding says so: DESeq2's ends elsewhere when a last bit differs. The
series are Fullerton's (SLATEC's DGAMMA and D9LGMC) and Amos's (1983, algorithm 610), in R's order.
"""

from __future__ import annotations

import math

from levelseq.normalize.compiled import kernel

__all__ = ["r_digamma", "r_lgamma"]

_HALF_LOG_TWO_PI = 0.918938533204672741780329736406
_NO_CORRECTION_FROM = 4934720.0
_GAMMA = (
    0.8571195590989331421920062399942e-2,
    0.4415381324841006757191315771652e-2,
    0.5685043681599363378632664588789e-1,
    -0.4219835396418560501012500186624e-2,
    0.1326808181212460220584006796352e-2,
    -0.1893024529798880432523947023886e-3,
    0.3606925327441245256578082217231e-4,
    -0.6056761904460864218485548290365e-5,
    0.1055829546302283344731823509093e-5,
    -0.1811967365542384048291855891166e-6,
    0.3117724964715322277790254593169e-7,
    -0.5354219639019687140874081024347e-8,
    0.9193275519859588946887786825940e-9,
    -0.1577941280288339761767423273953e-9,
    0.2707980622934954543266540433089e-10,
    -0.4646818653825730144081661058933e-11,
    0.7973350192007419656460767175359e-12,
    -0.1368078209830916025799499172309e-12,
    0.2347319486563800657233471771688e-13,
    -0.4027432614949066932766570534699e-14,
    0.6910051747372100912138336975257e-15,
    -0.1185584500221992907052387126192e-15,
)
_CORRECTION = (
    0.1666389480451863247205729650822e0,
    -0.1384948176067563840732986059135e-4,
    0.9810825646924729426157171547487e-8,
    -0.1809129475572494194263306266719e-10,
    0.6221098041892605227126015543416e-13,
)


@kernel
def r_lgamma(x: float) -> float:
    """Logarithm of the gamma function of a positive number: R's `lgamma`."""
    if x <= 10.0:
        n = int(x)
        y = x - n
        value = _chebyshev(y * 2.0 - 1.0, _GAMMA) + 0.9375
        if n == 0:
            value /= x
        for i in range(1, n):
            value *= y + i
        return math.log(abs(value))
    value = _HALF_LOG_TWO_PI + (x - 0.5) * math.log(x) - x
    if x > _NO_CORRECTION_FROM:
        return value
    tenth = 10.0 / x
    return value + _chebyshev(tenth * tenth * 2.0 - 1.0, _CORRECTION) / x


@kernel
def _chebyshev(x: float, coefficients: tuple[float, ...]) -> float:
    twice = x * 2.0
    before, last, now = 0.0, 0.0, 0.0
    for i in range(len(coefficients)):
        before = last
        last = now
        now = twice * last - before + coefficients[len(coefficients) - 1 - i]
    return (now - before) * 0.5


@kernel
def r_digamma(x: float) -> float:
    """Slope of the logarithm of the gamma function of a positive number: R's `digamma`."""
    steps = 9 - int(x) if x < 9.0 else 0
    high = x + steps
    squared = 1.0 / (high * high)
    series = 0.5 * squared * (1.0 / 6.0)
    term = 0.5 * squared
    smallest = 1.1102230246251565e-16 * (0.5 / high)
    if abs(series) >= smallest:
        k = 2.0
        for bernoulli in _BERNOULLI:
            term = term * ((k + 1.0) / (k + 1.0)) * (k / (k + 2.0)) * squared
            add = term * bernoulli
            if abs(add) < smallest:
                break
            series += add
            k += 2.0
    series += 0.5 / high
    for i in range(1, steps + 1):
        series += 1.0 / (x + (steps - i))
    return math.log(high) - series


_BERNOULLI = (
    -1.0 / 30.0,
    1.0 / 42.0,
    -1.0 / 30.0,
    5.0 / 66.0,
    -691.0 / 2730.0,
    7.0 / 6.0,
    -3617.0 / 510.0,
    43867.0 / 798.0,
    -174611.0 / 330.0,
    854513.0 / 138.0,
)
