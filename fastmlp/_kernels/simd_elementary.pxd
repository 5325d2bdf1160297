"""Elementary functions on vectors: exp, expm1, log, log1p, tanh, sigmoid, erf, sin and cos; by libm pow and others.

Straight lines of arithmetic: both sides of a select are computed, and a lane depends on nothing but its argument.
NaN gives NaN. "ULP" is the distance from the exact value in units in the last place of the result, for float32 /
float64: the largest that was measured with FMA or without, over a ninth of all float32 and 1e7 float64 per interval.

Coefficients are minimax by Remez exchange (mpmath, 60 digits), weighted to bound the relative error of the whole
function, with the leading terms of Taylor kept, then rounded to the dtype; "error" is what the rounded polynomial does
over its interval in exact arithmetic. A constant that comes in parts has trailing zeros in all but the last, so that
k * part is exact without FMA for the integers k that occur.
"""
from libc.math cimport INFINITY, NAN, asinh, atan, cos, cosh, fabs, pow, sin, sinh

from .simd cimport (
    any_less, fma, if_at_least, if_bit, if_less, lane, lanes, splat, vabs, vcopysign, vec, vexponent, vf32, vldexp,
    vmagic, vmax, vmin, vpow2, vpow2_low, vround, vscale, vwith_sign, with_lane
)

ctypedef double (*scalar)(double) noexcept nogil


cdef inline vec step(vec p, vec x, double c) noexcept nogil:
    """p x + c: Horner's rule, one coefficient at a time."""
    return fma(p, x, splat(c, x))


cdef inline vec clamp(vec x, double low, double high) noexcept nogil:
    """x within [low, high]; NaN stays."""
    return vmin(vmax(x, splat(low, x)), splat(high, x))


# exp, expm1, sigmoid, tanh

cdef inline vec exp_reduced(vec x, vec k) noexcept nogil:
    """exp(r) - 1 for r = x - k ln(2), where k is the integer nearest to x / ln(2) and below 2^10 / 2^13.

    r + r^2 q(r), for |r| <= 1.0005 ln(2) / 2; error 3.6e-9 / 1.2e-17 of exp(r).
    """
    cdef vec r, z, even, odd  # q(r) = even(z) + r odd(z), z = r^2
    if vec is vf32:
        r = fma(k, splat(2.9088971e-05, x), fma(k, splat(-0.69317627, x), x))
        z = r * r
        even = step(step(splat(0.001381454, r), z, 0.04166839), z, 0.49999994)
        odd = step(splat(0.008368745, r), z, 0.16666521)
    else:
        r = fma(k, splat(1.7239444525614835e-13, x), fma(k, splat(-0.6931471805601177, x), x))
        z = r * r
        even = step(step(splat(2.7630306247961874e-07, r), z, 2.480149294966484e-05), z, 0.0013888888943759893)
        even = step(step(even, z, 0.04166666666652973), z, 0.5000000000000011)
        odd = step(step(splat(2.500001637788809e-08, r), z, 2.7557586811282347e-06), z, 0.0001984126950576604)
        odd = step(step(odd, z, 0.00833333333349498), z, 0.1666666666666641)
    return fma(fma(odd, r, even), z, r)


cdef inline vec exp_low(vec x) noexcept nogil:
    """The integer nearest to x / ln(2), in the low bits: by `vmagic`."""
    return fma(x, splat(1.4426950408889634, x), vmagic(x))


cdef inline vec exp_exponent(vec x) noexcept nogil:
    """The integer nearest to x / ln(2)."""
    return exp_low(x) - vmagic(x)


cdef inline vec one_plus_exp(vec x, vec power, vec unit) noexcept nogil:
    """unit (1 + exp(x)) with unit = 2^power, in effect rounded once, where s = 2^(power + k) is a normal number.

    As (unit + s) + s (exp(r) - 1); what rounding takes from unit + s joins the second term.
    """
    cdef vec low = exp_low(x), k = low - vmagic(x), s = vpow2_low(low + power), sum = s + unit
    return sum + fma(s, exp_reduced(x, k), unit - (sum - s))


cdef inline vec vexp(vec x) noexcept nogil:
    """2^k exp(x - k ln(2)). Everywhere, subnormal results included: 1.05 / 1.09 ULP."""
    if vec is vf32:
        x = clamp(x, -105.0, 90.0)
    else:
        x = clamp(x, -746.0, 711.0)
    cdef vec k = exp_exponent(x)
    return vldexp(splat(1.0, x) + exp_reduced(x, k), k)


