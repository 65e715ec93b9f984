"""Prints the polynomials of native/kernels, fitted for least maximal error (needs NumPy and SciPy).

    python scripts/fit_polynomials.py
"""

import numpy as np
from scipy.optimize import linprog
from scipy.special import erf, erfc, ndtr


def chebyshev_points(low, high, count):
    return (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(count) + 0.5) / count)


def fit(columns, target, weight, rounds):
    """Coefficients of `columns` nearest to `target`; reweighting turns least squares into least maximal error."""
    growing, best = np.ones_like(target), (np.inf, None)
    for _ in range(rounds):
        scale = weight * np.sqrt(growing)
        norms = np.linalg.norm(columns * scale[:, None], axis=0)
        solution = np.linalg.lstsq(columns * scale[:, None] / norms, target * scale, rcond=None)[0] / norms
        error = np.abs((columns @ solution - target) * weight)
        if error.max() < best[0]:
            best = (error.max(), solution)
        growing *= (error / error.max() + 1e-3) ** 0.4
        growing /= growing.mean()
    return best


def show(name, error, coefficients):
    print(f"{name}: error {error:.2g}")
    print("  " + ", ".join(f"{np.float32(value):.9g}" for value in coefficients))


# exp(r) = 1 + r + r^2 q(r), relative error.
r = chebyshev_points(-0.35, 0.35, 4000)
powers = np.stack([r ** (2 + i) for i in range(5)], 1)
show("exp, q", *fit(powers, np.exp(r) - 1 - r, 1 / np.exp(r), 200))

# erfc(z) = exp(-z g(z)), error of erfc, relative where erfc is small.
z = chebyshev_points(0, 4.3, 6000)
powers = np.stack([z**i for i in range(10)], 1)
show("erfc, g", *fit(powers, -np.log(erfc(z)) / z, np.maximum(erfc(z), 2e-3) * z, 500))

# 1 - Phi(z) on [(n - 1/2) / 5.5, (n + 1/2) / 5.5] in t = 5.5 z - n, relative error.
t = chebyshev_points(-0.5, 0.5, 400)
powers = np.stack([t**i for i in range(5)], 1)
for piece in range(31):
    tail = ndtr(-(piece + t) / 5.5)
    show(f"normal tail, piece {piece}", *fit(powers, tail, 1 / tail, 60))

# 2^f for f in [-1/2, 1/2], relative error (native/kernels/byte_attention.h; the last within 3e-8).
f = chebyshev_points(-0.5, 0.5, 4000)
show("2^f", *fit(np.stack([f**i for i in range(4)], 1), 2**f, 2.0**-f, 200))


def fit_gelu(terms, end):
    """Coefficients of s^1 to s^terms, s = x^2, for x erf(x / sqrt 2) in GELU = (x + min(polynomial, |x|)) / 2.

    From `end` on the polynomial is to exceed |x|; from where |x| itself is as good as it has to be it must not be too low,
    but may be too high. No GELU may be below -0.17 + 3e-6. The least error by bisection: each is a linear program.
    """
    x = np.concatenate([np.linspace(0, end, 2000), chebyshev_points(0, end, 2000)])
    beyond = np.concatenate([np.linspace(end, end + 1, 200), np.linspace(end + 1, 40, 400)])
    exact = x * erf(x / np.sqrt(2))
    powers = np.stack([(x / end) ** (2 * i + 2) for i in range(terms)], 1)
    far = np.stack([(beyond / end) ** (2 * i + 2) for i in range(terms)], 1)
    scale = far.max(1)
    low, high, best = 1e-6, 1e-2, None
    while high > low * 1.001:
        error = np.sqrt(low * high)
        upper = x <= x[x * ndtr(-x) >= error].max()
        rows = [
            (powers[upper], exact[upper] + 2 * error),
            (-powers, 2 * error - exact),
            (-powers, 0.34 - 6e-6 - x),  # of -x
            (-far / scale[:, None], -(beyond + 6e-6) / scale),
        ]
        result = linprog(
            np.zeros(terms), np.vstack([row[0] for row in rows]), np.concatenate([row[1] for row in rows]), bounds=(None, None)
        )
        if result.status == 0:
            high, best = error, (error, result.x / end ** (2 * np.arange(terms) + 2))
        else:
            low = error
    return best


show("GELU of int8", *fit_gelu(7, 4))