cdef inline vec vexpm1(vec x) noexcept nogil:
    """2^k (exp(r) - 1) + (2^k - 1) with r = x - k ln(2), halved so that 2^k is finite. Everywhere: 1.71 / 2.40 ULP."""
    cdef vec y, k, half
    if vec is vf32:  # at the low end it is -1, rounded, at the high one inf
        y = clamp(x, -20.0, 89.0)
    else:
        y = clamp(x, -40.0, 709.9)
    k = exp_exponent(y)
    half = vpow2(k - splat(1.0, x))
    y = splat(2.0, x) * fma(half, exp_reduced(y, k), half - splat(0.5, x))
    return if_less(vabs(x), splat(1e-20, x), x, y)


cdef inline vec vsigmoid(vec x) noexcept nogil:
    """1 / (1 + exp(-x)), everywhere, subnormal results included: 1.75 / 1.71 ULP.

    As u / (u + u exp(-x)): with u = 2^-64 nothing overflows before the result underflows.
    """
    cdef vec power = splat(-64.0, x), unit = splat(5.421010862427522e-20, x)
    if vec is vf32:
        x = clamp(-x, -20.0, 105.0)
    else:
        x = clamp(-x, -40.0, 746.0)
    return unit / one_plus_exp(x, power, unit)


cdef inline vec tanh_short(vec a) noexcept nogil:
    """h / (h + 1) with h = (exp(2 a) - 1) / 2 = 2^k p + (2^k - 1) / 2, in float32, for 0 <= a <= 10 or NaN.

    p = (exp(2 r) - 1) / 2 for r = a - k ln(2) / 2, the polynomial of `exp_reduced` with powers of 2 in its coefficients.
    One part of ln(2) is enough: what the rest would change, the quotient doesn't show.
    """
    cdef vec half = splat(0.5, a), low = fma(a, splat(2.8853900817779268, a), vmagic(a)), k = low - vmagic(a)
    cdef vec s = vpow2_low(low), r = fma(k, splat(-0.34657359027997264, a), a), z = r * r, even, odd, h
    even = step(step(splat(0.044206528, a), z, 0.33334712), z, 0.99999988)
    odd = step(splat(0.13389992, a), z, 0.66666084)
    h = fma(s, fma(fma(odd, r, even), z, r), fma(s, half, -half))
    return h / (h + splat(1.0, a))


cdef inline vec vtanh(vec x) noexcept nogil:
    """float32: by exp, a short way, since networks wait for this one.

    float64: x + x^3 p(x^2) to |x| = 0.5625 (error 3.6e-17), 1 - 2 / (1 + exp(2 |x|)) beyond. 2.61 / 1.32 ULP.
    """
    cdef vec one = splat(1.0, x), two = splat(2.0, x), a = vabs(x), z, p, y
    if vec is vf32:
        return vwith_sign(tanh_short(vmin(a, splat(10.0, x))), x)  # from there on it is 1
    else:
        z = x * x
        p = step(step(splat(4.960061267561402e-05, x), z, -0.00020822493617076547), z, 0.0005778512018695236)
        p = step(step(p, z, -0.0014527782956074093), z, 0.0035916299040434406)
        p = step(step(p, z, -0.008863183217353215), z, 0.021869485121525385)
        p = step(step(step(p, z, -0.05396825383976028), z, 0.1333333333309333), z, -0.33333333333331777)
        p = fma(a * z, p, a)
        y = two * vmin(a, splat(20.0, x))
        y = if_less(a, splat(0.5625, x), p, one - two / one_plus_exp(y, splat(0.0, x), one))
        return vcopysign(y, x)


# log, log1p

cdef inline vec log_sum(vec f, vec k) noexcept nogil:
    """k ln(2) + log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)].

    log(1 + f) = 2 atanh(s) with s = f / (2 + f), written f - (h - s (h + s^2 p(s^2))) with h = f^2 / 2 so that the
    large terms are exact; error 8.9e-10 / 2.0e-18.
    """
    cdef vec s = f / (f + splat(2.0, f)), h = f * f * splat(0.5, f), z = s * s, p
    if vec is vf32:
        p = step(step(splat(0.2987228, z), z, 0.39977527), z, 0.66666776)
        p = fma(s, fma(z, p, h), k * splat(-2.9088971e-05, f))
        return fma(k, splat(0.69317627, f), f - (h - p))
    else:
        p = step(step(splat(0.1479703109069037, z), z, 0.15313951783892393), z, 0.18183567807126672)
        p = step(step(step(step(p, z, 0.2222219851384267), z, 0.2857142874288778), z, 0.399999999994128), z,
                 0.6666666666666735)
        p = fma(s, fma(z, p, h), k * splat(-1.7239444525614835e-13, f))
        return fma(k, splat(0.6931471805601177, f), f - (h - p))


cdef inline vec vlog(vec x) noexcept nogil:
    """k ln(2) + log(2^-k x). Everywhere: 0.85 / 0.85 ULP; -inf at +-0, NaN below."""
    cdef vec zero = splat(0.0, x), inf = splat(INFINITY, x), normal, power, k, y
    if vec is vf32:  # below the least normal number, x 2^power is one
        normal, power = splat(1.1754944e-38, x), splat(24.0, x)
        y = if_less(x, normal, x * splat(16777216.0, x), x)
    else:
        normal, power = splat(2.2250738585072014e-308, x), splat(54.0, x)
        y = if_less(x, normal, x * splat(18014398509481984.0, x), x)
    k = vexponent(y)
    y = log_sum(vscale(y, -k) - splat(1.0, x), k - if_less(x, normal, power, zero))
    return if_at_least(zero, x, if_less(x, zero, splat(NAN, x), -inf), if_less(x, inf, y, x))


cdef inline vec log1p_finite(vec x) noexcept nogil:
    """log(1 + x) for finite x > -1, where -0 gives 0: 1.40 / 1.41 ULP.

    1 + x = 2^k (1 + f), where what rounding takes from 1 + x goes into f; at k = 100 it takes nothing any more.
    """
    cdef vec one = splat(1.0, x), s = one + x, k = vexponent(s)
    return log_sum(fma(x - (s - one), vpow2(vmax(-k, splat(-100.0, x))), vscale(s, -k) - one), k)


cdef inline vec vlog1p(vec x) noexcept nogil:
    """log(1 + x). Everywhere: 1.40 / 1.41 ULP; -inf at -1, NaN below."""
    cdef vec below = splat(-1.0, x), inf = splat(INFINITY, x), y = vcopysign(log1p_finite(x), x)
    return if_at_least(below, x, if_less(x, below, splat(NAN, x), -inf), if_less(x, inf, y, x))


# erf

cdef inline vec erf_series(vec a) noexcept nogil:
    """erf(a) = a + a p(a^2) for 0 <= a <= 0.8 / 1; error 3.5e-9 / 1.4e-17 of erf(a)."""
    cdef vec z = a * a, p
    if vec is vf32:
        p = step(step(splat(-0.0006542228, z), z, 0.005086864), z, -0.026822243)
        p = step(step(step(p, z, 0.11283162), z, -0.37612608), z, 0.12837917)
    else:
        p = step(step(splat(-7.602293371085081e-10, z), z, 1.3614639474834048e-08), z, -1.618371841539688e-07)
        p = step(step(step(p, z, 1.6444140845869226e-06), z, -1.4924466877816613e-05), z, 0.00012055280661468618)
        p = step(step(step(p, z, -0.0008548325493639456), z, 0.005223977596974409), z, -0.026866170641994)
        p = step(step(step(p, z, 0.1128379167093719), z, -0.3761263890318335), z, 0.12837916709551256)
    return fma(a, p, a)


cdef inline vec log_erfc(vec a) noexcept nogil:
    """log(1 - erf(a)) for 0.8 <= a <= 4 / 1 <= a <= 6; error 2.7e-9 / 8.0e-18 of erf(a)."""
    cdef vec p
    if vec is vf32:
        p = step(step(splat(0.00020868971, a), a, -0.0031648288), a, 0.022697229)
        p = step(step(p, a, -0.10487623), a, -0.6361422)
        return step(step(p, a, -1.1282713), a, -5.6848592e-05)
    else:
        p = step(step(splat(-4.928643984009059e-12, a), a, 2.044977661939425e-10), a, -3.934298705019634e-09)
        p = step(step(step(p, a, 4.6423452670718126e-08), a, -3.733081572486915e-07), a, 2.1357114607625277e-06)
        p = step(step(step(p, a, -8.667323965647496e-06), a, 2.2823070923426652e-05), a, -2.0268223789466355e-05)
        p = step(step(step(p, a, -0.0001350470214577898), a, 0.0007706376475356084), a, -0.001915936233475613)
        p = step(step(step(p, a, 0.000410621010762121), a, 0.018990183839163705), a, -0.10270344212824152)
        return step(step(step(p, a, -0.6366436271519385), a, -1.1283740896819006), a, -5.028288906929012e-07)


cdef inline vec verf(vec x) noexcept nogil:
    """By its series up to |x| = 0.8 / 1, 1 - exp(log(1 - erf(|x|))) beyond. Everywhere: 1.20 / 1.33 ULP.

    Of both polynomials, the first three coefficients were rounded one by one, the rest found again after each.
    """
    cdef vec one = splat(1.0, x), a = vabs(x), limit, last, y, k, s
    if vec is vf32:  # from the last on it is 1
        limit, last = splat(0.8, x), splat(4.0, x)
    else:
        limit, last = one, splat(6.0, x)
    y = log_erfc(vmin(a, last))
    k = exp_exponent(y)
    s = vpow2(k)
    y = fma(-s, exp_reduced(y, k), one - s)
    return vcopysign(if_less(a, limit, erf_series(a), y), x)


# sin, cos

cdef inline vec sin_quarter(vec x, int quarter) noexcept nogil:
    """sin(x + quarter pi/2), for quarter 0 or 1.

    x = k pi/2 + r with pi/2 in four parts; sin(r) = r + r^3 p(r^2), cos(r) = 1 + r^2 q(r^2) for |r| <= 1.001 pi/4
    (error 8.9e-9, 1.4e-10 / 8.1e-18, 1.6e-18). Parts times k are exact up to |x| = 1e4 / 1e6; libm serves the lanes
    beyond.
    """
    cdef vec k = vround(x * splat(0.6366197723675814, x)), limit, r, z, s, c
    cdef Py_ssize_t i
    cdef double far
    if vec is vf32:
        limit = splat(1e4, x)
        r = fma(k, splat(-0.0004837513, x), fma(k, splat(-1.5703125, x), x))
        r = fma(k, splat(-2.563344e-12, x), fma(k, splat(-7.5495336e-08, x), r))
        z = r * r
        s = step(step(splat(-0.00019514632, x), z, 0.008332156), z, -0.16666655)
        c = step(step(splat(2.4432413e-05, x), z, -0.001388731), z, 0.041666646)
    else:
        limit = splat(1e6, x)
        r = fma(k, splat(-6.077100506303966e-11, x), fma(k, splat(-1.5707963267341256, x), x))
        r = fma(k, splat(-8.4784276603689e-32, x), fma(k, splat(-2.0222662487111665e-21, x), r))
        z = r * r
        s = step(step(splat(1.589590466425703e-10, x), z, -2.5050742306502185e-08), z, 2.7557313587609797e-06)
        s = step(step(step(s, z, -0.00019841269829495465), z, 0.008333333333322005), z, -0.1666666666666663)
        c = step(step(splat(-1.135831050999875e-11, x), z, 2.087569657297733e-09), z, -2.755731414862635e-07)
        c = step(step(step(c, z, 2.4801587288748196e-05), z, -0.0013888888888872895), z, 0.041666666666666595)
    s = fma(r * z, s, r)
    c = step(step(c, z, -0.5), z, 1.0)
    k = k + splat(quarter, x)
    s = if_bit(k, 1, c, s)
    s = if_bit(k, 2, -s, s)
    if any_less(limit, vabs(x)):
        for i in range(lanes(x)):
            far = lane(x, i)
            if fabs(far) > lane(limit, i):
                s = with_lane(s, i, cos(far) if quarter else sin(far))
    return s


cdef inline vec vsin(vec x) noexcept nogil:
    """Everywhere: 2.4 / 2.5 ULP (1.6 / 1.5 for |x| <= 100); beyond 1e4 / 1e6 as libm."""
    return if_less(vabs(x), splat(1e-8, x), x, sin_quarter(x, 0))


cdef inline vec vcos(vec x) noexcept nogil:
    """Everywhere: 2.4 / 2.5 ULP (1.6 / 1.5 for |x| <= 100); beyond 1e4 / 1e6 as libm."""
    return sin_quarter(x, 1)


# libm, lane by lane: in double for float32, so that the result is rounded from one that is as good as exact

cdef inline vec by_lane(vec x, scalar function) noexcept nogil:
    """The function of each lane."""
    cdef Py_ssize_t i
    for i in range(lanes(x)):
        x = with_lane(x, i, function(lane(x, i)))
    return x


cdef inline vec vsinh(vec x) noexcept nogil:
    return by_lane(x, sinh)


cdef inline vec vcosh(vec x) noexcept nogil:
    return by_lane(x, cosh)


cdef inline vec vatan(vec x) noexcept nogil:
    return by_lane(x, atan)


cdef inline vec vasinh(vec x) noexcept nogil:
    return by_lane(x, asinh)


cdef inline vec vpow(vec x, vec y) noexcept nogil:
    """x^y for real y; special values as those of C's pow."""
    cdef Py_ssize_t i
    for i in range(lanes(x)):
        x = with_lane(x, i, pow(lane(x, i), lane(y, i)))
    return x
